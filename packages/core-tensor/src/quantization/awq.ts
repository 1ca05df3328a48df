import { boolean, type Given, integer, options } from '@posttrain/interfaces';
import { packInt4 } from './int4.js';
import type { Hessian } from './inverse-factor.js';
import { checkMatrix, type FloatMatrix, type Int4Weight, QuantizationError } from './quantized-weight.js';
import { roundHalfEven } from './round-half-even.js';

const groupShape = {
  /** Consecutive elements of a row that share a grid. Default 128. */
  groupSize: integer({ default: 128, min: 1 }),
};
const scaleOptions = options('awqScales', {
  ...groupShape,
  /** α is tried at 0, 1/steps … 1 − 1/steps. Default 20. */
  steps: integer({ default: 20, min: 1 }),
  /** Divide by how large the weights of a column are, too, each relative to the largest of its group. Default true. */
  duoScaling: boolean({ default: true }),
});
/** Options of `awqScales`. */
export type AwqScaleOptions = Given<typeof scaleOptions>;
const clipOptions = options('awqClip', {
  ...groupShape,
  /** Grids that are tried: the whole range, less 0, 1, 2 … of so many parts of it, down to half. Default 20. */
  steps: integer({ default: 20, min: 1 }),
});
/** Options of `awqClip`. */
export type AwqClipOptions = Given<typeof clipOptions>;
const roundOptions = options('roundToGrid', groupShape);
/** Options of `roundToGrid`. */
export type RoundToGridOptions = Given<typeof roundOptions>;

/** What AWQ looks at of a layer's inputs x: sums over all of them. */
export interface InputStatistics {
  /** Σ x xᵀ of the inputs, times any positive number. */
  readonly gram: Hessian;
  /** The mean |x| of each feature. */
  readonly meanAbs: ArrayLike<number>;
}

const LARGEST_CODE = 15;
/** The reference's smallest range of a group. */
const SMALLEST_RANGE = 1e-5;

/**
 * AWQ (arXiv 2306.00978): what to multiply the columns of weights W [out, in] by that read the same inputs, so that
 * those with the largest inputs lose the least when they are rounded: W x ≈ Q(W · s) (x / s), with
 *
 *     s_j = mean|x_j|^α / (mean of |W_j| / max of its group)^(1−α),   s / √(max s · min s)
 *
 * and of the α tried the one of the least Σ ‖(Q(W · s)/s − W) x‖² over the inputs. Whoever computes x is to divide by s.
 *
 * @param weights all of them as wide as the statistics
 * @returns s, the α, and the errors of every α, in the order tried
 * @throws QuantizationError for weights and statistics of different widths, and what is not a finite matrix
 */
export function awqScales(
  weights: readonly FloatMatrix[],
  { gram, meanAbs }: InputStatistics,
  given: AwqScaleOptions = {},
): { readonly scales: Float64Array; readonly alpha: number; readonly errors: readonly number[] } {
  const { groupSize, steps, duoScaling } = scaleOptions.read(given);
  const columns = gram.size;
  for (const weight of weights) checkWidth('awqScales', weight, columns);
  const sizes = relativeSizes(weights, columns, groupSize);
  const errors: number[] = [];
  let best: { readonly scales: Float64Array; readonly alpha: number } | undefined;
  let least = Infinity;
  for (let step = 0; step < steps; step++) {
    const alpha = step / steps;
    const raw = Float64Array.from({ length: columns }, (_, j) => {
      const ofInput = meanAbs[j]! ** alpha;
      return Math.max(duoScaling ? ofInput / (sizes[j]! ** (1 - alpha) + 1e-4) : ofInput, 1e-4);
    });
    const [low, high] = [raw.reduce((a, b) => Math.min(a, b), Infinity), raw.reduce((a, b) => Math.max(a, b), 0)];
    const middle = Math.sqrt(low * high);
    const scales = raw.map((scale) => scale / middle);
    const error = weights.reduce((sum, weight) => {
      const rounded = roundToGrid(scaleColumns(weight, scales), { groupSize }).weight.data;
      const off = rounded.map((value, i) => value / scales[i % columns]! - weight.data[i]!);
      return sum + outputError(off, gram);
    }, 0);
    errors.push(error);
    if (error < least) [least, best] = [error, { scales, alpha }];
  }
  return { ...best!, errors };
}

/**
 * AWQ's search for a smaller range: of every group of every row of W [out, in], the largest |w| that its grid is to have,
 * from all of it down to half, by the least Σ ((Ŵ − W) x)² of the group alone. What is larger is cut.
 *
 * @returns the weight, cut
 * @throws QuantizationError as `awqScales`
 */
