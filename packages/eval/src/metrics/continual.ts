import { boolean, custom, type Given, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { mean } from '../statistics/standard-error.js';

const isNumbers = (value: unknown): boolean => Array.isArray(value);

const continualOptions = options('continualMetrics', {
  /** R: R[i][j] is the score on task j after training on task i, tasks in the order of training. Square. */
  matrix: custom<readonly (readonly number[])[]>()('a list of lists of numbers', isNumbers, {}),
  /** b: the score on every task before any training. Without it there is no forward transfer. */
  baseline: custom<readonly number[]>()('a list of numbers, one for each task', isNumbers, { optional: true }),
  /** Whether more is better, as of an accuracy; false for a loss or a perplexity. */
  higherIsBetter: boolean({}),
});
/** Options of `continualMetrics`. */
export type ContinualMetricsOptions = Given<typeof continualOptions>;

/** What a model has kept and lost over a stream of T tasks. */
export interface ContinualMetrics {
  /** OP, overall performance: the mean over tasks of R[T, j], in the unit of the score. */
  readonly overall: number;
  /** BWT: the mean over all tasks but the last of R[T, j] - R[j, j]. Above 0: later tasks helped. Null of one task. */
  readonly backwardTransfer: number | null;
  /** FWT: the mean over all tasks but the first of R[j - 1, j] - b[j]. Above 0: earlier tasks helped. Null without a baseline. */
  readonly forwardTransfer: number | null;
  /** The mean over all tasks but the last of the best R[l, j], l < T, less R[T, j]. Above 0: something was lost. Null of one task. */
  readonly forgetting: number | null;
  /** The same of every task but the last. */
  readonly forgettingByTask: readonly number[];
}

/**
 * Metrics of continual learning: OP, BWT and FWT of GEM (arXiv 1706.08840) and the forgetting of arXiv 1801.10112, eq. 3, over the
 * matrix R. Of a score of which less is better, transfers and forgetting are those of -R: above 0 always means that a transfer helped
 * and that something was forgotten.
 *
 * @throws OptionError; EvaluationError `CONTINUAL_MATRIX` for a matrix that is not square, a baseline of another length, or an entry
 *   that is not finite
 */
export function continualMetrics(given: ContinualMetricsOptions): ContinualMetrics {
  const { matrix, baseline, higherIsBetter } = continualOptions.read(given);
  const count = matrix.length;
  const wrong = (problem: string) => new EvaluationError('CONTINUAL_MATRIX', `continualMetrics: ${problem}`);
  if (count === 0) throw wrong('the matrix is empty; it has a row for each task that was trained on');
  const all: [string, readonly number[]][] = matrix.map((row, i) => [`row ${i} of the matrix`, row]);
  if (baseline) all.push(['the baseline', baseline]);
  for (const [what, row] of all) {
    if (row.length !== count) throw wrong(`${what} has ${row.length} scores, and there are ${count} tasks`);
    const j = row.findIndex((x) => !Number.isFinite(x));
    if (j >= 0) throw wrong(`${what} has ${row[j]} for task ${j}; give finite numbers`);
  }
  const sign = higherIsBetter ? 1 : -1;
  const last = matrix[count - 1]!;
  const earlier = last.slice(0, -1);
  const meanOf = (values: readonly number[]) => (values.length > 0 ? mean(values) : null);
  const forgettingByTask = earlier.map((end, j) => {
    const best = Math.max(...matrix.slice(0, -1).map((row) => sign * row[j]!));
    return best - sign * end;
  });
  return {
    overall: mean(last),
    backwardTransfer: meanOf(earlier.map((end, j) => sign * (end - matrix[j]![j]!))),
    forwardTransfer: baseline ? meanOf(baseline.slice(1).map((b, j) => sign * (matrix[j]![j + 1]! - b))) : null,
    forgetting: meanOf(forgettingByTask),
    forgettingByTask,
  };
}

/**
 * ΔR of TRACE (arXiv 2310.06762, section 3.3): the mean over general abilities (or tests of following instructions, or of safety) of
 * the score after the whole stream less that before it. Below 0: the stream has cost some of it.
 *
 * @throws EvaluationError `CONTINUAL_MATRIX` where the two are not of the same tests
 */
export function abilityDelta(before: readonly number[], after: readonly number[]): number {
  if (before.length === after.length && before.length > 0) return mean(after.map((x, i) => x - before[i]!));
  const problem = `there are ${before.length} scores before and ${after.length} after; give one of each test, in one order`;
  throw new EvaluationError('CONTINUAL_MATRIX', `abilityDelta: ${problem}`);
}
