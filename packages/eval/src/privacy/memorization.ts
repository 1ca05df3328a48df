import {
  custom,
  type Given,
  integer,
  number,
  type OnProgress,
  OptionError,
  options,
  type Scorer,
  type TrainableRow,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { assertLength } from '../task-kind.js';
import { isRows, rowsOption, trainerOption } from './scorer-trainer-options.js';

const memorizationOptions = options('memorization', {
  /** Trains models on parts of the rows: `sftScorerTrainer(…)` of `@posttrain/training`, say. */
  trainer: trainerOption,
  /** Rows of which it is asked how much each is memorized. Two or more. */
  rows: rowsOption,
  /** Other rows, of which it is asked what the trained ones do for them. Default: none. */
  evaluationRows: custom<readonly TrainableRow[]>()('a list of { prompt, completion }', isRows, { optional: true }),
  /** The part of the rows that each model is trained on. Default 0.7. */
  subset: number({ default: 0.7, above: 0, below: 1 }),
  /** Models to train: the error falls with their root. Default 20; the paper has 2000. */
  models: integer({ default: 20, min: 2 }),
  /** Of the parts, and of the training of each model. Default 0. */
  seed: integer({ default: 0 }),
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
  onProgress: custom<OnProgress>()('a function', (value) => typeof value === 'function', { optional: true }),
});
/** Options of `memorization`. */
export type MemorizationOptions = Given<typeof memorizationOptions>;

/** What `memorization` has found, in the order of the rows. */
export interface Memorization {
  /** mem(i), from -1 to 1: how much likelier a row is to models that were trained on it than to those that were not. */
  readonly memorization: readonly number[];
  /** infl(i, j): what row i does for evaluation row j. One list a row; empty lists without evaluation rows. */
  readonly influence: readonly (readonly number[])[];
}

/**
 * How much rows are memorized, and what they do for others (Feldman and Zhang, arXiv 2008.03703, eq. 1 and 2): infl(i, j) = E[p_j | i ∈ S] −
 * E[p_j | i ∉ S] over models that are each trained on a random part S of the rows, and mem(i) = infl(i, i). p is the geometric mean of
 * the probabilities of a completion's tokens. Training without one row at a time would cost a model a row; here every model serves all.
 *
 * @throws OptionError; EvaluationError `BAD_RESPONSE` for scores of other numbers, `UNPAIRED` for a row that is in every part or in none
 *   (more models help); what the trainer throws
 */
export async function memorization(given: MemorizationOptions): Promise<Memorization> {
  const {
    trainer,
    rows,
    evaluationRows = [],
    subset,
    models,
    seed,
    signal,
    onProgress,
  } = memorizationOptions.read(given);
  const size = Math.round(subset * rows.length);
  if (size < 1 || size >= rows.length) {
    const problem = `subset ${subset} of ${rows.length} rows is ${size} of them; some must be in and some out.`;
    throw new OptionError('INVALID_OPTION', 'memorization', 'subset', problem);
  }
  const random = createRandom(seed, 'memorization');
  const indices = rows.map((_, i) => i);
  const members: boolean[][] = [];
  const [own, others]: [number[][], number[][]] = [[], []];
  for (let m = 0; m < models; m++) {
    signal?.throwIfAborted();
    const chosen = new Set(random.shuffled(indices).slice(0, size));
    members.push(indices.map((i) => chosen.has(i)));
    const part = rows.filter((_, i) => chosen.has(i));
    const model = await trainer.train(part, { seed: seed + m, ...(signal && { signal }) });
    const probabilities = await probabilitiesOf(model, [...rows, ...evaluationRows]);
    own.push(probabilities.slice(0, rows.length));
    others.push(probabilities.slice(rows.length));
    onProgress?.({ stage: 'memorization: models', done: m + 1, total: models });
  }
  return {
    memorization: subsetInfluence(members, own).map((row, i) => row[i]!),
    influence: subsetInfluence(members, others),
  };
}

/**
 * The influence of each row on each value: its mean over the models that were trained on the row, less that over those that were not.
 *
 * @param members whether each model was trained on each row
 * @param values what each model says, a list of one length
 * @returns a list of influences on the values for each row
 * @throws EvaluationError `UNPAIRED` for a row that is in every model or in none, and for lists of other lengths
 */
export function subsetInfluence(
  members: readonly (readonly boolean[])[],
  values: readonly (readonly number[])[],
): number[][] {
  const [rows, width] = [members[0]?.length ?? 0, values[0]?.length ?? 0];
  const fits = members.every(({ length }) => length === rows) && values.every(({ length }) => length === width);
  if (!fits || members.length !== values.length) {
    throw new EvaluationError(
      'UNPAIRED',
      'subsetInfluence: every model must have one entry for each row and each value.',
    );
  }
  return Array.from({ length: rows }, (_, row) => {
    const inside = values.filter((__, m) => members[m]![row]);
    const outside = values.filter((__, m) => !members[m]![row]);
    if (inside.length === 0 || outside.length === 0) {
      const where = inside.length === 0 ? 'none' : 'each';
      throw new EvaluationError('UNPAIRED', `subsetInfluence: row ${row} is in ${where} of ${members.length} models.`);
    }
    const mean = (lists: readonly (readonly number[])[], j: number) =>
      lists.reduce((sum, list) => sum + list[j]!, 0) / lists.length;
    return Array.from({ length: width }, (__, j) => mean(inside, j) - mean(outside, j));
  });
}

/** The geometric mean of the probabilities of each completion's tokens. */
async function probabilitiesOf(scorer: Scorer, rows: readonly TrainableRow[]): Promise<number[]> {
  const scores = await scorer.score(rows.map(({ prompt, completion }) => ({ prompt, continuation: completion })));
  assertLength(scorer.name, 'scores', scores.length, rows.length, 'rows');
  return scores.map(({ logProb, tokens }) => Math.exp(logProb / tokens));
}
