import { realize, type Tensor } from '@posttrain/core-tensor';
import { leadingSingular } from '../adapters/singular.js';

/**
 * PiSSA (arXiv 2404.02948): with W = U S Vᵀ, LoRA starts from the r largest singular values, B₀ = U_r √(S_r / s) and
 * A₀ = √(S_r / s) V_rᵀ, over the rest of the weight: y = (W − s B₀ A₀) x + s B A x. Of the weight nothing is changed here: the
 * frozen B₀ and A₀ are subtracted beside it, so that the model without the adapter stays the original.
 *
 * The decomposition is exact, in float64 on the host, and takes a time of k³ for the smaller side k of the weight.
 *
 * @param weight stored [out, in], or [in, out] when `transposed`
 * @param s what LoRA multiplies B A by
 */
export async function pissaFactors(
  weight: Tensor,
  { r, s, transposed }: { readonly r: number; readonly s: number; readonly transposed: boolean },
): Promise<{ readonly a: Tensor; readonly b: Tensor }> {
  const whole = transposed ? weight.transpose() : weight;
  const { u, values, v } = await leadingSingular(whole, r);
  const root = values.div(s).sqrt();
  const factors = { a: v.mul(root.expandDims(1)), b: u.mul(root.expandDims(0)) };
  await realize(Object.values(factors));
  return factors;
}
