import { number, options, type Read, text } from '@posttrain/interfaces';
import { MergeError } from '../adapters/errors.js';
import { type MergeMethod, type MergeTensor, weightedSum } from './merge-method.js';

const regMeanOptions = options('regmean', {
  /** α, by which the numbers beside the diagonal of a Gram matrix are multiplied. Default 0.9. */
  alpha: number({ default: 0.9, min: 0, max: 1 }),
});
const modelOptions = options('regmean', {
  /** Folder of the model's Gram matrices XᵀX [in, in], by the name of the weight that the inputs X [rows, in] meet: `saveGramMatrices`. */
  gram: text({}),
});

/**
 * RegMean (arXiv 2212.09849): for a linear layer y = W x, the W that is nearest to all models' outputs on their own inputs,
 * W = (Σ WᵢGᵢ)(Σ Gᵢ)⁻¹ with Gᵢ = XᵢᵀXᵢ, off its diagonal times α; for tensors that have no Gram matrix, the mean.
 * A matrix is taken whole, and solved by Cholesky's factors in float64.
 */
export const regMean: MergeMethod<Read<typeof regMeanOptions>, Read<typeof modelOptions>> = {
  name: 'regmean',
  base: 'none',
  models: { min: 2 },
  options: regMeanOptions,
  modelOptions,
  async merge(tensor, { alpha }, each) {
    const sources = await Promise.all(each.map((_, i) => tensor.about(i, 'gram')));
    if (!sources.every(({ tensors }) => tensors.has(tensor.name))) {
      const mean = each.map(() => 1 / each.length);
      return ({ models }) => weightedSum(models, mean);
    }
    const [rows, inputs] = layoutOf(tensor);
    const [products, grams] = [new Float64Array(rows * inputs), new Float64Array(inputs * inputs)];
    for (const [m, source] of sources.entries()) {
      const { data: gram, shape } = await source.read(tensor.name, { as: 'float32' });
      if (`${shape}` !== `${[inputs, inputs]}`) {
        throw new MergeError(`regmean: ${source.path}: ${tensor.name} must be [${inputs}, ${inputs}], not [${shape}]`);
      }
      const weight = await tensor.whole(m);
      const at = (row: number, i: number) => weight[tensor.transposed ? i * rows + row : row * inputs + i]!;
      for (let i = 0; i < inputs; i++) {
        for (let j = 0; j < inputs; j++) {
          const g = gram[i * inputs + j]! * (i === j ? 1 : alpha);
          grams[i * inputs + j]! += g;
          for (let row = 0; row < rows; row++) products[row * inputs + j]! += at(row, i) * g;
        }
      }
    }
    const solved = solveSymmetric(tensor.name, grams, inputs, products, rows);
    const merged = tensor.transposed ? transposed(solved, rows, inputs) : solved;
    return ({ from, models }) => merged.subarray(from, from + models[0]!.length);
  },
};

/** [out, in] of a weight. */
function layoutOf({ name, shape, transposed: isTransposed }: MergeTensor): [number, number] {
  if (shape.length !== 2) throw new MergeError(`regmean: ${name} has a Gram matrix, but is no matrix itself`);
  return isTransposed ? [shape[1]!, shape[0]!] : [shape[0]!, shape[1]!];
}

function transposed(x: Float64Array, rows: number, columns: number): Float64Array {
  return Float64Array.from(x, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** X with X·G = P for symmetric positive definite G [n, n] and P [rows, n]. */
function solveSymmetric(name: string, g: Float64Array, n: number, p: Float64Array, rows: number): Float64Array {
  // G = L Lᵀ, below the diagonal.
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = g[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= g[i * n + k]! * g[j * n + k]!;
      if (i > j) g[i * n + j] = sum / g[j * n + j]!;
      else if (sum > 0) g[j * n + j] = Math.sqrt(sum);
      else {
        throw new MergeError(
          `regmean: the Gram matrices of ${name} add up to a singular one: give more rows, or an alpha below 1`,
        );
      }
    }
  }
  for (let row = 0; row < rows; row++) {
    const x = p.subarray(row * n, (row + 1) * n);
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < i; k++) x[i]! -= g[i * n + k]! * x[k]!;
      x[i]! /= g[i * n + i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let k = i + 1; k < n; k++) x[i]! -= g[k * n + i]! * x[k]!;
      x[i]! /= g[i * n + i]!;
    }
  }
  return p;
}
