import { float16At, toFloat16 } from './half.js';

const SIZE = 256;
const PART = 32;
const PARTS = SIZE / PART;
const BYTES = 144;
/** Largest code, and largest scale or minimum of a part. */
const [CODE, STEPS] = [15, 63];
/** First guesses of a part's range: code 15 + guess / 10 at its largest number. */
const GUESSES = Array.from({ length: 11 }, (_, i) => 2 * i - 10);

/**
 * Q4_K: value = d · scale · code - dmin · min, codes of 4 bits, scale and min (both ≥ 0) of 6 bits for each 32 of 256
 * elements, d and dmin float16. A part's real scale s and minimum m minimise Σ w (x - s · code + m)², where w = |x| + √mean(x²)
 * makes large numbers count more: from several guesses of the range, codes are rounded, s and m solved for, and the best pair
 * kept. Then d and dmin are the largest s and m / 63, and of the scales and minimums beside the rounded ones those are taken
 * that leave the least error. (What llama.cpp minimises; a test compares the errors.)
 *
 * @param out the bytes that `q4K` of k-quants.ts reads
 */
export function q4K(values: Float32Array, out: Uint8Array, count: number): void {
  const fits: Fit[] = [];
  const weights = new Float32Array(SIZE);
  for (let block = 0; block < count; block++) {
    const at = block * BYTES;
    const whole = values.subarray(block * SIZE, (block + 1) * SIZE);
    weigh(whole, weights);
    for (let part = 0; part < PARTS; part++) fits[part] = fitPart(whole, weights, part * PART);
    toFloat16(Math.max(...fits.map(({ scale }) => scale)) / STEPS, out, at);
    toFloat16(Math.max(...fits.map(({ min }) => min)) / STEPS, out, at + 2);
    const [d, dmin] = [float16At(out, at), float16At(out, at + 2)];
    out.fill(0, at + 4, at + BYTES);
    for (let part = 0; part < PARTS; part++) {
      const from = part * PART;
      const [scaleCode, minCode] = nearestSteps(whole, weights, from, fits[part]!, [d, dmin]);
      packScaleAndMin(out, at + 4, part, scaleCode, minCode);
      const [inverse, min] = [inverseOf(d * scaleCode), dmin * minCode];
      for (let i = from; i < from + PART; i++) {
        const code = roundCode((whole[i]! + min) * inverse);
        // 32 bytes hold 64 codes, the first 32 in the low halves.
        out[at + 16 + ((i >> 6) << 5) + (i & 31)]! |= code << (i & 32 ? 4 : 0);
      }
    }
  }
}

interface Fit {
  readonly scale: number;
  readonly min: number;
}

const inverseOf = (scale: number): number => (scale === 0 ? 0 : 1 / scale);

/** The nearest code, of a number in steps. */
function roundCode(x: number): number {
  if (x <= 0) return 0;
  return x >= CODE ? CODE : (x + 0.5) | 0;
}

function weigh(whole: Float32Array, weights: Float32Array): void {
  for (let from = 0; from < SIZE; from += PART) {
    let squares = 0;
    for (let i = from; i < from + PART; i++) squares += whole[i]! * whole[i]!;
    const typical = Math.sqrt(squares / PART);
    for (let i = from; i < from + PART; i++) weights[i] = Math.abs(whole[i]!) + typical;
  }
}

function fitPart(whole: Float32Array, weights: Float32Array, from: number): Fit {
  // The minimum is subtracted and never negative.
  let [low, high] = [0, -Infinity];
  for (let i = from; i < from + PART; i++) {
    low = Math.min(low, whole[i]!);
    high = Math.max(high, whole[i]!);
  }
  // All equal and not positive: codes are 0.
  if (high <= low) return { scale: 0, min: -low };
  let best: Fit = { scale: (high - low) / CODE, min: -low };
  let least = errorOf(whole, weights, from, best.scale, best.min);
  for (const guess of GUESSES) {
    const fit = solve(whole, weights, from, (high - low) / (CODE + guess / 10), low);
    const error = fit.scale > 0 ? errorOf(whole, weights, from, fit.scale, fit.min) : Infinity;
    if (error < least) [best, least] = [fit, error];
  }
  return best;
}

/** Weighted least squares of x = scale · code - min, for the codes that a guess of the scale gives; scale 0 where there is none. */
function solve(whole: Float32Array, weights: Float32Array, from: number, guess: number, low: number): Fit {
  const inverse = 1 / guess;
  let [w, wc, wcc, wx, wcx] = [0, 0, 0, 0, 0];
  for (let i = from; i < from + PART; i++) {
    const value = whole[i]!;
    const weight = weights[i]!;
    const code = roundCode((value - low) * inverse);
    w += weight;
    wc += weight * code;
    wcc += weight * code * code;
    wx += weight * value;
    wcx += weight * code * value;
  }
  const determinant = w * wcc - wc * wc;
  if (determinant <= 0) return { scale: 0, min: 0 };
  const min = (wc * wcx - wcc * wx) / determinant;
  return min >= 0 ? { scale: (w * wcx - wc * wx) / determinant, min } : { scale: wcx / wcc, min: 0 };
}

function errorOf(whole: Float32Array, weights: Float32Array, from: number, scale: number, min: number): number {
  const inverse = inverseOf(scale);
  let error = 0;
  for (let i = from; i < from + PART; i++) {
    const difference = scale * roundCode((whole[i]! + min) * inverse) - min - whole[i]!;
    error += weights[i]! * difference * difference;
  }
  return error;
}

/** Scale and minimum as whole numbers of `units`, of those beside the nearest too the best. */
function nearestSteps(
  whole: Float32Array,
  weights: Float32Array,
  from: number,
  { scale, min }: Fit,
  [d, dmin]: readonly [number, number],
): readonly [scale: number, min: number] {
  let [best, least]: [readonly [number, number], number] = [[0, 0], Infinity];
  for (const scaleCode of around(scale * inverseOf(d))) {
    for (const minCode of around(min * inverseOf(dmin))) {
      const error = errorOf(whole, weights, from, d * scaleCode, dmin * minCode);
      if (error < least) [best, least] = [[scaleCode, minCode], error];
    }
  }
  return best;
}

const around = (x: number): number[] => [
  ...new Set([-1, 0, 1].map((by) => Math.max(0, Math.min(STEPS, Math.round(x) + by)))),
];

/** See `scaleAndMin` of k-quants.ts. */
function packScaleAndMin(out: Uint8Array, at: number, part: number, scale: number, min: number): void {
  if (part < 4) {
    out[at + part]! |= scale;
    out[at + 4 + part]! |= min;
    return;
  }
  out[at + 4 + part]! |= (scale & 15) | ((min & 15) << 4);
  out[at + part - 4]! |= (scale >> 4) << 6;
  out[at + part]! |= (min >> 4) << 6;
}
