import { custom, type Given, number, type OptionShape, oneOf, options, text } from '@posttrain/interfaces';

/** A point of a series; `y` that is `null` or not finite leaves a gap, which the caption mentions. */
export interface PlotPoint {
  readonly x: number;
  readonly y: number | null;
  /** Half the length of the error bar: one standard error. */
  readonly standardError?: number | null;
}

/** One line, or one set of points, of a plot. */
export interface PlotSeries {
  readonly name: string;
  readonly points: readonly PlotPoint[];
  /** Of this line of a line plot. Default: the plot's. */
  readonly smoothing?: number;
}

const base = {
  title: text({}),
  /** One sentence on what to see; also read out by screen readers. */
  caption: text({ optional: true }),
  yLabel: text({}),
  /** Default `number`. */
  yFormat: oneOf(['number', 'percent'], { optional: true }),
};
const xy = {
  xLabel: text({}),
  /** `log` needs x > 0. Default `linear`. */
  xScale: oneOf(['linear', 'log'], { optional: true }),
  series: custom<readonly PlotSeries[]>()('a list of { name, points }', Array.isArray, {}),
};
const plotOptions = {
  line: options('a line plot', {
    ...base,
    ...xy,
    /** w in [0, 1) of the average Σ_i w^|t−i| y_i / Σ_i w^|t−i| drawn over the faint raw curve. Default 0: none. */
    smoothing: number({ optional: true, min: 0, below: 1 }),
  }),
  scatter: options('a scatter plot', { ...base, ...xy }),
  bar: options('a bar plot', {
    ...base,
    groups: custom<readonly string[]>()('a list of texts', Array.isArray, {}),
    /** The values of a series: one per group. */
    series: custom<
      readonly {
        readonly name: string;
        readonly values: readonly { readonly value: number | null; readonly standardError?: number | null }[];
      }[]
    >()('a list of { name, values }', Array.isArray, {}),
  }),
} as const;

/** Curves with error bars. */
export type LinePlot = { readonly type: 'line' } & Given<(typeof plotOptions)['line']>;
/** Points, with error bars where they have some. */
export type ScatterPlot = { readonly type: 'scatter' } & Given<(typeof plotOptions)['scatter']>;
/** Lying bars from 0: one group per name in `groups`, one bar per series in it. */
export type BarPlot = { readonly type: 'bar' } & Given<(typeof plotOptions)['bar']>;
/** A plot of a report. */
export type Plot = LinePlot | ScatterPlot | BarPlot;

/**
 * @throws OptionError for what a plot of its type has not, or a value that cannot be right; it names the plot by its
 * title
 */
export function checkPlot({ type, ...plot }: Plot): void {
  options<OptionShape>(`plot "${plot.title}"`, plotOptions[type].shape).read(plot);
}
