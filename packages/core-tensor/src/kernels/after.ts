import { concat, type Tensor } from '../tensor.js';

/**
 * x, computed after the `others`: engines run a graph in an order that its data needs, and this makes x need them. One
 * element of each is carried along and dropped. What is computed from the result is also no longer the same computation
 * as that from x, so a gradient that computes something again does not keep the first result alive.
 */
export function after(x: Tensor, ...others: readonly Tensor[]): Tensor {
  const carried = others.filter(({ size }) => size > 0).map((y) => y.reshape([y.size]).slice(0, 0, 1).cast(x.dtype));
  if (carried.length === 0 || x.size === 0) return x;
  return concat([x.reshape([x.size]), ...carried], 0)
    .slice(0, 0, x.size)
    .reshape(x.shape);
}
