import { hessianVectorProduct } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { Loss } from '../loss/loss.js';
import { checkedResult } from '../loss/loss-result.js';
import type { Curvature } from '../trainer/curvature.js';
import { type AnyLoss, asLoss } from '../trainer/lift-token-loss.js';

const hessians = new WeakMap<Loss, Curvature>();

/**
 * The Hessian of a loss, ∂²L/∂θ², as the gradient of ∂L/∂θ · v (Pearlmutter 1994): exact, and about four times the work
 * of L. Over an int8 base, whose products round their inputs, it is that of the products without the rounding, as the
 * gradient is.
 */
export function hessian(given: AnyLoss): Curvature {
  const loss = asLoss(given);
  const { annotations, groupSize, scalars, wholeRow } = loss;
  const made: Curvature = hessians.get(loss) ?? {
    name: `hessian(${loss.name})`,
    annotations,
    ...(groupSize !== undefined && { groupSize }),
    ...(scalars && { scalars }),
    ...(wholeRow && { wholeRow }),
    product: (pass, inputs, parameters, vector) =>
      hessianVectorProduct((at: Named) => checkedResult(loss.name, loss.computeFrom(pass(at).read, inputs)).loss)(
        parameters,
        vector,
      ),
  };
  hessians.set(loss, made);
  return made;
}
