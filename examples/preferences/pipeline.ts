/**
 * SFT → reward model → DPO beside its parts, three seeds: `npx tsx examples/preferences/pipeline.ts`. See README.md.
 */
import type { PreferenceRow } from '@posttrain/data';
import type { Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { type CausalLM, LocalGenerator, LocalScorer, SequenceClassifier } from '@posttrain/lm';
import { preferenceLosses, trainPreferences } from '@posttrain/rl';
import { sft, trainRewardModel } from '@posttrain/training';
import { interval } from '../background-rl/tables.js';
import { byChance, loadModel, type Sum } from './preferences.js';

/** How much there is of everything; the test has less of it. */
export interface PipelineSizes {
  /** Answers that SFT is shown. */
  readonly shown: number;
  /** Prompts whose sampled answers somebody has labelled: what the reward model learns from. */
  readonly labelled: number;
  /** Prompts whose sampled answers only the reward model sees. */
  readonly unlabelled: number;
  readonly heldOut: number;
  /** Answers that are sampled of each prompt. */
  readonly samples: number;
}

export const SIZES: PipelineSizes = { shown: 24, labelled: 160, unlabelled: 96, heldOut: 64, samples: 6 };

/** Sums alone, which the base model was not asked for in its pretraining. */
export function askedSums(count: number, seed: number): Sum[] {
  const random = createRandom(seed, 'pipeline');
  return Array.from({ length: count }, () => {
    const [a, b] = [random.integer(10, 60), random.integer(10, 39)];
    return { prompt: `${a}+${b}=`, answer: `${a + b}\n` };
  });
}

/** How likely a model is to say the right answer, on average: its expected accuracy when it samples. */
export async function chanceOfRight(model: CausalLM, rows: readonly Sum[]): Promise<number> {
  const scores = await new LocalScorer(model).score(
    rows.map(({ prompt, answer }) => ({ prompt, continuation: answer })),
  );
  return scores.reduce((sum, { logProb }) => sum + Math.exp(logProb), 0) / rows.length;
}

/** What a model answers, each answer once. */
async function answersOf(model: CausalLM, rows: readonly Sum[], n: number, seed: number): Promise<string[][]> {
  const sampled = await new LocalGenerator(model).generate(
    rows.map(({ prompt }, i) => ({
      prompt,
      n,
      maxTokens: 4,
      stop: ['\n'],
      includeStop: true,
      seed: seed * 1e4 + 50 * i,
    })),
  );
  return sampled.map((completions) => [...new Set(completions.map(({ text }) => text).filter((text) => text !== ''))]);
}

/** The best answer of each prompt against its worst; none where all are worth the same. */
async function pairsBy(
  worth: (row: Sum, answers: readonly string[]) => Promise<readonly number[]>,
  rows: readonly Sum[],
  answers: readonly string[][],
): Promise<PreferenceRow[]> {
  const pairs: PreferenceRow[] = [];
  for (const [i, row] of rows.entries()) {
    const own = answers[i]!;
    const values = await worth(row, own);
    const [high, low] = [Math.max(...values), Math.min(...values)];
    if (own.length < 2 || high === low) continue;
    pairs.push({ prompt: row.prompt, chosen: own[values.indexOf(high)]!, rejected: own[values.indexOf(low)]! });
  }
  return pairs;
}

const right = async ({ answer }: Sum, answers: readonly string[]) => answers.map((text) => Number(text === answer));
const ofVerifier =
  (verifier: Verifier) =>
  async ({ prompt }: Sum, answers: readonly string[]) => {
    const verdicts = await verifier.verify(answers.map((completion) => ({ prompt, completion })));
    return verdicts.map(({ score }) => score ?? 0);
  };

const quiet = { schedule: 'constant', batchSize: 8, maxLength: 24, loggingSteps: 100, onWarning: () => {} } as const;

const preferred = async (model: CausalLM, rows: readonly PreferenceRow[], seed: number): Promise<CausalLM> => {
  if (rows.length === 0) return model;
  const { trainer } = await trainPreferences({
    ...{ ...quiet, model, rows, seed, epochs: 2, learningRate: 3e-5, loss: preferenceLosses.sigmoid({ beta: 0.1 }) },
  });
  return trainer.model as CausalLM;
};

/** Chances of the right answer on held-out sums, arm by arm; `reward` is how often the reward model is right about two answers. */
export type PipelineResult = Readonly<
  Record<'base' | 'sft' | 'sft+dpo' | 'rm+dpo' | 'sft+rm+dpo' | 'sft+coin+dpo' | 'reward', number>
>;

/** The pipeline and its parts, with one seed. */
export async function pipeline(base: CausalLM, seed: number, sizes: PipelineSizes = SIZES): Promise<PipelineResult> {
  const { shown, labelled, unlabelled, heldOut, samples } = sizes;
  const all = askedSums(shown + labelled + unlabelled + heldOut, seed);
  let taken = 0;
  const [toShow, toLabel, toSample, toJudge] = [shown, labelled, unlabelled, heldOut].map((count) => {
    taken += count;
    return all.slice(taken - count, taken);
  }) as [Sum[], Sum[], Sum[], Sum[]];

  const { trainer } = await sft({
    ...{ ...quiet, model: base, seed, epochs: 1, learningRate: 5e-4 },
    rows: toShow.map(({ prompt, answer }) => ({ prompt, completion: answer })),
  });
  const tuned = trainer.model as CausalLM;

  // The reward model learns from the pairs that somebody has labelled.
  const human = await pairsBy(right, toLabel, await answersOf(tuned, toLabel, samples, seed));
  const { trainer: rewarding } = await trainRewardModel({
    ...{ ...quiet, seed, epochs: 8, learningRate: 5e-4, rows: human as never },
    model: await SequenceClassifier.fromCausalLM(tuned, { labels: 1 }),
  });
  const worth = ofVerifier((rewarding.model as SequenceClassifier).verifier());
  const fresh = await answersOf(tuned, toSample, samples, seed + 1000);
  const byReward = await pairsBy(worth, toSample, fresh);
  const ofBase = await pairsBy(worth, toSample, await answersOf(base, toSample, samples, seed + 2000));
  const known = await pairsBy(right, toSample, fresh);
  const rightly = await Promise.all(
    known.map(async ({ prompt, chosen, rejected }) => {
      const [better, worse] = await worth({ prompt: prompt as string, answer: '' }, [
        chosen as string,
        rejected as string,
      ]);
      return Number(better! > worse!);
    }),
  );

  const chance = (model: CausalLM) => chanceOfRight(model, toJudge);
  return {
    base: await chance(base),
    sft: await chance(tuned),
    'sft+dpo': await chance(await preferred(tuned, human, seed)),
    'rm+dpo': await chance(await preferred(base, ofBase, seed)),
    'sft+rm+dpo': await chance(await preferred(tuned, byReward, seed)),
    'sft+coin+dpo': await chance(await preferred(tuned, byChance(byReward, seed), seed)),
    reward: rightly.reduce((sum, x) => sum + x, 0) / rightly.length,
  };
}

if (process.argv[1] === import.meta.filename) {
  const base = await loadModel();
  const results: PipelineResult[] = [];
  for (const seed of [11, 12, 13]) {
    const result = await pipeline(base, seed);
    results.push(result);
    const said = Object.entries(result).map(([arm, value]) => `${arm} ${value.toFixed(3)}`);
    console.log(`seed ${seed}: ${said.join(', ')}`);
  }
  for (const arm of ['base', 'sft', 'sft+dpo', 'rm+dpo', 'sft+coin+dpo'] as const) {
    const apart = results.map((result) => result['sft+rm+dpo'] - result[arm]);
    console.log(`sft+rm+dpo less ${arm}: ${interval(apart, 3)}`);
  }
}
