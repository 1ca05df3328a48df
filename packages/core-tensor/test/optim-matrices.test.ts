import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compile, type Engine, referenceEngine, scalar, setEngine, type Tensor, tensor } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import {
  adafactor,
  adam,
  constant,
  cosine,
  type GreedyOptions,
  galoreMatrices,
  greedy,
  linear,
  lion,
  type MuonAdjustment,
  mapNamed,
  metricSchedules,
  muonMatrices,
  type Named,
  type Optimizer,
  type OptimizerSpec,
  optimizerOf,
  optimizers,
  reduceOnPlateau,
  type Schedule,
  scheduleByName,
  schedules,
} from '../src/optim/index.js';
import { expectClose } from '../src/testing/check-case.js';
import { onEngine } from '../src/testing/on-engine.js';
import { tfjsEngine } from '../src/tfjs.js';
import { type Arrays, arrays, json } from './optim-helpers.js';

describe('matrices', () => {
  interface Options {
    readonly weight_decay?: number;
    readonly scale_parameter?: boolean;
    readonly nesterov?: boolean;
    readonly adjust?: MuonAdjustment;
    readonly ns_steps?: number;
    readonly rank?: number;
    readonly scale?: number;
    readonly update_proj_gap?: number;
  }

  const facts = json('matrices') as {
    readonly steps: number;
    readonly learning_rate: number;
    readonly cases: Readonly<Record<string, Options>>;
  };

  function optimizerOf(kind: string, options: Options): Optimizer<object> {
    const { weight_decay: weightDecay = 0, scale_parameter: scaleParameter = false } = options;
    const decays = () => true;
    if (kind === 'adam') return adam({ weightDecay, decays });
    if (kind === 'lion') return lion({ weightDecay, decays });
    if (kind.startsWith('adafactor')) return adafactor({ weightDecay, scaleParameter, decays });
    if (kind.startsWith('galore')) {
      const { rank, scale, update_proj_gap: updateInterval } = options as Required<Options>;
      return galoreMatrices({ rank, scale, updateInterval, weightDecay: 0.1 });
    }
    const { nesterov = true, adjust: adjustment = 'original', ns_steps: steps = 5 } = options;
    return muonMatrices({ nesterov, adjustment, steps });
  }

  /** |ours - golden|, relative to 1: torch's Muon computes in bfloat16, whose steps are 2⁻⁸. */
  const TOLERANCES: Readonly<Record<string, number>> = { 'muon-bfloat16': 5e-3 };

  const engines: readonly (readonly [string, Engine])[] = [
    ['reference', referenceEngine()],
    ['onnxruntime', onnxruntimeEngine()],
  ];

  describe.each(engines)('trajectories on %s', (_, engine) => {
    let inputs: Arrays;
    beforeAll(async () => {
      inputs = await arrays('matrices-inputs');
    });
    beforeEach(() => setEngine(engine));

    it.each(Object.entries(facts.cases))('%s, 12 steps', async (kind, options) => {
      const expected = await arrays(`matrices-${kind}`);
      const names = Object.keys(expected).map((key) => key.slice('after.'.length));
      const optimizer = optimizerOf(kind, options);
      let parameters: Named = Object.fromEntries(
        names.map((name) => [name, tensor(inputs[`initial.${name}`]!.data.slice(), inputs[`initial.${name}`]!.shape)]),
      );
      let state = optimizer.init(parameters);
      const step = compile(
        (trained: { parameters: Named; state: object }, gradients: Named, rate: Tensor) => ({
          trained: optimizer.update(trained.parameters, gradients, trained.state, rate),
        }),
        { donate: { 0: 'trained' } },
      );
      for (let t = 0; t < facts.steps; t++) {
        const gradients = mapNamed(parameters, (p, name) =>
          tensor(inputs[`gradient.${name}`]!.data.slice(t * p.size, (t + 1) * p.size), p.shape),
        );
        state = (await optimizer.refresh?.(gradients, state, t)) ?? state;
        ({ parameters, state } = (await step({ parameters, state }, gradients, scalar(facts.learning_rate))).trained);
        for (const [name, p] of Object.entries(parameters)) {
          const after = expected[`after.${name}`]!.data.slice(t * p.size, (t + 1) * p.size);
          expectClose(`${name} after step ${t}`, await p.toArray(), after, TOLERANCES[kind] ?? 5e-6);
        }
      }
      expect(step.traces).toBe(1);
    });
  });
});

describe('engines', () => {
  const SHAPE = [64, 80] as const;
  const matrix = (f: (i: number) => number) =>
    tensor(
      Float32Array.from({ length: SHAPE[0] * SHAPE[1] }, (_, i) => f(i)),
      SHAPE,
    );

  /** A matrix of 5120 elements, so that 8 bits are used, after three updates. */
  async function trainedOn(engine: Engine, spec: OptimizerSpec): Promise<number[]> {
    return onEngine(engine, async () => {
      const rule = optimizerOf(spec);
      let trained = { parameters: { w: matrix((i) => Math.sin(i * 1.7)), b: tensor([1, 2]) } as Named, state: {} };
      trained = { ...trained, state: rule.init(trained.parameters) };
      const step = compile(
        (now: typeof trained, gradients: Named, rate: Tensor) => ({
          trained: rule.update(now.parameters, gradients, now.state, rate),
        }),
        { donate: { 0: 'trained' } },
      );
      for (let t = 0; t < 3; t++) {
        const gradients = { w: matrix((i) => Math.sin(i * i * 0.37 + t)), b: tensor([0.1, -0.2]) };
        const state = (await rule.refresh?.(gradients, trained.state, t)) ?? trained.state;
        ({ trained } = await step({ ...trained, state }, gradients, scalar(0.01)));
      }
      return trained.parameters.w!.toArray();
    });
  }

  let engines: readonly Engine[];
  beforeAll(async () => {
    engines = [onnxruntimeEngine(), await tfjsEngine({ backend: 'wasm' })];
  });

  describe.each(Object.keys(optimizers) as (keyof typeof optimizers)[])('%s', (name) => {
    it('does the same on every engine', async () => {
      const spec: OptimizerSpec = name === 'galore_adamw' ? { name, rank: 3 } : { name };
      const expected = await trainedOn(referenceEngine(), spec);
      for (const engine of engines) {
        const got = await trainedOn(engine, spec);
        const off = got.filter((value, i) => Math.abs(value - expected[i]!) > 1e-5);
        // A number halfway between two codes, or a sign near 0, may go either way.
        expect(off.length, engine.name).toBeLessThanOrEqual(/8bit|lion/.test(name) ? 5 : 0);
      }
    });
  });
});

describe('schedules', () => {
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
      expect(() => reduceOnPlateau({ factor: 1 })).toThrow(
        /reduceOnPlateau: factor is 1; it must be a number above 0 and below 1/,
      );
      expect(() => greedy({ pacience: 1 } as never)).toThrow(/patience/);
    });
  });
});
