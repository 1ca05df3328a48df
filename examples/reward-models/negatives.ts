/** What a policy makes of negatives: of those that come, and of its own likeliest failures. */
import { createRandom } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import type { CausalLM } from '@posttrain/lm';
import { failureAwarePairs, onlinePairs, type PreferenceSource } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { LETTERS, meanOf, PROMPTS, preferred, said, wordOf } from './feedback.js';
import { quiet, smallModel } from './small.js';

/** How long a policy learns, and what it knows before. */
export interface NegativeSizes {
  readonly steps: number;
  readonly samples: number;
  readonly learningRate: number;
  /** How often a word that the policy has read begins with the letter that is asked for. */
  readonly known: number;
}
export const NEGATIVE_SIZES: NegativeSizes = { steps: 60, samples: 480, learningRate: 1e-3, known: 0.4 };

/** Signs before a prompt that say nothing: those of training, and one that no arm has seen. */
const SIGNS = ['y', '?', ';', 'Y'];
const UNSEEN = 'z';
const signed = (sign: string) => PROMPTS.map((prompt) => `${sign}${prompt}`);
const startsRightly = (prompt: string, text: string) => text.startsWith(prompt.at(-2)!);

/** A policy that begins its words with the letter that is asked for some of the time. */
async function halfKnowing(seed: number, known: number): Promise<CausalLM> {
  const random = createRandom(seed, 'half');
  const { trainer } = await sft({
    ...{ ...quiet, seed, epochs: 2, learningRate: 5e-3, model: await smallModel(seed) },
    rows: Array.from({ length: 480 }, () => {
      const prompt = random.pick(PROMPTS);
      const first = random.float() < known ? prompt[0]! : random.pick(LETTERS);
      return { prompt, completion: first + wordOf(random) };
    }),
  });
  return trainer.model as CausalLM;
}

/** Share of answers that begin with the letter that is asked for, of clean prompts and of ones with a sign that was never seen. */
export async function negativeArms(seed: number, sizes: NegativeSizes = NEGATIVE_SIZES) {
  const { steps, samples, learningRate, known } = sizes;
  const model = await halfKnowing(seed, known);
  const right = functionVerifier('right', ({ prompt, completion }) =>
    Number(startsRightly(prompt as string, completion)),
  );
  const of = (prompts: readonly string[]) => ({ rows: prompts.map((prompt) => ({ prompt })), maxCompletionLength: 7 });
  const augmented = [...PROMPTS, ...SIGNS.flatMap(signed)];
  const rewards = { right };
  const measuredOn = async (policy: CausalLM, prompts: readonly string[]) => {
    const texts = await said(policy, prompts, samples, seed);
    const n = texts.length / prompts.length;
    return meanOf(texts.map((text, i) => Number(startsRightly(prompts[Math.floor(i / n)]!, text))));
  };
  const arm = async (source?: PreferenceSource) => {
    const policy = source ? await preferred(model, source, seed, steps, learningRate) : model;
    return { clean: await measuredOn(policy, PROMPTS), perturbed: await measuredOn(policy, signed(UNSEEN)) };
  };
  const hard = (prompts: readonly string[]) => failureAwarePairs({ ...of(prompts), rewards, completionsPerPrompt: 8 });
  return {
    'the policy before': await arm(),
    'pairs as they come': await arm(onlinePairs({ ...of(PROMPTS), rewards })),
    'failures of the policy': await arm(hard(PROMPTS)),
    'pairs as they come, prompts with signs too': await arm(onlinePairs({ ...of(augmented), rewards })),
    'failures, prompts with signs too': await arm(hard(augmented)),
  };
}
