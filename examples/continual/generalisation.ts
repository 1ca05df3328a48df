/**
 * Overfitting and the gap to what lies outside of the distribution: supervised fine-tuning and reinforcement (GRPO), each of all weights
 * and of a LoRA adapter, on a narrow part of a task of which the model half knows all; of two tasks. See README.md.
 */

import { createRandom } from '@posttrain/interfaces/random';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import type { CausalLM } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter } from '@posttrain/peft';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { predictions, sft, Trainer, tokenizeRows, toTrainingRows } from '@posttrain/training';
import { freshModel, type OverSeeds, overSeeds, show } from './study.js';

/** A row of a task: two letters, and two that follow from them. */
export interface LetterRow {
  readonly prompt: string;
  readonly completion: string;
  readonly [column: string]: unknown;
}

const after = (letter: string) => String.fromCharCode(letter.charCodeAt(0) + 1);
/** Tasks: all pairs of their letters, of which the first half of the first letters is inside of what is trained. */
const TASKS = {
  /** What follows each letter. */
  letters: {
    alphabet: [...'abcdefghijkl'],
    rowOf: (first: string, second: string): LetterRow => ({
      prompt: `after ${first}${second}:`,
      completion: `${after(first)}${after(second)}`,
    }),
  },
  /** The two turned round, in a chat. */
  turned: {
    alphabet: [...'ABCDEFGHIJ'],
    rowOf: (first: string, second: string): LetterRow => ({
      prompt: `<|user|>${first}${second}<|end|><|assistant|>`,
      completion: `${second}${first}`,
    }),
  },
} as const;
/** The name of a task. */
export type GapTask = keyof typeof TASKS;
export const GAP_TASKS = Object.keys(TASKS) as readonly GapTask[];

/** Rows that are trained, others of the same distribution (of letters: the first is a to f), and those outside of it (g to l). */
export function splits(seed: number, trained: number, task: GapTask = 'letters') {
  const random = createRandom(seed, 'splits');
  const { alphabet, rowOf } = TASKS[task];
  const all = alphabet.flatMap((first) => alphabet.map((second) => rowOf(first, second)));
  const inside = random.shuffled(all.filter((_, i) => i < all.length / 2));
  return {
    all,
    train: inside.slice(0, trained),
    heldOut: inside.slice(trained),
    outside: all.slice(all.length / 2),
  };
}

/** What a model knows beforehand: every row, of which each letter of the answer is a slip as often as this. */
const SLIP_RATE = 0.4;
function slipped(row: LetterRow, alphabet: readonly string[], draw: () => number): LetterRow {
  const letters = [...row.completion].map((one) =>
    draw() < SLIP_RATE ? alphabet[Math.floor(draw() * alphabet.length)]! : one,
  );
  return { ...row, completion: letters.join('') };
}

/** Sizes of a run. */
export interface GapSize {
  readonly pretrainSteps: number;
  readonly steps: number;
  readonly trained: number;
}
export const GAP_SIZE: GapSize = { pretrainSteps: 300, steps: 60, trained: 24 };

/** The mean probability of the right answer, end token and all: pass@1 of a sampler, without sampling. */
async function accuracy(
  model: CausalLM,
  adapter: PeftAdapter | undefined,
  rows: readonly LetterRow[],
): Promise<number> {
  const trainer = await Trainer.create(model, { optimizer: 'sgd', ...(adapter && { adapter }) });
  const training = toTrainingRows(tokenizeRows(model, rows).rows);
  const { logProbs } = await trainer.read(training, predictions());
  const right = training.map(({ weights }, i) => {
    const trained = Array.from(weights, (weight, t) => (weight > 0 ? logProbs![i]![t]! : 0));
    return Math.exp(trained.reduce((a, b) => a + b, 0));
  });
  return right.reduce((a, b) => a + b, 0) / right.length;
}

/** The arms, and the model that all start from. */
export const GAP_ARMS = ['sft', 'sft_lora', 'grpo', 'grpo_lora'] as const;
export type GapArm = (typeof GAP_ARMS)[number];

