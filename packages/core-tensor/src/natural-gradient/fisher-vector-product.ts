import { vjp } from '../autodiff/grad.js';
import { jvp } from '../autodiff/jvp.js';
import { ShapeError } from '../errors.js';
import { softmax } from '../kernels/softmax.js';
import type { Tensor } from '../tensor.js';

/**
 * F v with F = mean over rows of Jᵀ (diag(p) - p pᵀ) J, the Fisher information of the categorical distributions p = softmax(logits):
 * E_p[∇ log p ∇ log pᵀ], which is also the generalised Gauss-Newton matrix of their cross-entropy (arXiv 1412.1193) and the Hessian
 * of their KL divergence (arXiv 1502.05477). F is not made: one tangent forward and one cotangent back.
 *
 * @param logits of the parameters, [..., vocabulary]; every other axis counts as rows
 * @param vector a tree as `parameters` is, and so is the result
 */
export function fisherVectorProduct<T>(logits: (parameters: T) => Tensor, parameters: T, vector: T): T {
  const { tangent } = jvp(logits, [parameters], [vector]);
  const { output, pullback } = vjp(logits, parameters);
  if (output.rank === 0) throw new ShapeError('fisherVectorProduct', [output.shape], 'needs logits [..., vocabulary]');
  const p = softmax(output);
  const curved = p.mul(tangent.sub(p.mul(tangent).sum(-1, { keepDims: true })));
  return pullback(curved.mul(output.shape.at(-1)! / output.size))[0];
}

/**
 * F v with the empirical Fisher F = mean_i ∇ log p(y_i) ∇ log p(y_i)ᵀ of the observed outcomes, which needs their log-probabilities only
 * (`tokenLogProbs` has them in little memory). It is not the Fisher: see arXiv 1905.12558 for where it misleads.
 *
 * @param logProbs of the parameters, one for each outcome, any shape
 */
export function empiricalFisherVectorProduct<T>(logProbs: (parameters: T) => Tensor, parameters: T, vector: T): T {
  const { output, tangent } = jvp(logProbs, [parameters], [vector]);
  return vjp(logProbs, parameters).pullback(tangent.mul(1 / output.size))[0];
}
