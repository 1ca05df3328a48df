import { type Given, integer, options, text } from '@posttrain/interfaces';
import { type Comparison, compare } from '../compare.js';
import { EvaluationError } from '../errors.js';
import type { EvalResult } from '../log/format.js';
import { metricOf } from '../metrics/compute-metrics.js';
import { abilityDelta, type ContinualMetrics, continualMetrics } from '../metrics/continual.js';
import { holm } from '../statistics/multiple-comparisons.js';

const batteryOptions = options('forgettingBattery', {
  /** The metric of each task. Default: the first that it has. */
  metric: text({ optional: true }),
  /** Resamples of each comparison. Default 10 000. */
  resamples: integer({ default: 10_000, min: 1 }),
  /** Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `forgettingBattery`. */
export type ForgettingBatteryOptions = Given<typeof batteryOptions>;

/** What a fine-tune has cost and brought, task by task. */
export interface ForgettingBattery {
  /** After less before, paired, by task. `adjusted`: the p-value by Holm's procedure over all tasks. */
  readonly tasks: Readonly<Record<string, Comparison & { readonly adjusted: number | null }>>;
  /** Tasks that are worse: the adjusted p-value is at most 0.05 and the difference below 0. */
  readonly forgotten: readonly string[];
  /** The mean of the differences: ΔR of TRACE (arXiv 2310.06762). */
  readonly meanDelta: number;
}

/**
 * A battery of held-out tasks before and after a fine-tune, each compared on the same problems: what it has forgotten. Higher must be better. The p-values are Holm's (1979), so that
 * with many tasks the chance of calling one forgotten that is not stays 5 %.
 *
 * @param before a run for each task
 * @param after runs of the same tasks, in any order
 * @throws OptionError; EvaluationError `UNPAIRED` for tasks that only one of both has, `DUPLICATE_ID` for two runs of one task, `NO_RECORDS`; what `compare` throws
 */
export function forgettingBattery(
  before: readonly EvalResult[],
  after: readonly EvalResult[],
  given: ForgettingBatteryOptions = {},
): ForgettingBattery {
  const { metric, resamples, seed } = batteryOptions.read(given);
  const [one, other] = [byTask(before), byTask(after)];
  assertSameTasks('forgettingBattery', [...one.keys()], [...other.keys()]);
  const compared = [...one].map(([task, result]) => {
    const name = metric ?? result.metrics[0]?.metric ?? '';
    return [task, compare(result, other.get(task)!, { metric: name, resamples, seed })] as const;
  });
  const known = compared.flatMap(([task, { pValue }]) => (pValue === null ? [] : [{ task, pValue }]));
  const adjusted = new Map(holm(known.map(({ pValue }) => pValue)).map((p, i) => [known[i]!.task, p]));
  const tasks = Object.fromEntries(
    compared.map(([task, found]) => [task, { ...found, adjusted: adjusted.get(task) ?? null }]),
  );
  return {
    tasks,
    forgotten: Object.entries(tasks).flatMap(([task, { adjusted: p, difference }]) =>
      p !== null && p <= 0.05 && difference < 0 ? [task] : [],
    ),
    meanDelta: abilityDelta(
      compared.map(() => 0),
      compared.map(([, { difference }]) => difference),
    ),
  };
}

/**
 * The matrix R of `continualMetrics` from runs: after each stage of training, a run for every task, tasks in the order of training.
 *
 * @param stages runs of all tasks after stage i, in any order
 * @param order names of the tasks, in the order of training
 * @param baseline runs of all tasks before any training. Default: none, and there is no forward transfer
 * @throws EvaluationError `UNPAIRED` where a stage lacks a task, `CONTINUAL_MATRIX`, `NO_SUCH_METRIC`
 */
export function forgettingMatrix(
  stages: readonly (readonly EvalResult[])[],
  order: readonly string[],
  { metric, baseline }: { readonly metric?: string; readonly baseline?: readonly EvalResult[] } = {},
): ContinualMetrics & { readonly matrix: readonly (readonly number[])[] } {
  const scores = (results: readonly EvalResult[]): number[] => {
    const of = byTask(results);
    assertSameTasks('forgettingMatrix', order, [...of.keys()]);
    return order.map(
      (task) => metricOf(of.get(task)!, metric ?? of.get(task)!.metrics[0]?.metric ?? '').value ?? Number.NaN,
    );
  };
  const matrix = stages.map(scores);
  return {
    ...continualMetrics({ matrix, higherIsBetter: true, ...(baseline && { baseline: scores(baseline) }) }),
    matrix,
  };
}

function byTask(results: readonly EvalResult[]): Map<string, EvalResult> {
  const of = new Map(results.map((result) => [result.config.task, result]));
  if (results.length === 0) throw new EvaluationError('NO_RECORDS', 'a battery needs a run of at least one task.');
  if (of.size === results.length) return of;
  throw new EvaluationError(
    'DUPLICATE_ID',
    `two runs of a battery are of one task: ${results.map(({ config }) => config.task).join(', ')}.`,
  );
}

function assertSameTasks(where: string, one: readonly string[], other: readonly string[]): void {
  const missing = [...one.filter((task) => !other.includes(task)), ...other.filter((task) => !one.includes(task))];
  if (missing.length > 0)
    throw new EvaluationError(
      'UNPAIRED',
      `${where}: ${missing.map((task) => `"${task}"`).join(', ')} was asked on one side only.`,
    );
}
