import { type Comparison, compare } from '../compare.js';
import { EvaluationError } from '../errors.js';
import { readRuns } from '../formats/read-runs.js';
import type { EvalResult, MetricResult } from '../log/format.js';
import { ArgumentsError, type Typed } from './arguments.js';

/** A difference, and the grader it is under. */
export interface Difference extends Comparison {
  readonly label: string;
}

/** The two runs that were named. @throws ArgumentsError; what `readRuns` throws */
export async function twoRuns(typed: Typed, command: string): Promise<readonly [EvalResult, EvalResult]> {
  const [first, second, ...others] = typed.positionals;
  if (first === undefined || second === undefined || others.length > 0)
    throw new ArgumentsError(`${command} takes two logs.`);
  if (typed.text('second-task') !== undefined && typed.text('task') === undefined)
    throw new ArgumentsError('--second-task names the pair of --task: give both.');
  return [await oneRun(first, typed), await oneRun(second, typed, typed.text('second-task'))];
}

/** The run of a file, or that of its task that was named. */
export async function oneRun(file: string, typed: Typed, task = typed.text('task')): Promise<EvalResult> {
  const runs = (await readRuns(file)).filter(({ config }) => task === undefined || config.task === task);
  if (runs.length === 1) return runs[0]!;
  const names = (await readRuns(file)).map(({ config }) => config.task).join(', ');
  throw new ArgumentsError(`${file} has the tasks ${names || 'of nobody'}; name one with --task.`);
}

/**
 * Differences of the metrics that were named, or of all that both runs have. @throws EvaluationError `NO_SUCH_METRIC` where they have none in common, or where all of
 * the first are wanted and the second lacks one
 */
export function differences(
  [first, second]: readonly [EvalResult, EvalResult],
  typed: Typed,
  { all = false }: { readonly all?: boolean } = {},
): Difference[] {
  const [asked, grader] = [typed.texts('metric'), typed.text('grader')];
  const isIn = ({ metrics }: EvalResult, one: MetricResult): boolean =>
    metrics.some((two) => two.metric === one.metric && two.grader === one.grader);
  const wanted = first.metrics.filter((one) => grader === undefined || one.grader === grader);
  const missing = all && asked.length === 0 ? wanted.find((one) => !isIn(second, one)) : undefined;
  if (missing)
    throw new EvaluationError(
      'NO_SUCH_METRIC',
      `the second run has no ${labelOf(missing)}, which the first has; name the metrics that count with --metric.`,
    );
  const keys =
    asked.length > 0 ? asked.map((metric) => ({ metric, grader })) : wanted.filter((one) => isIn(second, one));
  if (keys.length === 0) throw new EvaluationError('NO_SUCH_METRIC', 'the two runs have no metric in common.');
  return keys.map(({ metric, grader: under }) => ({
    ...compare(first, second, {
      metric,
      ...(under !== undefined && { grader: under }),
      // Whoever names both has said that they are the same.
      sameTask: typed.has('same-task') || typed.text('second-task') !== undefined,
    }),
    label: labelOf({ metric, grader: under }),
  }));
}

const labelOf = ({ metric, grader }: { readonly metric: string; readonly grader?: string | undefined }): string =>
  grader === undefined ? metric : `${metric} (${grader})`;

/** A metric that has become worse by more than its interval, and by more than is allowed. */
export function hasFallen({ difference, interval }: Comparison, lowerIsBetter: boolean, tolerance: number): boolean {
  const sign = lowerIsBetter ? -1 : 1;
  if (sign * difference >= -tolerance) return false;
  if (interval === null) return true;
  return lowerIsBetter ? interval[0] > tolerance : interval[1] < -tolerance;
}
