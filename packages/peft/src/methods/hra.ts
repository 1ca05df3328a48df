import { concat, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, oneOf, type Read } from '@posttrain/interfaces';
import { linearStart } from '../adapters/initial.js';
import { type AdapterTarget, type LayerMethod, linearShape, type MergedTarget } from '../adapters/layer-method.js';
import { excludeOption, layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';

const hraOptions = methodOptions('HRA', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'hra_only'], { default: 'none' }),
  /** Reflections of each module; even, so that it can start as it is. Default 8. */
  r: integer({ default: 8, min: 1 }),
  /** Make the vectors orthogonal first, by Gram-Schmidt. Default false. */
  applyGS: boolean({ default: false }),
  /** Start with pairs of equal vectors, whose reflections cancel. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `hra`, complete, by PEFT's names in camel case. */
export type HraConfig = Read<typeof hraOptions>;

/**
 * HRA (Householder reflections, arXiv 2405.17484): y = W H x + b with H = Π_i (I − 2 u_i u_iᵀ), u_i the columns of `hra_u` [in, r]
 * with length 1. H is orthogonal.
 */
export const hra: LayerMethod<HraConfig> = {
  peftType: 'HRA',
  kinds: ['linear'],
  conv1d: false,
  targetBiases: 'hra_only',
  options: hraOptions,
  fileDefaults: {},
  fanInFanOut: false,

  parameters: (target, { r }) => linearShape(target).inputs * r,

  init(target, { r, initWeights }, key) {
    const { inputs } = linearShape(target);
    if (!initWeights || r % 2 !== 0) return { hra_u: linearStart(key, [inputs, r]) };
    const half = linearStart(key, [inputs, r / 2]).expandDims(2);
    return { hra_u: concat([half, half], 2).reshape([inputs, r]) };
  },

  apply: (x, layer, parameters, config) => layer.apply(reflected(x, parameters, config, 'last first')),

  merge: (target, parameters, config) => turned(target, parameters, config, 'first first'),
  unmerge: (merged, parameters, config) => turned(merged, parameters, config, 'last first'),
};

/** Rows [..., in] reflected by one vector after the other. */
function reflected(
  x: Tensor,
  { hra_u: u }: Named,
  { applyGS }: HraConfig,
  order: 'first first' | 'last first',
): Tensor {
  const columns = unitVectors(u!, applyGS);
  const [inputs] = u!.shape as [number, number];
  const rows = x.reshape([x.size / inputs, inputs]);
  const inOrder = order === 'first first' ? columns : [...columns].reverse();
  const turned = inOrder.reduce(
    (y, column) => y.sub(y.matmul(column).mul(2).matmul(column, { transposeB: true })),
    rows,
  );
  return turned.reshape([...x.shape]);
}

/** The vectors as columns [in, 1]. */
function unitVectors(u: Tensor, orthogonal: boolean): Tensor[] {
  const [, r] = u.shape as [number, number];
  const columns: Tensor[] = [];
  for (let i = 0; i < r; i++) {
    let column = u.slice(1, i, i + 1);
    if (orthogonal) for (const one of columns) column = column.sub(one.mul(one.mul(column).sum()));
    columns.push(column.div(column.square().sum().sqrt()));
  }
  return columns;
}

/** The weight with its rows (the inputs) reflected. */
function turned(
  target: AdapterTarget,
  parameters: Named,
  config: HraConfig,
  order: 'first first' | 'last first',
): MergedTarget {
  const { transposed } = linearShape(target);
  const rows = transposed ? target.weight.transpose() : target.weight;
  const weight = reflected(rows, parameters, config, order);
  return { weight: transposed ? weight.transpose() : weight, bias: target.bias };
}
