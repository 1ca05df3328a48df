import { describe, expect, it } from 'vitest';
import {
  constant,
  cosine,
  type GreedyOptions,
  greedy,
  linear,
  metricSchedules,
  reduceOnPlateau,
  type Schedule,
  scheduleByName,
  schedules,
} from '../src/optim/index.js';
import { expectClose } from '../src/testing/check-case.js';
import { json } from './optim-helpers.js';

type Numbers = Readonly<Record<string, number>>;

interface Case {
  readonly name: string;
  readonly options: Numbers;
  readonly specific: Readonly<Record<string, number | string | boolean>>;
  readonly learning_rates: readonly number[];
}

interface MetricCase extends Case {
  readonly learning_rate: number;
  readonly metrics: readonly number[];
}

const facts = json('schedules') as {
  base_learning_rate: number;
  cases: readonly Case[];
  metric_cases: readonly MetricCase[];
};
const base = facts.base_learning_rate;

/** transformers' names of settings, and rates where we have fractions of the peak. */
const SETTINGS: Readonly<Record<string, string>> = {
  num_cycles: 'cycles',
  min_lr_rate: 'minimum',
  min_lr_ratio: 'minimum',
  warmup_lr_rate: 'warmupStart',
  num_decay_steps: 'decaySteps',
  num_stable_steps: 'stableSteps',
  warmup_type: 'warmupType',
  decay_type: 'decayType',
};

function scheduleOf({ name, options, specific }: Case): Schedule {
  const settings = Object.entries(specific).map(([key, value]) =>
    key === 'min_lr' || key === 'lr_end' ? ['minimum', Number(value) / base] : [SETTINGS[key] ?? key, value],
  );
  return scheduleByName(name as 'linear', {
    warmupSteps: options.num_warmup_steps ?? 0,
    totalSteps: options.num_training_steps ?? 1,
    ...Object.fromEntries(settings),
  });
}

describe('schedules of transformers', () => {
  it('are all there', () => {
    const names = [...facts.cases, ...facts.metric_cases].map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set([...Object.keys(schedules), ...Object.keys(metricSchedules)]));
  });
  it.each(facts.cases.map((one) => [`${one.name} ${JSON.stringify(one.specific)}`, one] as const))('%s', (_, one) => {
    const schedule = scheduleOf(one);
    // The end of polynomial is 1e-7 there by default, and 0 here.
    const tolerance = one.name === 'polynomial' && one.specific.lr_end === undefined ? 1e-7 : 1e-15;
    expectClose(
      one.name,
      one.learning_rates.map((__, step) => base * schedule(step)),
      one.learning_rates,
      tolerance,
    );
  });
  it.each(facts.metric_cases.map((one, i) => [`${one.name} ${i}`, one] as const))('%s', (_, one) => {
    const { min_lr, max_lr, threshold_mode, window_size, reset_start, smooth, ...same } = one.specific;
    const settings: unknown = {
      ...same,
      ...(min_lr !== undefined && { minimum: min_lr }),
      ...(max_lr !== undefined && { maximum: max_lr }),
      ...(threshold_mode !== undefined && { thresholdMode: threshold_mode }),
      ...(smooth && { window: window_size }),
      ...(reset_start !== undefined && { resetStart: reset_start }),
    };
    const schedule = metricSchedules[one.name as 'greedy'](settings as GreedyOptions);
    let state = schedule.init(one.learning_rate);
    const rates = one.metrics.map((metric) => {
      state = JSON.parse(JSON.stringify(schedule.next(state, same.mode === 'max' ? -metric : metric)));
      return state.learningRate;
    });
    expectClose(one.name, rates, one.learning_rates, 1e-15);
    expect(new Set(rates).size).toBeGreaterThan(1);
  });
  it('rise to the peak and end where they should', () => {
    const options = { warmupSteps: 10, totalSteps: 110 };
    for (const schedule of [constant(options), linear(options), cosine(options)]) {
      expect([schedule(0), schedule(5), schedule(10)]).toEqual([0, 0.5, 1]);
    }
    expect([linear(options)(60), linear(options)(110), linear(options)(1000)]).toEqual([0.5, 0, 0]);
    expect(cosine(options)(60)).toBeCloseTo(0.5, 12);
    expect(cosine({ ...options, minimum: 0.1 })(110)).toBeCloseTo(0.1, 12);
    const stable = scheduleByName('warmup_stable_decay', { ...options, decaySteps: 20, minimum: 0.1 });
    expect([stable(10), stable(89), stable(90), stable(110)]).toEqual([1, 1, 1, 0.1]);
    expect(scheduleByName('inverse_sqrt', { warmupSteps: 10, totalSteps: 1 })(40)).toBe(0.5);
    expect(scheduleByName('polynomial', { ...options, power: 2 })(60)).toBeCloseTo(0.25, 12);
  });
  it('refuses names and settings that do not exist', () => {
    expect(() => scheduleByName('cosin' as 'cosine', { totalSteps: 3 })).toThrow(/cosin.*linear, cosine/);
    expect(() => scheduleByName('toString' as 'cosine', { totalSteps: 3 })).toThrow(/toString/);
    expect(() => scheduleByName('linear', { totalSteps: 3, minimum: 1 } as never)).toThrow(/minimum/);
    expect(() => scheduleByName('warmup_stable_decay', { totalSteps: 3 } as never)).toThrow(/decaySteps/);
    expect(() => reduceOnPlateau({ factor: 1 })).toThrow(/factor 1/);
    expect(() => greedy({ pacience: 1 } as never)).toThrow(/patience/);
  });
});
