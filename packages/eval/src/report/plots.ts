import type { NumberFormat } from '../format.js';

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
}

interface PlotBase {
  readonly title: string;
  /** One sentence on what to see; also read out by screen readers. */
  readonly caption?: string;
  readonly yLabel: string;
  /** Default `number`. */
  readonly yFormat?: NumberFormat;
}

/** Curves with error bars. */
export interface LinePlot extends PlotBase {
  readonly type: 'line';
  readonly xLabel: string;
  /** `log` needs x > 0. Default `linear`. */
  readonly xScale?: 'linear' | 'log';
  /** w in [0, 1) of the average Σ_i w^|t−i| y_i / Σ_i w^|t−i| drawn over the faint raw curve. Default 0: none. */
  readonly smoothing?: number;
  readonly series: readonly PlotSeries[];
}

/** Points, with error bars where they have some. */
export interface ScatterPlot extends PlotBase {
  readonly type: 'scatter';
  readonly xLabel: string;
  readonly xScale?: 'linear' | 'log';
  readonly series: readonly PlotSeries[];
}

/** Lying bars from 0: one group per name in `groups`, one bar per series in it. */
export interface BarPlot extends PlotBase {
  readonly type: 'bar';
  readonly groups: readonly string[];
  readonly series: readonly {
    readonly name: string;
    /** One per group. */
    readonly values: readonly { readonly value: number | null; readonly standardError?: number | null }[];
  }[];
}

/** A plot of a report. */
export type Plot = LinePlot | ScatterPlot | BarPlot;
