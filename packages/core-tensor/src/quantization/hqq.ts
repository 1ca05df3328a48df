import { type Given, integer, number, options } from '@posttrain/interfaces';
import { packInt4 } from './int4.js';
import { checkMatrix, type FloatMatrix, type Int4Weight, QuantizationError } from './quantized-weight.js';
import { roundHalfEven } from './round-half-even.js';

const hqqOptions = options('hqq', {
  /** 2 to 8. Default 4. */
  bits: integer({ default: 4, min: 2, max: 8 }),
  /** Consecutive elements of a row that share a scale and a zero. Default 64. */
  groupSize: integer({ default: 64, min: 1 }),
  /** p of the error ‖W − Ŵ‖ₚ: below 1 it leaves outliers out of account. Default 0.7. */
  lpNorm: number({ default: 0.7, above: 0, max: 1 }),
  /** β, how much W − Ŵ and its sparse part are to agree. Default 10. */
  beta: number({ default: 10, above: 0 }),
  /** Most rounds; 0: rounding to the nearest. Default 20. */
  iterations: integer({ default: 20, min: 0 }),
});
/** Options of `hqq`. */
export type HqqOptions = Given<typeof hqqOptions>;

/** What `hqq` gives. */
export interface HqqResult {
  /** The quantised weight as float32: (code − zero) · scale. */
  readonly weight: FloatMatrix;
  /** [out, in]. */
  readonly codes: Uint8Array;
  /** [out, groups of a row]. */
  readonly scales: Float32Array;
  /** [out, groups of a row]: numbers, not codes. */
  readonly zeros: Float32Array;
  /** Rounds that were made. */
  readonly rounds: number;
  /** The layout that `quantizedMatmul` takes; 4 bits in groups of 16, 32, 64, 128 or 256 only. */
  toInt4(): Int4Weight;
}

/** Ranges below this are not stretched to the codes. */
const SMALLEST_RANGE = 1e-4;
/** Most steps a unit. */
const LARGEST_FACTOR = 2e4;

/**
 * HQQ, half-quadratic quantisation (Badri and Shaji 2023, mobiusml.github.io/hqq_blog): rounds a weight W [out, in] without any data. The grid of
 * a group of a row goes from its lowest to its highest weight; then its zero z is moved, in turns with the sparse part E of the
 * error, to lessen ‖E‖ₚᵖ + β/2 ‖E − (W − Ŵ)‖², with Ŵ = (q − z) s and q = round(W/s + z):
 *
 *     E = sign(D) · max(|D| − |D|^(p−1) / β, 0), D = W − Ŵ;    z = mean(q − (W − E) / s)
 *
 * It ends when the mean |W − Ŵ| of the whole weight does not fall any more. β stays as it is, as in the package's default. Zeros are no
 * whole numbers: the products take them as they are.
 *
 * @throws QuantizationError for what is not a matrix of finite numbers
 */
export function hqq(weight: FloatMatrix, given: HqqOptions = {}): HqqResult {
  const { bits, groupSize, lpNorm, beta, iterations } = hqqOptions.read(given);
  const [rows, columns] = checkMatrix('hqq', weight);
  const top = 2 ** bits - 1;
  const groups = Math.ceil(columns / groupSize);
  const rangeOf = (group: number): readonly [number, number] => {
    const start = Math.floor(group / groups) * columns + (group % groups) * groupSize;
    return [start, start + Math.min(groupSize, columns - (group % groups) * groupSize)];
  };
  const inverse = new Float64Array(rows * groups);
  const zeros = new Float64Array(rows * groups);
  for (let group = 0; group < zeros.length; group++) {
    const values = weight.data.subarray(...rangeOf(group));
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const range = high - low;
    inverse[group] = range <= SMALLEST_RANGE ? 1 : Math.min(top / range, LARGEST_FACTOR);
    zeros[group] = roundHalfEven(-low * inverse[group]!);
  }
  const codeOf = (value: number, group: number): number =>
    Math.min(top, Math.max(0, roundHalfEven(value * inverse[group]! + zeros[group]!)));

  let [least, rounds] = [Infinity, 0];
  while (rounds < iterations) {
    rounds++;
    let error = 0;
    for (let group = 0; group < zeros.length; group++) {
      const [start, end] = rangeOf(group);
      const factor = inverse[group]!;
      let sum = 0;
      for (let i = start; i < end; i++) {
        const value = weight.data[i]!;
        const code = codeOf(value, group);
        const off = value - (code - zeros[group]!) / factor;
        const size = Math.abs(off);
        error += size;
        const sparse = size === 0 ? 0 : Math.sign(off) * Math.max(size - size ** (lpNorm - 1) / beta, 0);
        sum += code - (value - sparse) * factor;
      }
      zeros[group] = sum / (end - start);
    }
    if (error >= least) break;
    least = error;
  }
  const codes = new Uint8Array(rows * columns);
  const data = new Float32Array(rows * columns);
  const scales = Float32Array.from(inverse, (factor) => 1 / factor);
  for (let group = 0; group < zeros.length; group++) {
    const [start, end] = rangeOf(group);
    for (let i = start; i < end; i++) {
      codes[i] = codeOf(weight.data[i]!, group);
      data[i] = (codes[i]! - zeros[group]!) / inverse[group]!;
    }
  }
  const shifts = Float32Array.from(zeros);
  return {
    weight: { shape: weight.shape, data },
    codes,
    scales,
    zeros: shifts,
    rounds,
    toInt4: () => {
      if (bits !== 4) throw new QuantizationError('hqq', `${bits} bits have no int4 layout`);
      return packInt4({ shape: weight.shape, blockSize: groupSize, symmetric: false, codes, scales, zeros: shifts });
    },
  };
}
