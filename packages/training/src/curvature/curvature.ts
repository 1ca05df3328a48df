import { hessianVectorProduct } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { ForwardPass, Loss, LossInputs } from '../loss/loss.js';
import { type AnyLoss, asLoss } from '../trainer/lift-token-loss.js';

/**
 * A symmetric matrix over the trained tensors, given by what it makes of a vector: a Hessian, a Fisher information. It is a sum over
 * rows. Keep one object: what is compiled is kept by it.
 */
export interface Curvature extends Pick<Loss, 'name' | 'annotations' | 'groupSize' | 'scalars' | 'wholeRow'> {
  /** B v, traced. `pass` gives the pass of parameters, `vector` and the result are by parameter. */
  product(pass: (parameters: Named) => ForwardPass, inputs: LossInputs, parameters: Named, vector: Named): Named;
}

const hessians = new WeakMap<Loss, Curvature>();

/** The Hessian of a loss, ∂²L/∂θ², as the gradient of ∂L/∂θ · v (Pearlmutter 1994): exact, and about four times the work of L. */
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
      hessianVectorProduct((at: Named) => loss.computeFrom(pass(at).read, inputs).loss)(parameters, vector),
  };
  hessians.set(loss, made);
  return made;
}
