import type { Tensor } from '@posttrain/core-tensor';
import {
  type Dense,
  dense,
  denseOf,
  inverseOf,
  rowsOf,
  scaledRows,
  singularOf,
  times,
  toTensor,
  turned,
} from '../adapters/dense.js';
import { AdapterConfigError } from '../adapters/errors.js';
import type { AdapterTarget } from '../adapters/layer-method.js';
import type { AdaptableModel } from '../adapters/peft-adapter.js';
import { layerInputs } from '../adapters/row-passes.js';

/** Options of CorDA, by PEFT's names in camel case; those that say how PEFT computes have its defaults only. */
export interface CordaConfig {
  /**
   * `ipm`, instruction-previewed: of the directions that matter most for the rows, which are those of the new task. `kpm`,
   * knowledge-preserved: of those that matter least for the rows, which are what is to be kept. Default `ipm`.
   */
  readonly cordaMethod: 'ipm' | 'kpm';
  readonly cacheFile: null;
  readonly covarianceFile: null;
  readonly verbose: boolean;
  readonly useFloat16ForCovariance: false;
  readonly pruneTemporaryFields: boolean;
}

export const CORDA_DEFAULTS: CordaConfig = {
  ...{ cordaMethod: 'ipm', cacheFile: null, covarianceFile: null, verbose: false },
  ...{ useFloat16ForCovariance: false, pruneTemporaryFields: true },
};

const DAMPING = 0.01;

/**
 * CorDA (arXiv 2406.05223): with C the covariance XᵀX of a module's inputs over rows, W C = U S Vᵀ, and LoRA starts from r of the
 * directions of W = U S (Vᵀ C⁻¹): B₀ = U_r √(S_r / s), A₀ = √(S_r / s) V_rᵀ C⁻¹, over the rest of the weight, which as with PiSSA is
 * subtracted beside it. C is the mean over rows, the inputs of each divided by |the largest|, and has 0.01 of its mean
 * diagonal added to the diagonal.
 *
 * In float64 on the host, in a time of the cube of the module's sides.
 *
 * @returns the factors of every target
 * @throws AdapterConfigError where the inputs of a module are no numbers
 */
export async function cordaFactors(
  model: AdaptableModel,
  targets: readonly AdapterTarget[],
  rows: readonly (readonly number[])[],
  of: (target: AdapterTarget) => {
    readonly r: number;
    readonly s: number;
    readonly method: CordaConfig['cordaMethod'];
  },
): Promise<ReadonlyMap<string, { readonly a: Tensor; readonly b: Tensor }>> {
  const sums = new Map<string, Dense>();
  for (const row of rows) {
    for (const [name, x] of await layerInputs(model, targets, row)) {
      const scale = 1 / Math.abs(x.values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY));
      if (!Number.isFinite(scale)) throw new AdapterConfigError(`${name}: its inputs of a row have no finite scale`);
      const scaled = scaledRows(x, () => scale);
      const own = times(turned(scaled), scaled);
      const sum = sums.get(name);
      sums.set(name, sum ? { ...own, values: own.values.map((value, i) => value + sum.values[i]!) } : own);
    }
  }
  const factors = new Map<string, { a: Tensor; b: Tensor }>();
  for (const target of targets) {
    const { r, s, method } = of(target);
    const sum = sums.get(target.name);
    if (!sum) throw new AdapterConfigError(`${target.name} has seen none of the rows`);
    const covariance = damped({ ...sum, values: sum.values.map((value) => value / rows.length) });
    const weight = await denseOf(target.weight, target.transposed);
    const { u, values, v } = singularOf(times(weight, covariance));
    const from = method === 'ipm' ? 0 : values.length - r;
    const root = (i: number) => Math.sqrt(values[from + i]! / s);
    const outputs = scaledRows(rowsOf(u, from, from + r), root);
    const inputs = scaledRows(times(rowsOf(v, from, from + r), inverseOf(covariance)), root);
    factors.set(target.name, { a: toTensor(inputs), b: toTensor(turned(outputs)) });
  }
  return factors;
}

function damped(covariance: Dense): Dense {
  const { rows: n, values } = covariance;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += values[i * n + i]!;
  return dense(n, n, (i, j) => values[i * n + j]! + (i === j ? (DAMPING * trace) / n : 0));
}
