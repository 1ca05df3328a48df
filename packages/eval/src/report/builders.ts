import { custom, type Given, integer, listOf, number, oneOf, options, text } from '@posttrain/interfaces';
import type { NumberFormat } from '../format.js';
import type { EvalResult, GenerateProblem } from '../log/format.js';
import type { SamplesCurvePoint } from '../samples-curve.js';
import type { ScalingRow, ScalingStrategy } from '../scaling-curve.js';
import { metricsTable } from '../table.js';
import type { LinePlot } from './plots.js';
import type { ExamplesBlock, ReportBlock } from './section.js';

/** A line of a training log, such as `{ step: 10, loss: 2.1 }`. */
export type TrainingLogLine = Readonly<Record<string, number | null | undefined>>;

const trainingCurvesOptions = options('trainingCurves', {
  /** Which metrics, in which order. Default: all but x. */
  keys: listOf(text({}), { optional: true }),
  /** The key along the x axis. Default `step`. */
  x: text({ default: 'step' }),
  /** As in `LinePlot`. Default 0. */
  smoothing: number({ default: 0 }),
  /** Keys that are shares. Default: none. */
  percent: listOf(text({}), { default: [] }),
});
/** Options of `trainingCurves`. */
export type TrainingCurvesOptions = Given<typeof trainingCurvesOptions>;

/** One plot per metric of a training log. */
export function trainingCurves(lines: readonly TrainingLogLine[], given: TrainingCurvesOptions = {}): LinePlot[] {
  const { x, smoothing, percent, keys: wanted } = trainingCurvesOptions.read(given);
  const keys = wanted ?? [...new Set(lines.flatMap((line) => Object.keys(line)))].filter((key) => key !== x);
  return keys.map((key) => ({
    type: 'line',
    title: key,
    xLabel: x,
    yLabel: key,
    yFormat: percent.includes(key) ? 'percent' : 'number',
    smoothing,
    series: [
      {
        name: key,
        // A line without this metric says nothing of it; one with null or NaN says that it broke, and leaves a gap.
        points: lines.flatMap((line) => (line[key] === undefined ? [] : [{ x: line[x] ?? Number.NaN, y: line[key] }])),
      },
    ],
  }));
}

const evaluationBlocksOptions = options('evaluationBlocks', {
  /** Names of the runs. Default: their models' names. */
  names: listOf(text({}), { optional: true }),
  /** How the metrics are shown. Default `percent`. */
  format: oneOf<NumberFormat, { readonly default: 'percent' }>(['number', 'percent'], { default: 'percent' }),
});
/** Options of `evaluationBlocks`. */
export type EvaluationBlocksOptions = Given<typeof evaluationBlocksOptions>;

/** Runs side by side: a table, bars with error bars, and the runs' warnings. */
export function evaluationBlocks(results: readonly EvalResult[], given: EvaluationBlocksOptions = {}): ReportBlock[] {
  const settings = evaluationBlocksOptions.read(given);
  const { names, format } = settings;
  const { rows, columns } = metricsTable(results, settings);
  const metrics = columns.filter(({ key }) => !['model', 'task', 'problems'].includes(key));
  const nameOf = (i: number): string => names?.[i] ?? results[i]!.config.model;
  const warnings = results.flatMap((result, i) => result.warnings.map((warning) => `${nameOf(i)}: ${warning}`));
  return [
    { type: 'table', rows, columns },
    {
      type: 'bar',
      title: 'Metrics by run',
      caption: 'Means over problems; whiskers show ± one standard error.',
      yLabel: 'value',
      yFormat: format,
      groups: metrics.map(({ key }) => key),
      series: rows.map((row, i) => ({
        name:
          results.length > new Set(rows.map(({ model }) => model)).size
            ? `${nameOf(i)} (${results[i]!.config.task})`
            : nameOf(i),
        values: metrics.map(
          ({ key }) =>
            (row[key] as { value: number | null; standardError: number | null } | undefined) ?? { value: null },
        ),
      })),
    },
    ...(warnings.length > 0 ? [{ type: 'text', tone: 'warning', text: warnings.join('\n\n') } as const] : []),
  ];
}

/** The same curves twice: against samples per problem, and against the tokens they cost. */
export function samplesCurvePlots(
  curves: readonly { readonly name: string; readonly points: readonly SamplesCurvePoint[] }[],
): LinePlot[] {
  const plot = (title: string, xLabel: string, x: (point: SamplesCurvePoint) => number): LinePlot => ({
    type: 'line',
    title,
    xLabel,
    yLabel: 'accuracy',
    yFormat: 'percent',
    xScale: 'log',
    series: curves.map(({ name, points }) => ({
      name,
      points: points.map((point) => ({ x: x(point), y: point.value, standardError: point.standardError })),
    })),
  });
  return [
    plot('Accuracy against samples', 'samples per problem', ({ k }) => k),
    plot('Accuracy against tokens', 'generated tokens per problem', ({ tokens }) => tokens),
  ];
}

const STRATEGY_NAMES: Readonly<Record<ScalingStrategy, string>> = {
  'best-of-n': 'best of N',
  'weighted-best-of-n': 'weighted best of N',
  'majority-vote': 'majority vote',
  'pass@k': 'pass@k (needs the answer)',
};

/** `samplesCurvePlots` of what `scalingCurve` gives: one line a strategy, with a band of one standard error. */
export function scalingCurvePlots(rows: readonly ScalingRow[]): LinePlot[] {
  const strategies = [...new Set(rows.map(({ strategy }) => strategy))];
  return samplesCurvePlots(
    strategies.map((strategy) => ({
      name: STRATEGY_NAMES[strategy],
      points: rows
        .filter((row) => row.strategy === strategy)
        .map(({ k, meanTokens, accuracy, standardError }) => ({
          ...{ k, tokens: meanTokens, value: accuracy, standardError },
        })),
    })),
  );
}

const completionExamplesOptions = options('completionExamples', {
  /** How many problems, evenly spaced over the run. Default 4. */
  count: integer({ default: 4, min: 0 }),
  /** How many completions of each. Default 2. */
  completions: integer({ default: 2, min: 0 }),
  /** The grader whose scores are shown. Default: the first. */
  grader: text({ optional: true }),
  /** The reference answer to show. Default: none. */
  target: custom<(row: object) => string>()('a function of the row', (value) => typeof value === 'function', {
    optional: true,
  }),
});
/** Options of `completionExamples`. */
export type CompletionExamplesOptions = Given<typeof completionExamplesOptions>;

/** What the model wrote, with its scores. */
export function completionExamples(
  result: EvalResult<GenerateProblem>,
  given: CompletionExamplesOptions = {},
): ExamplesBlock {
  const settings = completionExamplesOptions.read(given);
  const { count, completions, grader = result.config.graders?.[0], target } = settings;
  const every = Math.max(1, result.problems.length / count);
  const chosen = result.problems
    .filter((_, i) => Math.floor(i / every) !== Math.floor((i - 1) / every))
    .slice(0, count);
  return {
    type: 'examples',
    examples: chosen.map((problem) => ({
      title: `${result.config.task} ${problem.id}`,
      prompt: problem.prompt,
      ...(target && { target: target(problem.row) }),
      completions: problem.completions.slice(0, completions).map(({ text, grades }, i) => ({
        text,
        label:
          problem.completions.length > 1 ? `Sample ${i + 1} of ${problem.completions.length}` : result.config.model,
        ...(grader !== undefined && { score: grades[grader]?.score ?? null }),
      })),
    })),
  };
}
