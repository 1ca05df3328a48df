import { options } from '@posttrain/interfaces';
import { checkMatrix, type FloatMatrix, QuantizationError } from './quantized-weight.js';
import { type Sparsity, sparsityShape, zerosOf } from './sparsity.js';

const wandaOptions = options('wanda', sparsityShape);
/** Options of `wanda` (arXiv 2306.11695). */
export type WandaOptions = Sparsity;

/**
 * Wanda (arXiv 2306.11695): of each row of a weight W [out, in], those of the least |W_ij| · ‖X_j‖₂ become zero, X_j being feature j of all
 * inputs; the others stay as they are. With equal norms it is pruning by magnitude, row by row.
 *
 * @param norms ‖X_j‖₂ of each column, times any positive number
 * @throws QuantizationError for norms of another width; OptionError for both a sparsity and a pattern, or none
 */
export function wanda(weight: FloatMatrix, norms: ArrayLike<number>, given: WandaOptions): FloatMatrix {
  const [rows, columns] = checkMatrix('wanda', weight);
  if (norms.length !== columns) {
    throw new QuantizationError('wanda', `there are ${norms.length} norms where the weight has ${columns} columns`);
  }
  const { blockSize, zeros } = zerosOf('wanda', wandaOptions.read(given), columns, columns);
  const data = weight.data.slice();
  for (let row = 0; row < rows; row++) {
    for (let start = 0; start < columns; start += blockSize) {
      const candidates = Array.from({ length: blockSize }, (_, k) => {
        const i = row * columns + start + k;
        return { i, value: Math.abs(weight.data[i]!) * norms[start + k]! };
      }).sort((a, b) => a.value - b.value);
      for (const { i } of candidates.slice(0, zeros(blockSize))) data[i] = 0;
    }
  }
  return { shape: weight.shape, data };
}
