import { assertArgument, boolean, type Given, options, text } from '@posttrain/interfaces';
import { EvaluationError } from './errors.js';
import type { EvalResult } from './log/format.js';
import { metricOf } from './metrics/compute-metrics.js';
import { comparisonStatement } from './statistics/comparison-statement.js';
import { type McNemarResult, mcnemar } from './statistics/mcnemar.js';
import { bootstrapShape, type PairedDifference, pairedBootstrap } from './statistics/paired-bootstrap.js';

const compareOptions = options(
  'compare',
  {
    metric: text({}),
    /** Default: the first grader that has the metric. */
    grader: text({ optional: true }),
    /** The runs' tasks are the same though their names differ. Default false: such runs are refused. */
    sameTask: boolean({ default: false }),
    ...bootstrapShape,
  },
  { bare: 'metric' },
);
/** Options of `compare`. */
export type CompareOptions = Given<typeof compareOptions>;

/** Two runs on the same problems: second minus first. */
export interface Comparison extends PairedDifference {
  readonly metric: string;
  /** Names of the two runs' models. */
  readonly first: string;
  readonly second: string;
  /** Only where every value is 0 or 1 and problems are not clustered. */
  readonly mcnemar?: McNemarResult;
  /** Ids of the problems with a value in the first run and none in the second, in the first run's order. */
  readonly missing: readonly string[];
  /** What the comparison can and cannot tell, in words. */
  readonly statement: string;
}

/**
 * Compares two runs on the same problems: second minus first, paired by problem id, with clusters kept together.
 * Problems without a value in one of the runs are left out, with a `warning`; those that only the second lacks are `missing`.
 * @throws OptionError; EvaluationError `UNPAIRED` when the runs are of tasks with different names (unless `sameTask`), are not over the same
 *   problems, have none with a value in both, or were graded by differently named graders; `DUPLICATE_ID`; `NO_SUCH_METRIC`.
 */
export function compare(first: EvalResult, second: EvalResult, given: CompareOptions): Comparison {
  const { metric, grader, sameTask, ...bootstrap } = compareOptions.read(given);
  assertResult('first', first);
  assertResult('second', second);
  if (!sameTask && first.config.task !== second.config.task) {
    // Problems of different tasks are often numbered alike: equal ids would pair what has nothing to do with each other.
    throw new EvaluationError(
      'UNPAIRED',
      `compare: the first run is of the task "${first.config.task}", the second of "${second.config.task}"; give runs of one task, or say with sameTask (--same-task, or --task and --second-task by name) that they are the same.`,
    );
  }
  const a = metricOf(first, metric, grader);
  const b = metricOf(second, metric, grader);
  if (a.grader !== b.grader) {
    throw new EvaluationError(
      'UNPAIRED',
      `compare: ${metric} was graded by "${a.grader}" in the first run and by "${b.grader}" in the second; name one with "grader".`,
    );
  }
  assertDistinct(first);
  assertDistinct(second);
  const position = new Map(second.problems.map((problem, i) => [problem.id, i]));
  const shared = first.problems.filter((problem) => position.has(problem.id)).length;
  if (shared !== first.problems.length || shared !== second.problems.length) {
    throw new EvaluationError(
      'UNPAIRED',
      `compare needs the same problems in both runs, but of ${first.problems.length} and ${second.problems.length} only ${shared} are shared.`,
    );
  }
  const valuesA: number[] = [];
  const valuesB: number[] = [];
  const clusters: string[] = [];
  const missing: string[] = [];
  first.problems.forEach((problem, i) => {
    const valueA = a.values[i]!;
    const valueB = b.values[position.get(problem.id)!]!;
    if (valueA !== null && valueB === null) missing.push(problem.id);
    if (valueA === null || valueB === null) return;
    valuesA.push(valueA);
    valuesB.push(valueB);
    clusters.push(problem.cluster === undefined ? `id:${problem.id}` : `cluster:${problem.cluster}`);
  });
  if (valuesA.length === 0) {
    throw new EvaluationError('UNPAIRED', `compare: no problem has a value of ${metric} in both runs.`);
  }
  const leftOut = first.problems.length - valuesA.length;
  const difference = pairedBootstrap(valuesA, valuesB, { ...bootstrap, clusters });
  const warning = [
    ...(leftOut > 0 ? [`${leftOut} of ${first.problems.length} problems have no value in one of the runs.`] : []),
    ...(difference.warning === undefined ? [] : [difference.warning]),
  ].join(' ');
  const clustered = new Set(clusters).size < clusters.length;
  const binary = [...valuesA, ...valuesB].every((value) => value === 0 || value === 1);
  const names = { metric, first: first.config.model, second: second.config.model };
  return {
    ...names,
    ...difference,
    missing,
    statement: comparisonStatement({ ...names, ...difference, level: given.level ?? 0.95 }),
    ...(warning !== '' && { warning }),
    ...(binary && !clustered && { mcnemar: mcnemar(valuesA, valuesB) }),
  };
}

function assertDistinct({ config, problems }: EvalResult): void {
  const seen = new Set<string>();
  for (const { id } of problems) {
    if (seen.has(id)) {
      throw new EvaluationError('DUPLICATE_ID', `compare: the run of ${config.model} has two problems "${id}".`);
    }
    seen.add(id);
  }
}

/** A log's path, or a promise of a result, is none. */
function assertResult(name: string, value: unknown): void {
  const isResult = typeof value === 'object' && value !== null && 'problems' in value && 'metrics' in value;
  const hint = value instanceof Promise ? ' (await it first)' : '';
  assertArgument('compare', name, value, isResult, `a result, as evaluate and readLog give it${hint}`);
}
