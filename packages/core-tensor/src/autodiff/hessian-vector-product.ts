import { ones } from '../create.js';
import { AutodiffError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { vjp } from './grad.js';

/**
 * `hessianVectorProduct(f)(parameters, vector)`: H v of the scalar function f, without H, as the gradient of the gradient along
 * v (Pearlmutter 1994). `vector` and the result are trees as `parameters` is. About four times the work of f.
 */
export function hessianVectorProduct<T>(f: (parameters: T) => Tensor): (parameters: T, vector: T) => T {
  return (parameters, vector) => {
    const gradient = (p: T): T => {
      const { output, pullback } = vjp(f, p);
      if (output.size !== 1)
        throw new AutodiffError(`the Hessian of ${output} is not defined: reduce it to a scalar first`);
      return pullback(ones(output.shape, output.dtype))[0];
    };
    return vjp(gradient, parameters).pullback(vector)[0];
  };
}
