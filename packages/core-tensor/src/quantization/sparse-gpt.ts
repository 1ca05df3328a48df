import { assertKnownOptions } from '@posttrain/interfaces';
import { compensate, type Hessian, prepareHessian } from './inverse-factor.js';
import { checkMatrix, type FloatMatrix, QuantizationError } from './quantized-weight.js';

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
 * @throws QuantizationError for a Hessian of another size or not positive definite, and options out of range
 */
export function sparseGpt(
  weight: FloatMatrix,
  hessian: Hessian,
  options: SparseGptOptions,
): { readonly weight: FloatMatrix; readonly loss: number } {
  assertKnownOptions('sparseGpt', options, ['dampening', 'sparsity', 'blockSize', 'pattern']);
  const [rows, columns] = checkMatrix('sparseGpt', weight);
  const { blockSize, zeros } = blocksOf(options, columns);
  if (hessian.size !== columns) {
    throw new QuantizationError(
      'sparseGpt',
      `the Hessian has ${hessian.size} rows where the weight has ${columns} columns`,
    );
  }
  const order = Array.from({ length: columns }, (_, i) => i);
  const { factor, isDead } = prepareHessian(hessian, order, options.dampening ?? 0.01);
  const work = Float64Array.from(weight.data, (value, i) => (isDead[i % columns] ? 0 : value));
  const pruned = new Uint8Array(work.length);
  const perRow = 'pattern' in options;

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

/** The columns that are ranked together, and how many of a number of candidates become zero. */
function blocksOf(options: SparseGptOptions, columns: number) {
  const fail = (message: string): never => {
    throw new QuantizationError('sparseGpt', message);
  };
  if ('pattern' in options) {
    const [zeros, of] = options.pattern;
    const isCount = (n: number) => Number.isInteger(n) && n >= 1;
    if ('sparsity' in options) return fail('give sparsity or a pattern, not both');
    if (!isCount(zeros) || !isCount(of) || zeros >= of || columns % of !== 0) {
      return fail(`pattern [${zeros}, ${of}] does not fit rows of ${columns}`);
    }
    return { blockSize: of, zeros: () => zeros };
  }
  const { sparsity, blockSize = 128 } = options;
  if (!(sparsity >= 0 && sparsity < 1)) return fail(`sparsity ${sparsity} is not in [0, 1)`);
  if (!Number.isInteger(blockSize) || blockSize < 1)
    return fail(`blockSize ${blockSize} is not a whole number above 0`);
  return { blockSize, zeros: (candidates: number) => Math.floor(candidates * sparsity) };
}
