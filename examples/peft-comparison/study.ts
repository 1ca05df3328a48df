/** One cell of the study: an arm with a learning rate and a seed. See README.md. */
import { Tensor } from '@posttrain/core-tensor';
import { adamW } from '@posttrain/core-tensor/optim';
import { isPosttrainError } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import type { CausalLM } from '@posttrain/lm';
import type { PeftAdapter } from '@posttrain/peft';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { predictions, sft, sftStage, Trainer, tokenizeRows, toTrainingRows } from '@posttrain/training';
import { type ArmSetting, type ArmStart, BASE, rowsFor, startOf } from './arms.js';
import { baseModel } from './base-model.js';
import { splitOf, type TaskRow } from './tasks.js';

/** Rates are chosen with seed 1, by the loss on the validation rows; what is shown has the others. */
export const SWEEP_SEED = 1;
export const SEEDS = [2, 3, 4];

/** `before` by labels is the comparison; of `skip`, which is half known, reinforcement is compared with labels. */
export type Part = 'before' | 'skip_sft' | 'skip_grpo';
export const RATES: Readonly<Record<Part, readonly number[]>> = {
  before: [1e-3, 4e-3, 1.6e-2, 6.4e-2, 2.56e-1, 1.024],
  skip_sft: [1e-3, 1e-2, 1e-1],
  skip_grpo: [1e-3, 1e-2, 1e-1],
};

/** Sizes of a run. */
export interface StudySize {
  readonly pretrainSteps: number;
  readonly steps: number;
  readonly grpoSteps: number;
  readonly held: number;
}
export const SIZE: StudySize = { pretrainSteps: 800, steps: 120, grpoSteps: 60, held: 64 };

/** What one run came to. */
export interface Cell {
  readonly part: Part;
  readonly arm: string;
  readonly rate: number;
  readonly seed: number;
  /** Numbers that are trained, and that are frozen beside the base. */
  readonly trained: number;
  readonly frozen: number;
  /** Numbers that the optimizer keeps. */
  readonly moments?: number;
  /** Of the validation rows. */
  readonly loss: number | null;
  /** Share of test rows of which every token is the most likely one, and the mean probability of the right answer. */
  readonly exact: number | null;
  readonly probability: number | null;
  /** The share of what the base knows, by task. */
  readonly known: Readonly<Record<string, number>> | null;
  /** Why there is nothing. */
  readonly error?: string;
}

const rounded = (x: number) => Number(x.toPrecision(5));
const isRight = ruleVerifier('right', {}, ({ completion, row }) => ({
  score: completion === (row as TaskRow | undefined)?.completion ? 1 : 0,
}));

interface Trained {
  readonly trainer: Trainer;
  readonly adapter: PeftAdapter | undefined;
}

async function measure({ trainer, adapter }: Trained, base: CausalLM, part: Part, seed: number, held: number) {
  const split = splitOf(part === 'before' ? 'before' : 'skip', seed, held);
  const stage = sftStage();
  const of = (rows: readonly TaskRow[]) =>
    stage.evaluate!(trainer, { model: base, adapter }, rowsFor(base, adapter, rows));
  const test = rowsFor(base, adapter, split.test);
  const training = toTrainingRows(tokenizeRows(base, test).rows);
  const { logProbs } = await trainer.read(training, predictions());
  const right = training.map(({ weights }, i) =>
    Math.exp(Array.from(weights, (weight, t) => (weight > 0 ? logProbs![i]![t]! : 0)).reduce((a, b) => a + b, 0)),
  );
  const known: Record<string, number> = {};
  for (const [name, rows] of Object.entries(split.known)) known[name] = rounded((await of(rows)).exact_match!);
  return {
    loss: rounded((await of(split.validation)).loss!),
    exact: rounded((await of(split.test)).exact_match!),
    probability: rounded(right.reduce((a, b) => a + b, 0) / right.length),
    known,
  };
}

/** What is trained, what is frozen beside the base, and what the optimizer keeps, in numbers. */
export function countsOf({ model, adapter, optimizer = adamW() }: ArmStart) {
  const all = adapter ? adapter.parameters : model.weights;
  const trained = Object.entries(all).filter(([name, value]) => optimizer.trains?.(name, value) ?? true);
  const numbers = (value: unknown): number => {
    if (value instanceof Tensor) return value.size;
    if (typeof value !== 'object' || value === null) return 0;
    return Object.values(value).reduce((sum: number, one) => sum + numbers(one), 0);
  };
  return {
    trained: numbers(Object.fromEntries(trained)),
    frozen: numbers(all) - numbers(Object.fromEntries(trained)) + numbers(adapter?.frozen),
    moments: numbers(optimizer.init(all)),
  };
}

/** Runs a cell. Its errors of numbers that are none, or of a configuration, are a result. */
export async function runCell(
  { part, arm, rate, seed }: Pick<Cell, 'part' | 'arm' | 'rate' | 'seed'>,
  size: StudySize = SIZE,
  runs?: string,
): Promise<Cell> {
  const model = await baseModel(seed, size.pretrainSteps, runs);
  const steps = part === 'skip_grpo' ? size.grpoSteps : size.steps;
  const setting: ArmSetting = { model, seed, steps, runs };
  const cell = { part, arm, rate, seed, trained: 0, frozen: 0 };
  try {
    if (arm === BASE) {
      const trainer = await Trainer.create(model, { optimizer: 'sgd' });
      return { ...cell, ...(await measure({ trainer, adapter: undefined }, model, part, seed, size.held)) };
    }
    const begin = await startOf(arm, setting);
    const { model: base, adapter: start, optimizer } = begin;
    Object.assign(cell, countsOf(begin));
    const { train } = splitOf(part === 'before' ? 'before' : 'skip', seed, size.held);
    const shared = {
      ...{ model: base, rows: rowsFor(base, start, train), steps, learningRate: rate, seed },
      ...{ schedule: 'cosine' as const, ...(start && { adapter: start }), ...(optimizer && { optimizer }) },
      ...{ warmupSteps: Math.ceil(steps / 20), onWarning: () => {} },
    } as const;
    const trained =
      part === 'skip_grpo'
        ? await trainPolicy({
            ...{ ...shared, promptsPerStep: 16, completionsPerPrompt: 8, maxCompletionLength: 3 },
            ...{ rewards: { right: isRight }, objective: policyObjectives.dapo() },
          })
        : await sft({ ...shared, batchSize: 16 });
    return { ...cell, ...(await measure(trained as Trained, base, part, seed, size.held)) };
  } catch (error) {
    if (!isPosttrainError(error)) throw error;
    const nothing = { loss: null, exact: null, probability: null, known: null };
    return { ...cell, ...nothing, error: `${error.code}: ${error.message.slice(0, 160)}` };
  }
}
