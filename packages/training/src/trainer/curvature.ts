import type { Named } from '@posttrain/core-tensor/optim';
import type { ForwardPass, Loss, LossInputs } from '../loss/loss.js';

/**
 * A symmetric matrix over the trained tensors, given by what it makes of a vector: a Hessian, a Fisher information. It
 * is a sum over rows. Keep one object: compilation is memoised by it.
 */
export interface Curvature extends Pick<Loss, 'name' | 'annotations' | 'groupSize' | 'scalars' | 'wholeRow'> {
  /** B v, traced. `pass` gives the pass of parameters, `vector` and the result are by parameter. */
  product(pass: (parameters: Named) => ForwardPass, inputs: LossInputs, parameters: Named, vector: Named): Named;
}
