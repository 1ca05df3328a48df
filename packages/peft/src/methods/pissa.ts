import { realize, type Tensor, tensor } from '@posttrain/core-tensor';
import { leftSingularVectors } from '@posttrain/core-tensor/optim';

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
  const [outputs, inputs] = whole.shape as [number, number];
  // The vectors of the smaller side; the other side's are the weight times them.
  const isWide = outputs <= inputs;
  const small = Math.min(outputs, inputs);
  const vectors = await leftSingularVectors(isWide ? whole : whole.transpose(), small);
  const leading = Float32Array.from({ length: small * r }, (_, i) => vectors[Math.floor(i / r) * small + (i % r)]!);
  const near = tensor(leading, [small, r]);
  // S V_rᵀ [r, in], or S U_rᵀ [r, out].
  const far = near.matmul(isWide ? whole : whole.transpose(), { transposeA: true });
  const values = far.square().sum(1).sqrt();
  const root = values.div(s).sqrt();
  const [scaledNear, scaledFar] = [near.mul(root.expandDims(0)), far.div(values.mul(s).sqrt().expandDims(1))];
  const factors = isWide ? { a: scaledFar, b: scaledNear } : { a: scaledNear.transpose(), b: scaledFar.transpose() };
  await realize(Object.values(factors));
  return factors;
}
