import { integer, number, options } from '@posttrain/interfaces';
import { compensate, type Hessian, prepareHessian } from './inverse-factor.js';
import { checkMatrix, type FloatMatrix, QuantizationError } from './quantized-weight.js';
import { sparsityShape, zerosOf } from './sparsity.js';

const sparseGptOptions = options('sparseGpt', {
  dampening: number({ default: 0.01, min: 0 }),
  blockSize: integer({ default: 128, min: 1 }),
  ...sparsityShape,
});

/** Options of `sparseGpt` (arXiv 2301.00774). */
export type SparseGptOptions = {
  /** λ of H + λ·mean(diag H)·I. Default 0.01. */
  readonly dampening?: number;
} & (
  | {
      /** The part of the weights that becomes zero, from 0 up to but not including 1. */
      readonly sparsity: number;
      /** Columns that are pruned together: the part holds in each such block. Default 128. */
      readonly blockSize?: number;
    }
  | {
      /** `[2, 4]`: of every 4 consecutive weights of a row 2 become zero. */
      readonly pattern: readonly [zeros: number, of: number];
    }
);

/**
 * SparseGPT (arXiv 2301.00774): prunes a weight W [out, in] in one pass. The weights of least saliency w² / U_qq² (with
 * UᵀU = H⁻¹, H = 2XXᵀ + λI over the layer's inputs) become zero, and those of the columns to the right make up for it as
 * in GPTQ: err = w_q / U_qq, w_j -= err · U_qj.
 *
 * @returns the pruned weight, and ½ Σ err², the error of the outputs under the damped Hessian
 * @throws QuantizationError for a Hessian of another size or not positive definite
 */
export function sparseGpt(
  weight: FloatMatrix,
  hessian: Hessian,
  given: SparseGptOptions,
): { readonly weight: FloatMatrix; readonly loss: number } {
  const options = sparseGptOptions.read(given);
  const [rows, columns] = checkMatrix('sparseGpt', weight);
  const { blockSize, zeros } = zerosOf('sparseGpt', options, columns, options.blockSize);
  if (hessian.size !== columns) {
    throw new QuantizationError(
      'sparseGpt',
      `the Hessian has ${hessian.size} rows where the weight has ${columns} columns`,
    );
  }
  const order = Array.from({ length: columns }, (_, i) => i);
  const { factor, isDead } = prepareHessian(hessian, order, options.dampening);
  const work = Float64Array.from(weight.data, (value, i) => (isDead[i % columns] ? 0 : value));
  const pruned = new Uint8Array(work.length);
  const perRow = options.pattern !== undefined;

  const markBlock = (start: number): void => {
    const end = Math.min(start + blockSize, columns);
    const saliency = (i: number) => (work[i]! / factor[(i % columns) * (columns + 1)]!) ** 2;
    const inRow = (row: number) => Array.from({ length: end - start }, (_, k) => row * columns + start + k);
    const all = Array.from({ length: rows }, (_, row) => inRow(row));
    for (const candidates of perRow ? all : [all.flat()]) {
      const ranked = candidates.map((i) => ({ i, value: saliency(i) })).sort((a, b) => a.value - b.value);
      for (const { i } of ranked.slice(0, zeros(candidates.length))) pruned[i] = 1;
    }
  };
  const loss = compensate(work, {
    rows,
    factor,
    // Whole blocks: what is ranked together must have been made up for up to the same column.
    block: blockSize * Math.max(1, Math.floor(128 / blockSize)),
    before: (column) => {
      if (column % blockSize === 0) markBlock(column);
    },
    choose: (column, row, value) => (pruned[row * columns + column] === 1 ? 0 : value),
  });
  return { weight: { shape: weight.shape, data: Float32Array.from(work) }, loss };
}
