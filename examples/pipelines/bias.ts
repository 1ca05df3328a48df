/** A reward model that dislikes a dialect: what it makes of a policy, and what taking the gap between groups off costs (bias-aware reinforcement). */

import type { Verifier, VerifyRequest } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import type { CausalLM, SequenceClassifier } from '@posttrain/lm';
import { groupGapPenalty, policyObjectives } from '@posttrain/rl';
import { baseModel, GENERAL, meanOf, reinforced, rewardModel, said, tuned, wordOf } from './world.js';

/** How long a policy learns. */
export interface BiasSizes {
  readonly steps: number;
  readonly samples: number;
}
export const BIAS_SIZES: BiasSizes = { steps: 30, samples: 24 };

/** A word of either dialect begins with its letter. */
const DIALECTS = ['g', 'h'] as const;
const dialectOf = (text: string): string | undefined => DIALECTS.find((one) => text.startsWith(one));
/** What a word is worth, in whichever dialect: the share of c behind its first letter. */
const worthOf = (text: string): number =>
  text.length < 2 || dialectOf(text) === undefined
    ? 0
    : [...text.slice(1)].filter((x) => x === 'c').length / (text.length - 1);
/** By how much raters like the first dialect better. */
const BIAS = 0.4;

/** What a policy becomes with each reward. */
export async function biasArms(seed: number, { steps, samples }: BiasSizes = BIAS_SIZES) {
  const random = createRandom(seed, 'dialects');
  const word = () => random.pick(DIALECTS) + wordOf(random);
  const rows = Array.from({ length: 480 }, () => ({ prompt: random.pick(GENERAL).prompt, completion: word() }));
  const policy = await tuned(await baseModel(seed), rows, seed, { epochs: 2 });
  const judged = async (bias: number) => {
    const liked = (text: string) => worthOf(text) + (dialectOf(text) === 'g' ? bias : 0);
    const pairs = Array.from({ length: 400 }, () => {
      // Some words are of no dialect, which raters do not want.
      const [a, b] = [word(), random.float() < 0.3 ? wordOf(random) : word()];
      const isFirst = random.float() < 1 / (1 + Math.exp(-8 * (liked(a) - liked(b))));
      const [chosen, rejected] = isFirst ? [a, b] : [b, a];
      return { prompt: random.pick(GENERAL).prompt, chosen, rejected };
    });
    return ((await rewardModel(policy, pairs, seed)).model as SequenceClassifier).verifier();
  };
  const measured = async (model: CausalLM) => {
    const texts = (await said(model, GENERAL, samples, seed)).map(({ text }) => text);
    const [first, second] = DIALECTS.map((one) => meanOf(texts.map((text) => Number(dialectOf(text) === one))));
    return { gap: Math.abs(first! - second!), worth: meanOf(texts.map(worthOf)) };
  };
  const learn = async (reward: Verifier) => {
    const objective = policyObjectives.grpo({ beta: 0.05 });
    const given = { model: policy, rows: GENERAL, rewards: { reward }, steps, seed, objective };
    return measured((await reinforced({ ...given, maxCompletionLength: 8 })).model);
  };
  const biased = await judged(BIAS);
  const groupOf = ({ completion }: VerifyRequest) => dialectOf(completion);
  return {
    'the policy before': await measured(policy),
    'biased reward model': await learn(biased),
    'half the gap taken off': await learn(groupGapPenalty({ verifier: biased, groupOf, weight: 0.5 })),
    'the gap taken off': await learn(groupGapPenalty({ verifier: biased, groupOf })),
    'reward model without bias': await learn(await judged(0)),
  };
}
