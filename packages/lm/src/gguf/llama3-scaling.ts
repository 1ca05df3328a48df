import type { RopeConfig } from '../config/index.js';
import type { JsonObject } from '../files.js';
import { InvalidGgufError, UnsupportedGgufError } from './errors.js';

/**
 * The parameters of Llama 3's position scaling from the numbers that it divides the frequencies by, which is all that a
 * GGUF file has of it. A pair with wavelength w is divided by f = 1 where L/w > high, by `factor` where L/w < low, and
 * between by 1 / ((1 - s)/factor + s) with s = (L/w - low) / (high - low). So s is a line over 1/w, which two pairs
 * determine; the scale of (L, low, high) together is free, and low = 1 in every model. Without two such pairs the values
 * of Llama 3.1 and 3.2 are tried (L = 8192, low 1, high 4). What comes out is checked against all numbers.
 *
 * @param divisors float32 [headDim / 2]
 * @throws UnsupportedGgufError when the numbers are of another scaling
 */
export function llama3Scaling(
  path: string,
  divisors: Float32Array,
  { theta, headDim }: { readonly theta: number; readonly headDim: number },
): JsonObject {
  if (divisors.length !== headDim / 2) {
    throw new InvalidGgufError(
      path,
      `rope_freqs.weight has ${divisors.length} numbers for ${headDim / 2} pairs of a head.`,
    );
  }
  const inverseWavelengths = Array.from(divisors, (_, i) => inverseWavelength(theta, i, headDim));
  const factor = divisors.reduce((a, b) => Math.max(a, b));
  const standard = { high: 4, length: 8192 };
  const { high, length } = factor > 1 ? (solve(divisors, inverseWavelengths, factor) ?? standard) : standard;
  const fits = inverseWavelengths.every((inverse, i) => {
    const expected = divisor(inverse, { factor, low: 1, high, length });
    return Math.abs(divisors[i]! - expected) <= 1e-4 * expected;
  });
  if (!fits) throw new UnsupportedGgufError(path, 'rope_freqs.weight is not the position scaling of Llama 3.');
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: 1,
    high_freq_factor: high,
    original_max_position_embeddings: length,
  };
}

/** What the frequency of a pair is divided by. */
function divisor(
  inverseWavelength: number,
  {
    factor,
    low,
    high,
    length,
  }: { readonly factor: number; readonly low: number; readonly high: number; readonly length: number },
): number {
  const smooth = Math.min(1, Math.max(0, (length * inverseWavelength - low) / (high - low)));
  return 1 / ((1 - smooth) / factor + smooth);
}

/** The numbers that `llama3Scaling` reads, as llama.cpp's converter makes them of the parameters: float32 [headDim / 2]. */
export function llama3Divisors(rope: Extract<RopeConfig, { readonly type: 'llama3' }>, headDim: number): Float32Array {
  const { theta, factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositionEmbeddings: length } = rope;
  return Float32Array.from({ length: headDim / 2 }, (_, i) =>
    divisor(inverseWavelength(theta, i, headDim), { factor, low, high, length }),
  );
}

const inverseWavelength = (theta: number, pair: number, headDim: number): number =>
  1 / (2 * Math.PI * theta ** ((2 * pair) / headDim));

function solve(
  divisors: Float32Array,
  inverseWavelengths: readonly number[],
  factor: number,
): { readonly high: number; readonly length: number } | undefined {
  const points = [...divisors].flatMap((divisor, i): [number, number][] => {
    const smooth = (1 / divisor - 1 / factor) / (1 - 1 / factor);
    return smooth > 1e-3 && smooth < 1 - 1e-3 ? [[inverseWavelengths[i]!, smooth]] : [];
  });
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || first === last) return undefined;
  const slope = (first[1] - last[1]) / (first[0] - last[0]);
  const offset = slope * first[0] - first[1];
  const high = rounded(1 + 1 / offset, 1000);
  return { high, length: rounded(slope * (high - 1), 1) };
}

const rounded = (x: number, steps: number): number => Math.round(x * steps) / steps;
