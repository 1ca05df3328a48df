import { type Given, number, options } from '@posttrain/interfaces';
import { checkMatrix, type FloatMatrix, QuantizationError } from './quantized-weight.js';

const smoothOptions = options('smoothQuantScales', {
  /** α, the part of the difficulty that goes from the inputs to the weights. Default 0.5. */
  strength: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `smoothQuantScales`. */
export type SmoothQuantOptions = Given<typeof smoothOptions>;

/** As the authors have it: a feature that nothing uses is not divided by zero. */
const SMALLEST_SCALE = 1e-5;

/**
 * SmoothQuant (arXiv 2211.10438): what to divide the inputs x of weights W [out, in] by, and to multiply their columns by, so that a few
 * features with large inputs do not take the whole range of 8 bits: s_j = max|x_j|^α / max|W_j|^(1−α), the largest weight being that
 * of all weights that read the inputs. W x = (W · s)(x / s), before anything is rounded.
 *
 * @param maxAbs the largest |x| of each feature
 * @throws QuantizationError for weights of another width than the inputs, and what is not a finite matrix
 */
export function smoothQuantScales(
  weights: readonly FloatMatrix[],
  maxAbs: ArrayLike<number>,
  given: SmoothQuantOptions = {},
): Float64Array {
  const { strength } = smoothOptions.read(given);
  const columns = maxAbs.length;
  const largest = new Float64Array(columns);
  for (const weight of weights) {
    const [, width] = checkMatrix('smoothQuantScales', weight);
    if (width !== columns) {
      throw new QuantizationError(
        'smoothQuantScales',
        `the inputs have ${columns} features where a weight has ${width} columns`,
      );
    }
    weight.data.forEach((value, i) => {
      const j = i % columns;
      largest[j] = Math.max(largest[j]!, Math.abs(value));
    });
  }
  return largest.map((weight, j) => {
    const ofWeights = Math.max(weight, SMALLEST_SCALE) ** (1 - strength);
    return Math.max(maxAbs[j]! ** strength / ofWeights, SMALLEST_SCALE);
  });
}