/** Accuracies of one arm with one seed. */
export interface GapRun {
  readonly train: number;
  readonly heldOut: number;
  readonly outside: number;
}

const isRight = ruleVerifier('right', {}, ({ completion, row }) => ({
  score: completion === (row as LetterRow | undefined)?.completion ? 1 : 0,
}));

/** The arms of one seed, all by default, and `base`, from which they start. */
export async function runGaps(
  seed: number,
  size: GapSize = GAP_SIZE,
  arms: readonly GapArm[] = GAP_ARMS,
  task: GapTask = 'letters',
): Promise<Readonly<Record<GapArm | 'base', GapRun>>> {
  const { all, train, heldOut, outside } = splits(seed, size.trained, task);
  const random = createRandom(seed, 'slips');
  const { alphabet } = TASKS[task];
  const corpus = Array.from({ length: 16 }, () =>
    all.map((row) => slipped(row, alphabet, () => random.float())),
  ).flat();
  const warmupSteps = Math.min(5, size.steps - 1);
  const shared = { schedule: 'cosine', warmupSteps, seed, batchSize: 16 } as const;
  const { trainer } = await sft({
    ...{
      ...shared,
      model: await freshModel(seed),
      rows: corpus,
      steps: size.pretrainSteps,
      batchSize: 32,
      learningRate: 4e-3,
      // Rows that are there several times are meant.
      onWarning: () => {},
    },
  });
  const { model } = trainer;
  const measure = async (of: CausalLM, adapter?: PeftAdapter): Promise<GapRun> => ({
    train: await accuracy(of, adapter, train),
    heldOut: await accuracy(of, adapter, heldOut),
    outside: await accuracy(of, adapter, outside),
  });
  const results: Partial<Record<GapArm | 'base', GapRun>> = { base: await measure(model) };
  for (const arm of arms) {
    const config = { r: 4, loraAlpha: 8, targetModules: 'all-linear' } as const;
    const adapter = arm.endsWith('_lora') ? await createAdapter(model, lora, config, { seed }) : undefined;
    // An adapter takes about five times the rate.
    const learningRate = adapter ? 5e-3 : 1e-3;
    const start = { model, rows: train, steps: size.steps, learningRate, ...(adapter && { adapter }) };
    const tuned = arm.startsWith('sft')
      ? await sft({ ...start, ...shared })
      : await trainPolicy({
          ...{ ...start, schedule: 'cosine', warmupSteps, seed, promptsPerStep: 16, completionsPerPrompt: 8 },
          ...{ maxCompletionLength: 3, rewards: { right: isRight }, objective: policyObjectives.dapo() },
        });
    results[arm] = await measure(tuned.trainer.model, tuned.adapter as PeftAdapter | undefined);
  }
  return results as Record<GapArm | 'base', GapRun>;
}

/** The table of README.md: accuracies of every arm, how far train and outside are apart, and that less the gap of `sft`. */
export function gapTable(results: readonly Readonly<Record<GapArm | 'base', GapRun>>[]): string {
  const gap = ({ train, outside }: GapRun) => train - outside;
  const lines = (['base', ...GAP_ARMS] as const).map((arm) => {
    const of = (value: (run: GapRun, seed: number) => number): OverSeeds =>
      overSeeds(results.map((seed, i) => value(seed[arm], i)));
    const cells = [of(({ train }) => train), of(({ heldOut }) => heldOut), of(({ outside }) => outside), of(gap)].map(
      show,
    );
    const apart = show(of((run, i) => gap(run) - gap(results[i]!.sft)));
    return `| \`${arm}\` | ${cells.join(' | ')} | ${arm === 'base' || arm === 'sft' ? '' : apart} |`;
  });
  const head = '| arm | train | held out | outside | gap | gap less that of `sft` |';
  return [head, '| --- | --- | --- | --- | --- | --- |', ...lines].join('\n');
}
