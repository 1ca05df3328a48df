import { boolean, type Given, integer, number, options } from '@posttrain/interfaces';
import { packInt4 } from './int4.js';
import { compensate, type Hessian, prepareHessian } from './inverse-factor.js';
import { checkMatrix, type FloatMatrix, type Int4Weight, QuantizationError } from './quantized-weight.js';
import { roundHalfEven } from './round-half-even.js';

const gptqOptions = options('gptq', {
  /** 2 to 8. Default 4. */
  bits: integer({ default: 4, min: 2, max: 8 }),
  /** Consecutive elements of a row that share a grid. Default 128. */
  groupSize: integer({ optional: true, min: 1 }),
  /** Grids around a fixed zero; otherwise each has a zero point of its own. Default false. */
  symmetric: boolean({ default: false }),
  /** Go through the columns from the largest H_qq to the smallest. Default false. */
  actOrder: boolean({ default: false }),
  /** λ of H + λ·mean(diag H)·I. Default 0.01. */
  dampening: number({ default: 0.01, min: 0 }),
});
/** Options of `gptq` (arXiv 2210.17323). A `groupSize` that is given as undefined is the whole row. */
export type GptqOptions = Omit<Given<typeof gptqOptions>, 'groupSize'> & { readonly groupSize?: number | undefined };

/** What `gptq` gives. */
export interface GptqResult {
  /** The quantised weight as float32: (code - zero) · scale. */
  readonly weight: FloatMatrix;
  /** [out, in]. */
  readonly codes: Uint8Array;
  /** [out, groups of a row]. */
  readonly scales: Float32Array;
  /** [out, groups of a row]. */
  readonly zeros: Uint8Array;
  /** ½ tr((W - Ŵ) H' (W - Ŵ)ᵀ), H' the damped Hessian: the error of the outputs. */
  readonly loss: number;
  /** The layout that `quantizedMatmul` takes; 4 bits in groups of 16, 32, 64, 128 or 256 only. */
  toInt4(): Int4Weight;
}

/**
 * GPTQ (arXiv 2210.17323): rounds a weight W [out, in] column by column and makes up for each column's error in the
 * columns that are still to be rounded. With H = 2XXᵀ + λI over the layer's inputs X and UᵀU = H⁻¹,
 *
 *     err = (w_q - quant(w_q)) / U_qq,    w_j -= err · U_qj  for j > q
 *
 * The grid of a group goes from its lowest to its highest weight (both with 0) as they are before anything is rounded.
 * Columns that no input reached become zero.
 *
 * @throws QuantizationError for a Hessian of another size or not positive definite, and what is not a finite matrix
 */
export function gptq(weight: FloatMatrix, hessian: Hessian, given: GptqOptions = {}): GptqResult {
  const options = gptqOptions.read(given as Given<typeof gptqOptions>);
  const { bits, symmetric, actOrder, dampening } = options;
  const [rows, columns] = checkMatrix('gptq', weight);
  const groupSize = options.groupSize ?? ('groupSize' in given ? columns : 128);
  if (hessian.size !== columns) {
    throw new QuantizationError('gptq', `the Hessian has ${hessian.size} rows where the weight has ${columns} columns`);
  }
  const order = columnOrder(hessian, actOrder);
  const { factor, isDead } = prepareHessian(hessian, order, dampening);
  const groups = Math.ceil(columns / groupSize);
  const source = Float64Array.from(weight.data, (value, i) => (isDead[i % columns] ? 0 : value));
  const grid = gridsOf(source, { rows, columns, groups, groupSize, bits, symmetric });

  const work = new Float64Array(source.length);
  for (let row = 0; row < rows; row++) {
    order.forEach((column, i) => {
      work[row * columns + i] = source[row * columns + column]!;
    });
  }
  const codes = new Uint8Array(rows * columns);
  const top = 2 ** bits - 1;
  const choose = (i: number, row: number, value: number): number => {
    const column = order[i]!;
    const group = row * groups + Math.floor(column / groupSize);
    const [scale, zero] = [grid.scales[group]!, grid.zeros[group]!];
    const code = Math.min(top, Math.max(0, roundHalfEven(value / scale) + zero));
    codes[row * columns + column] = code;
    return scale * (code - zero);
  };
  const loss = compensate(work, { rows, factor, choose });
  const data = Float32Array.from(codes, (code, i) => {
    const group = Math.floor(i / columns) * groups + Math.floor((i % columns) / groupSize);
    return grid.scales[group]! * (code - grid.zeros[group]!);
  });
  return {
    weight: { shape: weight.shape, data },
    codes,
    ...grid,
    loss,
    toInt4: () => {
      if (bits !== 4) throw new QuantizationError('gptq', `${bits} bits have no int4 layout`);
      return packInt4({ shape: weight.shape, blockSize: groupSize, symmetric, codes, ...grid });
    },
  };
}

function columnOrder({ size, data }: Hessian, byDiagonal: boolean): number[] {
  const order = Array.from({ length: size }, (_, i) => i);
  return byDiagonal ? order.sort((a, b) => data[b * size + b]! - data[a * size + a]!) : order;
}

interface GridOptions {
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly groupSize: number;
  readonly bits: number;
  readonly symmetric: boolean;
}

function gridsOf(weight: Float64Array, options: GridOptions): { scales: Float32Array; zeros: Uint8Array } {
  const { rows, columns, groups, groupSize, bits, symmetric } = options;
  const top = 2 ** bits - 1;
  const middle = 2 ** (bits - 1);
  const scales = new Float32Array(rows * groups);
  const zeros = new Uint8Array(rows * groups);
  for (let i = 0; i < scales.length; i++) {
    const start = (i % groups) * groupSize;
    const row = Math.floor(i / groups) * columns;
    let [low, high] = [0, 0];
    for (let j = start; j < Math.min(start + groupSize, columns); j++) {
      low = Math.min(low, weight[row + j]!);
      high = Math.max(high, weight[row + j]!);
    }
    if (symmetric) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
    // A group of zeros: any grid with a zero will do.
    if (low === high) [low, high] = [-1, 1];
    scales[i] = (high - low) / top;
    zeros[i] = symmetric ? middle : Math.min(top, roundHalfEven(-low / scales[i]!));
  }
  return { scales, zeros };
}
