import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';

/** What both rules that look at a metric take. Rates here are rates, not fractions of a peak. */
export interface MetricOptions {
  /** Whether a lower or a higher metric is better. Default `min`. */
  readonly mode?: 'min' | 'max';
  /** The rate is multiplied by this, below 1. */
  readonly factor?: number;
  /** Metrics in a row that are tolerated. Default 10. */
  readonly patience?: number;
  /** How much better than the best a metric must be to count. */
  readonly threshold?: number;
  /** Whether the threshold is a difference or a fraction of the best. */
  readonly thresholdMode?: 'rel' | 'abs';
  /** Metrics that are not looked at after the rate was lowered. Default 0. */
  readonly cooldown?: number;
  /** The lowest rate. */
  readonly minimum?: number;
}

/** Options of `greedy`. */
export interface GreedyOptions extends MetricOptions {
  /** Metrics that are not looked at after the rate was raised. Default 0. */
  readonly warmup?: number;
  /** The highest rate. Default 1. */
  readonly maximum?: number;
  /** Look at the mean of this many of the newest metrics. Default 1. */
  readonly window?: number;
  /** Reductions at the lowest rate after which everything starts again. Default 500. */
  readonly resetStart?: number;
}

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

function checkFactor(name: string, factor: number): void {
  if (!(factor > 0 && factor < 1))
    throw new PosttrainError('SCHEDULE', `${name}: factor ${factor} must be between 0 and 1`);
}

const METRIC_OPTIONS = ['mode', 'factor', 'patience', 'threshold', 'thresholdMode', 'cooldown', 'minimum'] as const;

/**
 * torch's ReduceLROnPlateau: after more than `patience` metrics in a row that were not better than the best, the rate is
 * multiplied by `factor` (default 0.1). Defaults: threshold 1e-4, relative; minimum 0.
 */
export function reduceOnPlateau(options: MetricOptions = {}): MetricSchedule {
  assertKnownOptions('reduceOnPlateau', options, METRIC_OPTIONS);
  const { mode = 'min', factor = 0.1, patience = 10, threshold = 1e-4, thresholdMode = 'rel' } = options;
  const { cooldown = 0, minimum = 0 } = options;
  checkFactor('reduceOnPlateau', factor);
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
  assertKnownOptions('greedy', options, [...METRIC_OPTIONS, 'warmup', 'maximum', 'window', 'resetStart']);
  const { mode = 'min', factor = 0.95, patience = 10, threshold = 1e-6, thresholdMode = 'abs' } = options;
  const { cooldown = 0, warmup = 0, minimum = 1e-3, maximum = 1, window = 1, resetStart = 500 } = options;
  checkFactor('greedy', factor);
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