export function awqClip(weight: FloatMatrix, gram: Hessian, given: AwqClipOptions = {}): FloatMatrix {
  const { groupSize, steps } = clipOptions.read(given);
  checkWidth('awqClip', weight, gram.size);
  const [rows, columns] = weight.shape as [number, number];
  const data = weight.data.slice();
  const parts = Array.from({ length: Math.ceil(columns / groupSize) }, (_, g) => {
    const [start, end] = [g * groupSize, Math.min((g + 1) * groupSize, columns)];
    return { start, end, gram: blockOf(gram, start, end) };
  });
  for (let row = 0; row < rows; row++) {
    for (const { start, end, gram: own } of parts) {
      const values = weight.data.subarray(row * columns + start, row * columns + end);
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      let [least, limit] = [Infinity, largest];
      for (let step = 0; step < Math.floor(steps / 2); step++) {
        const most = largest * (1 - step / steps);
        const cut = values.map((value) => Math.min(most, Math.max(-most, value)));
        const { weight: rounded } = roundToGrid({ shape: [1, cut.length], data: cut }, { groupSize });
        const off = rounded.data.map((value, i) => value - values[i]!);
        const error = outputError(off, own);
        if (error < least) [least, limit] = [error, most];
      }
      values.forEach((value, i) => {
        data[row * columns + start + i] = Math.min(limit, Math.max(-limit, value));
      });
    }
  }
  return { shape: weight.shape, data };
}

/**
 * 4-bit codes of a weight [out, in] by rounding to the nearest of a group's grid, as AWQ rounds: from its lowest to its highest weight, both
 * with 0, and (code − zero) · scale with a whole zero.
 *
 * @throws QuantizationError for what is not a matrix of finite numbers
 */
export function roundToGrid(
  weight: FloatMatrix,
  given: RoundToGridOptions = {},
): { readonly weight: FloatMatrix; toInt4(): Int4Weight } {
  const { groupSize } = roundOptions.read(given);
  const [rows, columns] = checkMatrix('roundToGrid', weight);
  const groups = Math.ceil(columns / groupSize);
  const scales = new Float32Array(rows * groups);
  const zeros = new Uint8Array(rows * groups);
  const codes = new Uint8Array(rows * columns);
  const data = new Float32Array(rows * columns);
  for (let group = 0; group < scales.length; group++) {
    const first = (group % groups) * groupSize;
    const start = Math.floor(group / groups) * columns + first;
    const end = start + Math.min(groupSize, columns - first);
    let [low, high] = [0, 0];
    for (let i = start; i < end; i++) {
      const value = weight.data[i]!;
      if (value < low) low = value;
      else if (value > high) high = value;
    }
    // In float32 throughout: a range that was cut on both sides is a tie, 7.5.
    const scale = Math.fround(Math.max(Math.fround(high - low), SMALLEST_RANGE) / LARGEST_CODE);
    const zero = Math.min(LARGEST_CODE, -roundHalfEven(Math.fround(low / scale)));
    scales[group] = scale;
    zeros[group] = zero;
    for (let i = start; i < end; i++) {
      const code = roundHalfEven(Math.fround(weight.data[i]! / scale)) + zero;
      codes[i] = Math.min(LARGEST_CODE, Math.max(0, code));
      data[i] = (codes[i]! - zero) * scale;
    }
  }
  const layout = { shape: weight.shape, blockSize: groupSize, symmetric: false, codes, scales, zeros };
  return { weight: { shape: weight.shape, data }, toInt4: () => packInt4(layout) };
}

/** Of each column the mean over all rows of all weights of |w| / (max |w| of its group of the row). */
function relativeSizes(weights: readonly FloatMatrix[], columns: number, groupSize: number): Float64Array {
  const sizes = new Float64Array(columns);
  let rows = 0;
  for (const { shape, data } of weights) {
    rows += shape[0]!;
    for (let start = 0; start < data.length; ) {
      const end = start + Math.min(groupSize, columns - (start % columns));
      let largest = 0;
      for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(data[i]!));
      for (let i = start; i < end; i++) sizes[i % columns]! += Math.abs(data[i]!) / (largest + 1e-6);
      start = end;
    }
  }
  return sizes.map((size) => size / rows);
}

/** A weight [out, in] with each column multiplied. */
export function scaleColumns({ shape, data }: FloatMatrix, scales: ArrayLike<number>): FloatMatrix {
  return { shape, data: data.map((value, i) => value * scales[i % scales.length]!) };
}

/** Σ over rows e of eᵀ G e, G symmetric. */
function outputError(off: Float32Array, { size, data }: Hessian): number {
  let total = 0;
  for (let start = 0; start < off.length; start += size) {
    for (let i = 0; i < size; i++) {
      const own = off[start + i]!;
      if (own === 0) continue;
      let sum = (own * data[i * size + i]!) / 2;
      for (let j = i + 1; j < size; j++) sum += data[i * size + j]! * off[start + j]!;
      total += 2 * own * sum;
    }
  }
  return total;
}

function blockOf({ size, data }: Hessian, start: number, end: number): Hessian {
  const width = end - start;
  const own = Float64Array.from({ length: width * width }, (_, i) => {
    return data[(start + Math.floor(i / width)) * size + start + (i % width)]!;
  });
  return { size: width, data: own };
}

function checkWidth(what: string, weight: FloatMatrix, columns: number): void {
  const [, width] = checkMatrix(what, weight);
  if (width === columns) return;
  throw new QuantizationError(what, `the inputs have ${columns} features where a weight has ${width} columns`);
}
