import type { Key, Tensor } from '@posttrain/core-tensor';
import { normalWith } from '../adapters/initial.js';
import { oloraFactors } from './olora.js';

const SCALE = 0.1;

/**
 * The orthogonal start of PEFT (datta0.github.io/posts/rethink-lora-init): neither factor is zero and the product is. Of a random orthogonal
 * matrix Q [r, r] A has the even rows and B the odd ones, counted from zero: A = (Q_evenᵀ X) / 10, B = (Y Q_odd) / 10 with X [r/2, in] and Y [out, r/2]
 * normal, so that B A = Y (Q_odd Q_evenᵀ) X / 100 = 0.
 *
 * @param r even
 */
export async function orthogonalFactors(
  key: Key,
  { r, inputs, outputs }: { readonly r: number; readonly inputs: number; readonly outputs: number },
): Promise<{ readonly a: Tensor; readonly b: Tensor }> {
  const half = r / 2;
  const { b: q } = await oloraFactors(normalWith(key.child(0), [r, r]), { r, transposed: false });
  const rows = q.reshape([half, 2, r]);
  const [even, odd] = [rows.slice(1, 0, 1).reshape([half, r]), rows.slice(1, 1, 2).reshape([half, r])];
  const x = normalWith(key.child(1), [half, inputs], SCALE);
  const y = normalWith(key.child(2), [outputs, half], SCALE);
  return { a: even.matmul(x, { transposeA: true }), b: y.matmul(odd) };
}
