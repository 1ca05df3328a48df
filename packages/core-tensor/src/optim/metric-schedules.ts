import { type Given, integer, number, oneOf, options } from '@posttrain/interfaces';

interface MetricDefaults {
  readonly factor: number;
  readonly threshold: number;
  readonly thresholdMode: 'rel' | 'abs';
  readonly minimum: number;
}
const metricShape = ({ factor, threshold, thresholdMode, minimum }: MetricDefaults) => ({
  /** Whether a lower or a higher metric is better. Default `min`. */
  mode: oneOf(['min', 'max'], { default: 'min' }),
  /** The rate is multiplied by this. */
  factor: number({ default: factor, above: 0, below: 1 }),
  /** Metrics in a row that are tolerated. Default 10. */
  patience: integer({ default: 10, min: 0 }),
  /** How much better than the best a metric must be to count. */
  threshold: number({ default: threshold }),
  /** Whether the threshold is a difference or a fraction of the best. */
  thresholdMode: oneOf(['rel', 'abs'], { default: thresholdMode }),
  /** Metrics that are not looked at after the rate was lowered. Default 0. */
  cooldown: integer({ default: 0, min: 0 }),
  /** The lowest rate. */
  minimum: number({ default: minimum, min: 0 }),
});
const plateauOptions = options(
  'reduceOnPlateau',
  metricShape({ factor: 0.1, threshold: 1e-4, thresholdMode: 'rel', minimum: 0 }),
);
/** What both rules that look at a metric take. Rates here are rates, not fractions of a peak. */
export type MetricOptions = Given<typeof plateauOptions>;

const greedyOptions = options('greedy', {
  ...metricShape({ factor: 0.95, threshold: 1e-6, thresholdMode: 'abs', minimum: 1e-3 }),
  /** Metrics that are not looked at after the rate was raised. Default 0. */
  warmup: integer({ default: 0, min: 0 }),
  /** The highest rate. Default 1. */
  maximum: number({ default: 1, above: 0 }),
  /** Look at the mean of this many of the newest metrics. Default 1. */
  window: integer({ default: 1, min: 1 }),
  /** Reductions at the lowest rate after which everything starts again. Default 500. */
  resetStart: integer({ default: 500, min: 0 }),
});
/** Options of `greedy`. */
export type GreedyOptions = Given<typeof greedyOptions>;

/** Plain data: to be kept with a checkpoint. */
export interface MetricScheduleState {
  readonly learningRate: number;
  readonly initialRate: number;
  /** The best metric so far; null before the first. */
  readonly best: number | null;
  readonly bad: number;
  readonly good: number;
  readonly cooldown: number;
  readonly warmup: number;
  readonly resetIn: number;
  readonly recent: readonly number[];
}

/** A learning rate that depends on a metric: `state = schedule.next(state, metric)` after each evaluation. */
export interface MetricSchedule {
  init(learningRate: number): MetricScheduleState;
  next(state: MetricScheduleState, metric: number): MetricScheduleState;
}

/** Changes of the rate that are smaller than this are not made. */
const SMALLEST_CHANGE = 1e-8;

function start(learningRate: number, resetIn = 0): MetricScheduleState {
  return {
    learningRate,
    initialRate: learningRate,
    best: null,
    bad: 0,
    good: 0,
    cooldown: 0,
    warmup: 0,
    resetIn,
    recent: [],
  };
}

function isBetter(
  metric: number,
  best: number | null,
  mode: 'min' | 'max',
  threshold: number,
  relative: boolean,
): boolean {
  if (best === null) return true;
  const sign = mode === 'min' ? -1 : 1;
  return sign * metric > sign * (relative ? best * (1 + sign * threshold) : best + sign * threshold);
}

/**
 * torch's ReduceLROnPlateau: after more than `patience` metrics in a row that were not better than the best, the rate is
 * multiplied by `factor` (default 0.1). Defaults: threshold 1e-4, relative; minimum 0.
 */
export function reduceOnPlateau(given: MetricOptions = {}): MetricSchedule {
  const { mode, factor, patience, threshold, thresholdMode, cooldown, minimum } = plateauOptions.read(given);
  return {
    init: (learningRate) => start(learningRate),
    next(state, metric) {
      const better = isBetter(metric, state.best, mode, threshold, thresholdMode === 'rel');
      const rests = state.cooldown > 0;
      const bad = better || rests ? 0 : state.bad + 1;
      const next = { ...state, best: better ? metric : state.best, bad, cooldown: Math.max(0, state.cooldown - 1) };
      if (bad <= patience) return next;
      return { ...next, learningRate: lowered(state.learningRate, factor, minimum), bad: 0, cooldown };
    },
  };
}

/**
 * GreedyLR (arXiv 2512.14527), as transformers has it: after more than `patience` better metrics in a row the rate is
 * divided by `factor` (default 0.95), after as many that are not better it is multiplied by it. Defaults: threshold 1e-6,
 * absolute; minimum 1e-3, maximum 1.
 */
export function greedy(options: GreedyOptions = {}): MetricSchedule {
  const { mode, factor, patience, threshold, thresholdMode, cooldown, minimum, ...more } = greedyOptions.read(options);
  const { warmup, maximum, window, resetStart } = more;
  return {
    init: (learningRate) => start(learningRate, resetStart),
    next(state, given) {
      const recent = window > 1 ? [...state.recent, given].slice(-window) : [];
      const metric = window > 1 ? recent.reduce((a, b) => a + b, 0) / recent.length : given;
      const idle = { ...state, recent, bad: 0, good: 0 };
      if (state.cooldown > 0) return { ...idle, cooldown: state.cooldown - 1 };
      if (state.warmup > 0) return { ...idle, warmup: state.warmup - 1 };
      const better = isBetter(metric, state.best, mode, threshold, thresholdMode === 'rel');
      const seen = {
        ...idle,
        best: better ? metric : state.best,
        bad: better ? 0 : state.bad + 1,
        good: better ? state.good + 1 : 0,
      };
      if (seen.good > patience) {
        const raised = Math.min(state.learningRate / factor, maximum);
        const learningRate = raised - state.learningRate > SMALLEST_CHANGE ? raised : state.learningRate;
        return { ...seen, learningRate, good: 0, warmup, resetIn: resetStart };
      }
      if (seen.bad <= patience) return seen;
      const learningRate = lowered(state.learningRate, factor, minimum);
      const resetIn = learningRate > minimum ? state.resetIn : state.resetIn - 1;
      const isReset = learningRate <= minimum && resetIn <= 0;
      // The pause after a reduction also follows a reset.
      if (isReset) return { ...start(state.initialRate, resetStart), cooldown };
      return { ...seen, learningRate, bad: 0, cooldown, resetIn };
    },
  };
}

function lowered(rate: number, factor: number, minimum: number): number {
  const next = Math.max(rate * factor, minimum);
  return rate - next > SMALLEST_CHANGE ? next : rate;
}

/** Schedules that look at a metric, by their Hugging Face `lr_scheduler_type` names. */
export const metricSchedules = { reduce_lr_on_plateau: reduceOnPlateau, greedy } as const;
