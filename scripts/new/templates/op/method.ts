import { defineOp, type Tensor } from '@posttrain/core-tensor';

/** The operation in plain TypeScript, on every engine; `lower` may have a forward for one engine beside it, under its name. */
const op = defineOp({
  name: 'my-method/my-method',
  infer: ([x]) => [x!],
  lower: { host: ([x]) => [Array.from(x!.data, (value) => value * Math.abs(value))] },
  vjp: ({ inputs: [x], cotangents: [dy] }) => [dy && x!.abs().mul(2).mul(dy)],
});

/** Signed squares (arXiv 0000.00000, eq. 0): y = x |x|, element by element, with the gradient 2 |x|. x float32 of any shape. */
export function myMethod(x: Tensor): Tensor {
  return op([x])[0]!;
}
