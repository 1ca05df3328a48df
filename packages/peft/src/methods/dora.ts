import { stopGradient, type Tensor } from '@posttrain/core-tensor';

/**
 * DoRA (arXiv 2402.09353): the weight is split into a magnitude per output and a direction, W' = m · V / ‖V‖ with
 * V = W + Δ, where ‖V‖ is the norm of the weights that lead to one output, and gets no gradient (section 4.3).
 *
 * These are the parts of the formula; `lora` puts them together when `useDora` is set.
 */

/** ‖V‖ [out] of a weight stored [out, in], or [in, out] when `transposed`. */
export const outputNorms = (weight: Tensor, transposed: boolean): Tensor =>
  weight
    .square()
    .sum(transposed ? 0 : 1)
    .sqrt();

/** m / ‖V‖ [out], by which each output is scaled. */
export const doraScale = (magnitude: Tensor, direction: Tensor, transposed: boolean): Tensor =>
  magnitude.div(stopGradient(outputNorms(direction, transposed)));

/** A factor per output applied to a weight stored [out, in], or [in, out] when `transposed`. */
export const scaleOutputs = (weight: Tensor, scale: Tensor, transposed: boolean): Tensor =>
  weight.mul(scale.expandDims(transposed ? 0 : 1));
