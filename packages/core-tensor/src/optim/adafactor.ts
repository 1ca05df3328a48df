import { boolean, type Given, number, options } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import type { Tensor } from '../tensor.js';
import { decayed, decayOptions, decaysByDefault, mapNamed, type Named, type Optimizer } from './optimizer.js';

/** The decay is decoupled: θ ← θ (1 - η·weightDecay), where η is scaled as the update's is. */
const adafactorOptions = options('adafactor', {
  /** Multiply the rate by max(1e-3, RMS(θ)), so that it is relative to the parameter. Default false, as in Hugging Face's trainers. */
  scaleParameter: boolean({ default: false }),
  /** Updates with a larger root mean square are scaled down to it. Default 1. */
  clipThreshold: number({ default: 1, above: 0 }),
  /** The squares decay by 1 - t^decayRate at update t. Default -0.8. */
  decayRate: number({ default: -0.8, max: 0 }),
  /** Added to the squared gradient. Default 1e-30. */
  epsilon: number({ default: 1e-30, min: 0 }),
  ...decayOptions,
});
/** Options of `adafactor` (arXiv 1804.04235). */
export type AdafactorOptions = Given<typeof adafactorOptions>;

/** The state of `adafactor`. */
export interface AdafactorState {
  /** Number of updates made, int32 scalar. */
  readonly step: Tensor;
  /** Means over the last axis of the squared gradient of parameters [..., n, m]: [..., n, 1]. */
  readonly rows: Named;
  /** Means over the axis before it: [..., 1, m]. */
  readonly columns: Named;
  /** Of parameters with fewer than two axes: all of it. */
  readonly square: Named;
}

const SMALLEST_SCALE = 1e-3;

/**
 * Adafactor without momentum (arXiv 1804.04235), as transformers has it: the mean of g² is kept as its row means R and
 * column means C, V ≈ R C / mean(R), U = g / √V, θ ← θ - η · U / max(1, RMS(U) / d). Memory n + m instead of n · m.
 */
export function adafactor(given: AdafactorOptions = {}): Optimizer<AdafactorState> {
  const { scaleParameter, clipThreshold, decayRate, epsilon, weightDecay, ...rest } = adafactorOptions.read(given);
  const { decays = decaysByDefault } = rest;
  const means = (parameters: Named, axis: number) =>
    Object.fromEntries(
      Object.entries(parameters).flatMap(([name, { rank, shape }]) =>
        rank < 2 ? [] : [[name, zerosBuffer(shape.map((size, i) => (i === rank + axis ? 1 : size)))]],
      ),
    );
  return {
    name: 'adafactor',
    settings: adafactorOptions.settings(given),
    isPerParameter: true,
    init: (parameters) => ({
      step: zerosBuffer([], 'int32'),
      rows: means(parameters, -1),
      columns: means(parameters, -2),
      square: Object.fromEntries(
        Object.entries(parameters).flatMap(([name, p]) => (p.rank < 2 ? [[name, zerosBuffer(p.shape)]] : [])),
      ),
    }),
    update(parameters, gradients, state, learningRate) {
      const step = state.step.add(1);
      const newWeight = step.cast('float32').log().mul(decayRate).exp();
      const mix = (old: Tensor, value: Tensor) => old.add(value.sub(old).mul(newWeight));
      const [rows, columns, square] = [{ ...state.rows }, { ...state.columns }, { ...state.square }];
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        if (!g) return p;
        const squared = g.square().add(epsilon);
        let normalised: Tensor;
        if (p.rank < 2) {
          const v = mix(square[name]!, squared);
          square[name] = v;
          normalised = g.mul(v.rsqrt());
        } else {
          const r = mix(rows[name]!, squared.mean(-1, { keepDims: true }));
          const c = mix(columns[name]!, squared.mean(-2, { keepDims: true }));
          rows[name] = r;
          columns[name] = c;
          normalised = g.mul(r.div(r.mean(-2, { keepDims: true })).rsqrt()).mul(c.rsqrt());
        }
        const size = rootMeanSquare(normalised).mul(1 / clipThreshold);
        const rate = scaleParameter ? learningRate.mul(rootMeanSquare(p).maximum(SMALLEST_SCALE)) : learningRate;
        const base = decayed(p, rate, decays(name, p) ? weightDecay : 0);
        return base.sub(normalised.mul(rate.div(size.maximum(1))));
      });
      return { parameters: updated, state: { step, rows, columns, square } };
    },
  };
}

const rootMeanSquare = (x: Tensor): Tensor => x.square().mean().sqrt();
