import { EvaluationError } from '../errors.js';
import type { ChoiceProblem, EvalResult, GenerateProblem, MetricResult } from '../log/format.js';
import { meanWithStandardError } from '../statistics/standard-error.js';
import { type ChoiceMetric, gradedProblem, type Metric, type SampledProblem, type SampleMetric } from '../task.js';

/**
 * Computes metrics of logged samples again, or others than the task had, under one grader (default: the first).
 * @throws EvaluationError `TOO_FEW_SAMPLES` naming a problem of which fewer samples were drawn than a metric needs;
 *   `NO_SUCH_GRADER`
 */
export function sampleMetrics(
  problems: readonly GenerateProblem[],
  metrics: readonly SampleMetric[],
  grader: string | undefined = firstGrader(problems),
): MetricResult[] {
  assertEnoughSamples(problems, metrics);
  if (grader === undefined) return metrics.map((metric) => aggregate(metric, [], []));
  const graded = gradedProblems(problems, grader);
  return metrics.map((metric) => ({ ...aggregate(metric, graded, problems), grader }));
}

/** The samples of logged problems as one grader saw them (default: the first). @throws EvaluationError `NO_SUCH_GRADER` */
export function gradedProblems(
  problems: readonly GenerateProblem[],
  grader: string | undefined = firstGrader(problems),
): SampledProblem[] {
  return problems.map((problem) => {
    if (grader === undefined || problem.completions.some((completion) => !(grader in completion.grades))) {
      throw new EvaluationError('NO_SUCH_GRADER', `Problem "${problem.id}" was not graded by "${grader}".`);
    }
    return gradedProblem(problem, grader);
  });
}

/** Computes metrics of logged choices. */
export function choiceMetrics(problems: readonly ChoiceProblem[], metrics: readonly ChoiceMetric[]): MetricResult[] {
  return metrics.map((metric) => aggregate(metric, problems, problems));
}

/**
 * One metric of a result by name, under one grader (default: the first that has it).
 * @throws EvaluationError `NO_SUCH_METRIC`, which lists those there are.
 */
export function metricOf(result: EvalResult, metric: string, grader?: string): MetricResult {
  const found = result.metrics.find(
    (candidate) => candidate.metric === metric && (grader === undefined || candidate.grader === grader),
  );
  if (found) return found;
  const known = result.metrics.map((m) => (m.grader ? `${m.metric} (${m.grader})` : m.metric)).join(', ');
  const asked = grader ? `${metric} (${grader})` : metric;
  throw new EvaluationError(
    'NO_SUCH_METRIC',
    `${result.config.task}: no metric ${asked}. There is: ${known || 'none'}.`,
  );
}

/** The mean of a metric over problems, with its standard error; those of one cluster are not independent. */
export function aggregate<P>(
  metric: Metric<P>,
  seen: readonly P[],
  problems: readonly { readonly id: string; readonly cluster?: string }[],
): MetricResult {
  const values = seen.map((problem) => metric.value(problem));
  const kept: number[] = [];
  const clusters: string[] = [];
  const measured: P[] = [];
  values.forEach((value, i) => {
    // The prefixes keep a cluster's name from meeting a problem's id.
    const cluster = problems[i]!.cluster === undefined ? `id:${problems[i]!.id}` : `cluster:${problems[i]!.cluster}`;
    if (value === null) return;
    if (!Number.isFinite(value)) {
      throw new EvaluationError(
        'NOT_FINITE',
        `${metric.name}: the value of problem "${problems[i]!.id}" is ${value}; a metric gives a finite number, or null.`,
      );
    }
    kept.push(value);
    clusters.push(cluster);
    measured.push(seen[i]!);
  });
  const estimate = metric.estimate?.(measured, clusters) ?? meanWithStandardError(kept, clusters);
  return { metric: metric.name, ...estimate, values };
}

function assertEnoughSamples(problems: readonly GenerateProblem[], metrics: readonly SampleMetric[]): void {
  for (const { name, k = 0 } of metrics) {
    const short = problems.find(({ completions }) => completions.length < k);
    if (!short) continue;
    throw new EvaluationError(
      'TOO_FEW_SAMPLES',
      `${name} needs ${k} samples of a problem, but problem "${short.id}" has ${short.completions.length}. Draw more, or ask for a smaller k.`,
    );
  }
}

function firstGrader(problems: readonly GenerateProblem[]): string | undefined {
  return Object.keys(problems[0]?.completions[0]?.grades ?? {})[0];
}
