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

  derive(_, parameters, config) {
    const { columns, rows } = reflections(parameters, config, 'last first');
    return { [COLUMNS]: columns, [ROWS]: rows };
  },

  merge: (target, parameters, config) => turned(target, parameters, config, 'first first'),
  unmerge: (merged, parameters, config) => turned(merged, parameters, config, 'last first'),
};

/** Rows x [..., in] reflected by one vector after the other: x − (x Y) Z. */
function reflected(x: Tensor, parameters: Named, config: HraConfig, order: Order): Tensor {
  const { columns, rows } = reflections(parameters, config, order);
  const [inputs] = columns.shape as [number, number];
  const flat = x.reshape([x.size / inputs, inputs]);
  return flat.sub(flat.matmul(columns).matmul(rows)).reshape([...x.shape]);
}

type Order = 'first first' | 'last first';

const [COLUMNS, ROWS] = ['columns', 'rows'];

/** All reflections as one, I − Y Z, with the unit vectors as columns Y [in, r] and rows Z [r, in] (the compact form of Bischof and Van Loan). */
function reflections(
  parameters: Named,
  { applyGS }: HraConfig,
  order: Order,
): { readonly columns: Tensor; readonly rows: Tensor } {
  const { hra_u: u, [COLUMNS]: derivedColumns, [ROWS]: derivedRows } = parameters;
  // Only of the order in which a pass has them.
  if (order === 'last first' && derivedColumns && derivedRows) return { columns: derivedColumns, rows: derivedRows };
  const vectors = unitVectors(u!, applyGS);
  const inOrder = order === 'first first' ? vectors : vectors.reverse();
  // (I − Y Z)(I − 2 v vᵀ) = I − Y (Z − 2 Z v vᵀ) − v 2 vᵀ.
  const rows = inOrder.reduce<Tensor | undefined>((before, vector) => {
    const twice = vector.transpose().mul(2);
    return before ? concat([before.sub(before.matmul(vector).matmul(twice)), twice], 0) : twice;
  }, undefined)!;
  return { columns: concat(inOrder, 1), rows };
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
function turned(target: AdapterTarget, parameters: Named, config: HraConfig, order: Order): MergedTarget {
  const { transposed } = linearShape(target);
  const rows = transposed ? target.weight.transpose() : target.weight;
  const weight = reflected(rows, parameters, config, order);
  return { weight: transposed ? weight.transpose() : weight, bias: target.bias };
}
