import { concat, iota, type Tensor } from '@posttrain/core-tensor';

/** The unit matrix [b, b], n times: [n, b, b]. */
export const identities = (n: number, b: number, dtype: Tensor['dtype']): Tensor =>
  iota([b, b], 0)
    .equal(iota([b, b], 1))
    .cast(dtype)
    .reshape([1, b, b])
    .broadcastTo([n, b, b]);

/**
 * Inverses of matrices [n, b, b] by Gauss's and Jordan's elimination, b steps of a graph, without a search for pivots: for
 * matrices whose symmetric part is positive definite, of which every pivot is positive.
 */
export function inverses(matrices: Tensor): Tensor {
  const [n, b] = matrices.shape as [number, number, number];
  const identity = identities(n, b, matrices.dtype);
  let rows = concat([matrices, identity], 2);
  for (let k = 0; k < b; k++) {
    const pivot = rows.slice(1, k, k + 1);
    const column = rows.slice(2, k, k + 1).sub(identity.slice(2, k, k + 1));
    rows = rows.sub(column.mul(pivot.div(pivot.slice(2, k, k + 1))));
  }
  return rows.slice(2, b, 2 * b);
}
