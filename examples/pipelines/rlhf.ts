/** RLHF (arXiv 2203.02155) in small: fine-tuning, a reward model of what people prefer, PPO with a KL to where it began. */
import type { Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { type CausalLM, LocalScorer, type SequenceClassifier, ValueModel } from '@posttrain/lm';
import { functionVerifier, policyObjectives, pretrainingLoss, valueModelCritic } from '@posttrain/rl';
import {
  baseModel,
  corpus,
  GENERAL,
  meanOf,
  reinforced,
  rewardModel,
  type Said,
  said,
  tuned,
  wordOf,
  wordPairs,
  worthOf,
} from './world.js';

/** How long the stages are; the test's are shorter. */
export interface RlhfSizes {
  /** Updates of PPO, two of each batch. */
  readonly steps: number;
  /** Completions of each prompt that an arm is measured by. */
  readonly samples: number;
}
export const RLHF_SIZES: RlhfSizes = { steps: 40, samples: 24 };
/** γ: what the language modelling loss of the corpus counts beside PPO's. */
const MIX = 0.3;

/** log p of each completion under a model, its end included where it has one. */
async function logProbsOf(model: CausalLM, texts: readonly Said[]) {
  const end = model.tokenizer.idToToken(model.config.eosTokenIds[0]!)!;
  const scores = await new LocalScorer(model).score(
    texts.map(({ row, text, finishReason }) => ({
      ...{ prompt: row.prompt, continuation: finishReason === 'stop' ? text + end : text },
    })),
  );
  return scores.map(({ logProb }) => logProb);
}

/** KL(model ‖ reference) of completions in nats, by the model's own samples. */
export async function klOf(model: CausalLM, reference: CausalLM, texts: readonly Said[]) {
  const [own, other] = [await logProbsOf(model, texts), await logProbsOf(reference, texts)];
  return meanOf(own.map((x, i) => x - other[i]!));
}

/** The mean −log p of a token of what base models read, of rows that this one has not read, in nats. */
async function unread(model: CausalLM, seed: number) {
  const scores = await new LocalScorer(model).score(
    corpus(160, seed + 700).map(({ prompt, completion }) => ({ prompt, continuation: completion })),
  );
  return scores.reduce((sum, { logProb }) => sum - logProb, 0) / scores.reduce((sum, { tokens }) => sum + tokens, 0);
}

/** Every stage beside the pipeline without it. */
export async function rlhfArms(seed: number, { steps, samples }: RlhfSizes = RLHF_SIZES) {
  const base = await baseModel(seed);
  const random = createRandom(seed, 'demonstrations');
  const shown = Array.from({ length: 400 }, () => ({ prompt: random.pick(GENERAL).prompt, completion: wordOf(random) }))
    .filter(({ completion }) => worthOf(completion) >= 0.25)
    .slice(0, 96);
  const demonstrated = await tuned(base, shown, seed, { epochs: 2 });
  const pairs = wordPairs(320, seed);
  const coin = pairs.map((pair) =>
    random.float() < 0.5 ? pair : { ...pair, chosen: pair.rejected, rejected: pair.chosen },
  );
  const judgeOf = async (policy: CausalLM, rows: typeof pairs) =>
    ((await rewardModel(policy, rows, seed)).model as SequenceClassifier).verifier();
  const learn = async (policy: CausalLM, reward: Verifier, { beta = 0.05, mix = 0 } = {}) => {
    const critic = await valueModelCritic(await ValueModel.fromCausalLM(policy), { learningRate: 5e-3 });
    const beside = pretrainingLoss({ rows: corpus(960, seed), coefficient: mix, seed });
    const objective = { ...policyObjectives.ppo({ critic, beta }), ...(mix > 0 && { beside }) };
    const given = { model: policy, rows: GENERAL, rewards: { reward }, steps, seed, iterationsPerBatch: 2 };
    return (await reinforced({ ...given, objective, maxCompletionLength: 8 })).model;
  };
  const rivals = await said(demonstrated, GENERAL, samples, seed + 500);
  const measured = async (model: CausalLM) => {
    const texts = await said(model, GENERAL, samples, seed);
    const wins = texts.map(({ text }, i) => {
      const gap = worthOf(text) - worthOf(rivals[i]!.text);
      return gap === 0 ? 0.5 : Number(gap > 0);
    });
    return {
      'win rate': meanOf(wins),
      worth: meanOf(texts.map(({ text }) => worthOf(text))),
      kl: await klOf(model, demonstrated, texts),
      corpus: await unread(model, seed),
    };
  };
  const judge = await judgeOf(demonstrated, pairs);
  const gold = functionVerifier('worth', ({ completion }) => 4 * worthOf(completion));
  return {
    base: await measured(base),
    SFT: await measured(demonstrated),
    'SFT, RM, PPO': await measured(await learn(demonstrated, judge)),
    'SFT, RM, PPO with β 0.3': await measured(await learn(demonstrated, judge, { beta: 0.3 })),
    'SFT, RM, PPO with a pretraining mix': await measured(await learn(demonstrated, judge, { mix: MIX })),
    'RM, PPO, no SFT': await measured(await learn(base, await judgeOf(base, pairs))),
    'SFT, RM of a coin, PPO': await measured(await learn(demonstrated, await judgeOf(demonstrated, coin))),
    'SFT, the oracle itself, PPO': await measured(await learn(demonstrated, gold)),
  };
}
