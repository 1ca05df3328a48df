import { concat, nameScope, rmsNorm, silu, type Tensor } from '@posttrain/core-tensor';
import type { GatedDelta, HiddenActivation } from '../../config/index.js';
import { mixedBy } from '../../config/recurrence-config.js';
import { activations } from '../activations.js';
import type { Projection } from '../decoder-layers.js';
import type { BoundLayers, ForwardInput, ParameterInfo } from '../family.js';
import { gatedDeltaRule } from './gated-delta-rule.js';
import { causalConvolution, type StateShape } from './layer-state.js';
import { type RecurrencePlace, softplusOf, uniform } from './mamba2.js';

/** What is added to a squared length before its root is divided by. */
const LENGTH_EPSILON = 1e-6;

const valuesOf = ({ valueHeads, valueDim }: GatedDelta): number => valueHeads * valueDim;

/** The linear layers of a block's gated delta network. */
export function gatedDeltaProjections(width: number, own: GatedDelta, block: string): Projection[] {
  const of = (name: string, out: number): Projection => ({ name: `${block}.${own.module}.${name}`, in: width, out });
  const values = valuesOf(own);
  return [
    ...(own.joined
      ? [of('in_proj_qkvz', mixedBy(own) + values), of('in_proj_ba', 2 * own.valueHeads)]
      : [
          ...[of('in_proj_qkv', mixedBy(own)), of('in_proj_z', values)],
          ...[of('in_proj_b', own.valueHeads), of('in_proj_a', own.valueHeads)],
        ]),
    { name: `${block}.${own.module}.out_proj`, in: values, out: width },
  ];
}

/** Its other parameters. A new one begins as transformers begins it. */
export function gatedDeltaParameters(own: GatedDelta, block: string): ParameterInfo[] {
  const { valueHeads, valueDim, taps } = own;
  const name = `${block}.${own.module}`;
  const mixed = mixedBy(own);
  return [
    { name: `${name}.conv1d.weight`, shape: [mixed, 1, taps], init: uniform(mixed * taps, taps) },
    { name: `${name}.dt_bias`, shape: [valueHeads], init: 'ones' },
    {
      name: `${name}.A_log`,
      shape: [valueHeads],
      init: (key) => Float32Array.from(key.uniformHost(valueHeads), (u) => Math.log(0.01 + u * 15.99)),
    },
    { name: `${name}.norm.weight`, shape: [valueDim], init: 'ones' },
  ];
}

/** What a row's state is. */
export const gatedDeltaState = (own: GatedDelta): StateShape => ({
  conv: [own.taps - 1, mixedBy(own)],
  delta: [own.valueHeads, own.keyDim, own.valueDim],
});

/**
 * A gated delta network (arXiv 2412.06464, figure 1): x [b, s, width] → [b, s, width]. With queries, keys and values out of a convolution, the first two
 * of length 1, it is out(norm(y) · silu(z)) for y of the gated delta rule with strengths sigmoid(b) and log-decays −exp(A_log) · softplus(a + dt_bias).
 */
export function gatedDelta(
  own: GatedDelta,
  act: HiddenActivation,
  layers: BoundLayers,
  input: ForwardInput,
  x: Tensor,
  { layer, block }: RecurrencePlace,
): Tensor {
  const { keyHeads, valueHeads, keyDim, valueDim } = own;
  const name = `${block}.${own.module}`;
  const [b, s] = x.shape as [number, number];
  const { mixed, gate, strength, rate } = projected(own, layers, x, name);
  const y = nameScope(`${name}.rule`, () =>
    input.recur(layer, (past) => {
      const { output, conv } = causalConvolution(mixed, layers.parameter(`${name}.conv1d.weight`), undefined, past);
      const active = activations[act](output);
      const keys = keyHeads * keyDim;
      const ofKeys = (from: number) => unit(active.slice(2, from, from + keys).reshape([b, s, keyHeads, keyDim]));
      const steps = softplusOf(rate.add(layers.parameter(`${name}.dt_bias`)));
      const rule = {
        queries: ofKeys(0).div(Math.sqrt(keyDim)),
        keys: ofKeys(keys),
        values: active.slice(2, 2 * keys).reshape([b, s, valueHeads, valueDim]),
        logDecay: steps.mul(layers.parameter(`${name}.A_log`).exp().neg()),
        strength: strength.sigmoid(),
      };
      const { y, delta } = gatedDeltaRule(rule, past, own.chunk);
      return { output: y, state: { conv, delta } };
    }),
  );
  const normed = layers.norm(y, `${name}.norm`, (states, { weight }) =>
    rmsNorm(states, weight, { epsilon: own.epsilon }),
  );
  return layers.linear(normed.reshape([b, s, valuesOf(own)]).mul(silu(gate)), `${name}.out_proj`);
}

/** x / |x| along the last axis. */
const unit = (x: Tensor): Tensor => x.mul(x.square().sum(-1, { keepDims: true }).add(LENGTH_EPSILON).rsqrt());

/** What the convolution reads, gates [b, s, values], strengths and rates of decay [b, s, value heads] before their activations. */
function projected(own: GatedDelta, { linear }: BoundLayers, x: Tensor, name: string) {
  const { keyHeads, valueHeads, keyDim, valueDim } = own;
  if (!own.joined) {
    return {
      ...{ mixed: linear(x, `${name}.in_proj_qkv`), gate: linear(x, `${name}.in_proj_z`) },
      ...{ strength: linear(x, `${name}.in_proj_b`), rate: linear(x, `${name}.in_proj_a`) },
    };
  }
  const [b, s] = x.shape as [number, number];
  const perKey = valueHeads / keyHeads;
  const grouped = linear(x, `${name}.in_proj_qkvz`).reshape([b, s, keyHeads, 2 * keyDim + 2 * perKey * valueDim]);
  const pairs = linear(x, `${name}.in_proj_ba`).reshape([b, s, keyHeads, 2 * perKey]);
  const part = (all: Tensor, from: number, width: number) =>
    all.slice(3, from, from + width).reshape([b, s, keyHeads * width]);
  const values = perKey * valueDim;
  return {
    mixed: concat([part(grouped, 0, keyDim), part(grouped, keyDim, keyDim), part(grouped, 2 * keyDim, values)], 2),
    gate: part(grouped, 2 * keyDim + values, values),
    ...{ strength: part(pairs, 0, perKey), rate: part(pairs, perKey, perKey) },
  };
}
