import {
  concat,
  full,
  type Key,
  nameScope,
  ones,
  rmsNorm,
  silu,
  softplus,
  type Tensor,
  where,
} from '@posttrain/core-tensor';
import type { HiddenActivation, Mamba2 } from '../../config/index.js';
import { convolvedBy } from '../../config/recurrence-config.js';
import { activations } from '../activations.js';
import type { Projection } from '../decoder-layers.js';
import type { BoundLayers, ForwardInput, ParameterInfo } from '../family.js';
import { causalConvolution, type StateShape } from './layer-state.js';
import { selectiveScan } from './selective-scan.js';

/** Where a recurrence is in the model. */
export interface RecurrencePlace {
  readonly layer: number;
  /** The module path of its block. */
  readonly block: string;
}

const innerOf = ({ heads, headDim }: Mamba2): number => heads * headDim;

/** The linear layers of a block's selective state space. */
export function mamba2Projections(width: number, own: Mamba2, block: string): Projection[] {
  const inner = innerOf(own);
  const name = `${block}.${own.module}`;
  return [
    { name: `${name}.in_proj`, in: width, out: inner + convolvedBy(own) + own.heads, bias: own.biases.input },
    { name: `${name}.out_proj`, in: inner, out: width, bias: own.biases.output },
  ];
}

/** Its other parameters. A new one begins as transformers begins it. */
export function mamba2Parameters(own: Mamba2, block: string): ParameterInfo[] {
  const { heads, taps, biases, norm, newTimes } = own;
  const name = `${block}.${own.module}`;
  const convolved = convolvedBy(own);
  return [
    { name: `${name}.conv1d.weight`, shape: [convolved, 1, taps], init: uniform(convolved * taps, taps) },
    ...(biases.convolution ? [{ name: `${name}.conv1d.bias`, shape: [convolved], init: 'zeros' as const }] : []),
    { name: `${name}.dt_bias`, shape: [heads], init: newTimes ? timesOf(heads, newTimes) : 'ones' },
    {
      name: `${name}.A_log`,
      shape: [heads],
      init: () => Float32Array.from({ length: heads }, (_, i) => Math.log(i + 1)),
    },
    { name: `${name}.D`, shape: [heads], init: 'ones' },
    ...(norm ? [{ name: `${name}.norm.weight`, shape: [innerOf(own)], init: 'ones' as const }] : []),
  ];
}

/** Uniform within ± 1 / √inputs. */
export const uniform = (size: number, inputs: number) => (key: Key) =>
  Float32Array.from(key.uniformHost(size), (u) => (2 * u - 1) / Math.sqrt(inputs));

/** What softplus makes steps of that are log-uniform. */
const timesOf =
  (heads: number, { low, high, floor }: NonNullable<Mamba2['newTimes']>) =>
  (key: Key) =>
    Float32Array.from(key.uniformHost(heads), (u) => {
      const time = Math.max(floor, Math.exp(Math.log(low) + u * (Math.log(high) - Math.log(low))));
      return time + Math.log(-Math.expm1(-time));
    });

/** What a row's state is. */
export const mamba2State = (own: Mamba2): StateShape => ({
  conv: [own.taps - 1, convolvedBy(own)],
  ssm: [own.heads, own.headDim, own.stateSize],
});

/**
 * The mixer of Mamba 2 (arXiv 2405.21060, section 7): x [b, s, width] → [b, s, width]. With (z, u, steps) = in(x), (v, B, C) = act(conv(u)) and y the
 * selective scan of v plus D · v, it is out(norm(y · silu(z))).
 */
export function mamba2(
  own: Mamba2,
  act: HiddenActivation,
  layers: BoundLayers,
  input: ForwardInput,
  x: Tensor,
  { layer, block }: RecurrencePlace,
): Tensor {
  const { heads, headDim, groups, stateSize, factors, timeLimits } = own;
  const name = `${block}.${own.module}`;
  const inner = innerOf(own);
  const [b, s] = x.shape as [number, number];
  const scaled = (y: Tensor, factor: number) => (factor === 1 ? y : y.mul(factor));
  const projected = layers.linear(scaled(x, factors.input), `${name}.in_proj`);
  const all = factors.parts.every((factor) => factor === 1) ? projected : projected.mul(partFactors(own));
  const gate = all.slice(2, 0, inner);
  const convolved = convolvedBy(own);
  const mixed = nameScope(`${name}.scan`, () =>
    input.recur(layer, (past) => {
      const bias = own.biases.convolution ? layers.parameter(`${name}.conv1d.bias`) : undefined;
      const filters = layers.parameter(`${name}.conv1d.weight`);
      const { output, conv } = causalConvolution(all.slice(2, inner, inner + convolved), filters, bias, past);
      const active = activations[act](output);
      const ofGroups = (from: number) =>
        active.slice(2, from, from + groups * stateSize).reshape([b, s, groups, stateSize]);
      const value = active.slice(2, 0, inner).reshape([b, s, heads, headDim]);
      const steps = softplusOf(all.slice(2, inner + convolved).add(layers.parameter(`${name}.dt_bias`)));
      const { y, ssm } = selectiveScan(
        {
          x: value,
          dt: limited(steps, timeLimits),
          a: layers.parameter(`${name}.A_log`).exp().neg(),
          input: ofGroups(inner),
          read: ofGroups(inner + groups * stateSize),
        },
        past,
        own.chunk,
      );
      const skipped = value.mul(layers.parameter(`${name}.D`).reshape([1, 1, heads, 1]));
      return { output: y.add(skipped).reshape([b, s, inner]), state: { conv, ssm } };
    }),
  );
  return scaled(layers.linear(gatedNorm(own, layers, mixed, gate, `${name}.norm`), `${name}.out_proj`), factors.output);
}

/** y [b, s, inner] times silu of the gate, normalised before or behind that, each group by itself. */
function gatedNorm(own: Mamba2, layers: BoundLayers, y: Tensor, gate: Tensor, name: string): Tensor {
  const { norm, groups } = own;
  const gated = (x: Tensor) => x.mul(silu(gate));
  if (!norm) return gated(y);
  const width = innerOf(own) / groups;
  const normed = layers.norm(norm.beforeGate ? y : gated(y), name, (states, { weight }) => {
    const [b, s, inner] = states.shape as [number, number, number];
    const apart = states.reshape([b, s, groups, width]);
    return rmsNorm(apart, ones([width], states.dtype), { epsilon: norm.epsilon })
      .reshape([b, s, inner])
      .mul(weight);
  });
  return norm.beforeGate ? gated(normed) : normed;
}

/** The factor of each component that comes out of the input's projection. */
function partFactors(own: Mamba2): Tensor {
  const state = own.groups * own.stateSize;
  const sizes = [innerOf(own), innerOf(own), state, state, own.heads];
  return concat(
    sizes.map((size, i) => full([size], own.factors.parts[i]!)),
    0,
  );
}

const limited = (steps: Tensor, [low, high]: Mamba2['timeLimits']): Tensor =>
  steps.clamp(low === 0 ? undefined : low, high === Number.POSITIVE_INFINITY ? undefined : high);

/** log(1 + eˣ), by its series where float32 would lose the small eˣ beside 1: steps are often a thousandth. */
export function softplusOf(x: Tensor): Tensor {
  const e = x.minimum(0).exp();
  const series = e.mul(e.mul(e.mul(e.mul(-1 / 4).add(1 / 3)).sub(1 / 2)).add(1));
  return where(x.less(-4), series, softplus(x));
}
