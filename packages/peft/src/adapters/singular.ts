import { realize, type Tensor, tensor } from '@posttrain/core-tensor';
import { leftSingularVectors } from '@posttrain/core-tensor/optim';

/** The r largest singular values of a matrix and their vectors: x ≈ near · far, whose singular values are `values`. */
export interface LeadingSingular {
  /** Unit vectors [out, r]. */
  readonly u: Tensor;
  /** [r], largest first. */
  readonly values: Tensor;
  /** Unit vectors [r, in]. */
  readonly v: Tensor;
}

const NEARLY_ZERO = 1e-30;

/**
 * The leading part of a singular value decomposition of x [out, in]: exact, in float64 on the host, in a time of k³ for the
 * smaller side k. What has no length has no direction: its vectors are zero.
 */
export async function leadingSingular(x: Tensor, r: number): Promise<LeadingSingular> {
  const [outputs, inputs] = x.shape as [number, number];
  // The vectors of the smaller side; the other side's are the matrix times them.
  const isWide = outputs <= inputs;
  const small = Math.min(outputs, inputs);
  const vectors = await leftSingularVectors(isWide ? x : x.transpose(), small);
  const leading = Float32Array.from({ length: small * r }, (_, i) => vectors[Math.floor(i / r) * small + (i % r)]!);
  const near = tensor(leading, [small, r]);
  // S Vᵀ [r, in], or S Uᵀ [r, out].
  const far = near.matmul(isWide ? x : x.transpose(), { transposeA: true });
  const values = far.square().sum(1).sqrt();
  const unit = far.div(values.maximum(NEARLY_ZERO).expandDims(1));
  const found = isWide ? { u: near, values, v: unit } : { u: unit.transpose(), values, v: near.transpose() };
  await realize(Object.values(found));
  return found;
}
