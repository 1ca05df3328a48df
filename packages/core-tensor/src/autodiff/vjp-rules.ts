import { full, iota, zerosLike } from '../create.js';
import { isFloat } from '../dtype.js';
import type { OpAttributes, OpName, Value } from '../graph/node.js';
import { addAlongAxis, apply, scatterAdd, sumToShape, Tensor, where } from '../tensor.js';

/** What a rule sees: the inputs and outputs of one node, its attributes and the cotangents of its outputs. */
export interface VjpContext<Name extends OpName> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attributes: OpAttributes[Name];
  /** Cotangent of the first output; zero-filled when only other outputs have one. */
  readonly dy: Tensor;
  readonly cotangents: readonly (Tensor | undefined)[];
}

/** One lazily built cotangent per input; null for an input that has no derivative. */
export type VjpRule<Name extends OpName> = (
  context: VjpContext<Name>,
) => readonly ((() => Tensor | undefined) | null)[];

const SQRT_PI = Math.sqrt(Math.PI);

/** Undoes broadcasting, so that a rule can be written for equal shapes. */
const fit = (cotangent: Tensor, input: Tensor): Tensor => sumToShape(cotangent, input.shape);

/** The kept-dims shape of a reduction, so that its result broadcasts over its input. */
function keepDims(reduced: Tensor, input: Tensor, axes: readonly number[]): Tensor {
  return reduced.reshape(input.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim)));
}

const none = () => [];
const noInputGradient = ({ inputs }: { inputs: readonly Tensor[] }) => inputs.map(() => null);

/** The cotangent of the elements where `a` wins, half of it where both are equal. */
function shareOf(dy: Tensor, wins: Tensor, ties: Tensor): Tensor {
  return dy.mul(where(ties, full([], 0.5, dy.dtype), wins.cast(dy.dtype)));
}

/** The reverse-mode rule of every primitive; null where nothing can be differentiated. */
export const vjpRules: { readonly [Name in Exclude<OpName, 'customVjp' | 'kernel'>]: VjpRule<Name> } = {
  data: none,
  input: none,
  full: none,
  iota: none,
  randomBits: noInputGradient,

  neg: ({ dy }) => [() => dy.neg()],
  exp: ({ dy, outputs: [y] }) => [() => dy.mul(y!)],
  log: ({ dy, inputs: [x] }) => [() => dy.div(x!)],
  sqrt: ({ dy, outputs: [y] }) => [() => dy.div(y!).mul(0.5)],
  reciprocal: ({ dy, outputs: [y] }) => [() => dy.mul(y!.square()).neg()],
  sin: ({ dy, inputs: [x] }) => [() => dy.mul(x!.cos())],
  cos: ({ dy, inputs: [x] }) => [() => dy.mul(x!.sin()).neg()],
  tanh: ({ dy, outputs: [y] }) => [() => dy.mul(y!.square().neg().add(1))],
  erf: ({ dy, inputs: [x] }) => [() => dy.mul(x!.square().neg().exp()).mul(2 / SQRT_PI)],
  sigmoid: ({ dy, outputs: [y] }) => [() => dy.mul(y!.mul(y!.neg().add(1)))],
  abs: ({ dy, inputs: [x] }) => [() => dy.mul(x!.sign())],
  sign: noInputGradient,
  floor: noInputGradient,
  not: noInputGradient,
  isNaN: noInputGradient,
  cast: ({ dy, inputs: [x] }) => [isFloat(x!.dtype) && isFloat(dy.dtype) ? () => dy.cast(x!.dtype) : null],

  add: ({ dy, inputs: [a, b] }) => [() => fit(dy, a!), () => fit(dy, b!)],
  sub: ({ dy, inputs: [a, b] }) => [() => fit(dy, a!), () => fit(dy.neg(), b!)],
  mul: ({ dy, inputs: [a, b] }) => [() => fit(dy.mul(b!), a!), () => fit(dy.mul(a!), b!)],
  div: ({ dy, inputs: [a, b], outputs: [y] }) => [() => fit(dy.div(b!), a!), () => fit(dy.mul(y!).div(b!).neg(), b!)],
  pow: ({ dy, inputs: [a, b], outputs: [y] }) => [
    // Where b = 0 the derivative is 0, also at a = 0, where a^(b - 1) is infinite.
    () => fit(dy.mul(b!).mul(a!.pow(where(b!.equal(0), 0, b!.sub(1)))), a!),
    () => fit(dy.mul(y!).mul(a!.log()), b!),
  ],
  maximum: ({ dy, inputs: [a, b] }) => [
    () => fit(shareOf(dy, b!.less(a!), a!.equal(b!)), a!),
    () => fit(shareOf(dy, a!.less(b!), a!.equal(b!)), b!),
  ],
  minimum: ({ dy, inputs: [a, b] }) => [
    () => fit(shareOf(dy, a!.less(b!), a!.equal(b!)), a!),
    () => fit(shareOf(dy, b!.less(a!), a!.equal(b!)), b!),
  ],
  mod: noInputGradient,
  equal: noInputGradient,
  less: noInputGradient,
  lessEqual: noInputGradient,
  and: noInputGradient,
  or: noInputGradient,
  where: ({ dy, inputs: [condition, a, b] }) => [
    null,
    () => fit(where(condition!, dy, 0), a!),
    () => fit(where(condition!, 0, dy), b!),
  ],

  reshape: ({ dy, inputs: [x] }) => [() => dy.reshape(x!.shape)],
  transpose: ({ dy, attributes: { permutation } }) => [
    () => dy.transpose(permutation.map((_, axis) => permutation.indexOf(axis))),
  ],
  broadcastTo: ({ dy, inputs: [x] }) => [() => fit(dy, x!)],
  slice: ({ dy, inputs: [x], attributes: { starts, ends, steps } }) => [
    () => {
      const strided = steps.findIndex((step) => step > 1);
      if (strided < 0) {
        return apply('pad', [dy], { low: starts, high: ends.map((end, axis) => x!.shape[axis]! - end), value: 0 });
      }
      // A strided slice keeps every step-th row; adding rows back at those indices undoes one axis at a time.
      return stridedSliceTranspose(dy, x!.shape, starts, steps);
    },
  ],
  pad: ({ dy, inputs: [x], attributes: { low } }) => [
    () =>
      apply('slice', [dy], {
        starts: low,
        ends: low.map((start, axis) => start + x!.shape[axis]!),
        steps: low.map(() => 1),
      }),
  ],
  concat: ({ dy, inputs, attributes: { axis } }) => {
    let offset = 0;
    return inputs.map((input) => {
      const start = offset;
      offset += input.shape[axis]!;
      const end = offset;
      return () => dy.slice(axis, start, end);
    });
  },

  sum: ({ dy, inputs: [x], attributes: { axes } }) => [() => keepDims(dy, x!, axes).broadcastTo(x!.shape)],
  max: ({ dy, inputs: [x], outputs: [y], attributes: { axes } }) => [
    () => {
      const largest = x!.equal(keepDims(y!, x!, axes)).cast(dy.dtype);
      // Ties share the cotangent equally, as torch.amax does.
      return largest.div(largest.sum(axes, { keepDims: true })).mul(keepDims(dy, x!, axes));
    },
  ],
  argMax: noInputGradient,
  cumsum: ({ dy, attributes: { axis, exclusive, reverse } }) => [
    () => dy.cumsum(axis, { exclusive, reverse: !reverse }),
  ],
  topK: ({ cotangents: [dValues], outputs: [, indices], inputs: [x] }) => [
    () => dValues && addAlongAxis(indices!, dValues, { axis: x!.rank - 1, size: x!.shape.at(-1)! }),
  ],

  matmul: ({ dy, inputs: [a, b], attributes: { transposeA, transposeB } }) => [
    () =>
      fit(
        transposeA
          ? b!.matmul(dy, { transposeA: transposeB, transposeB: true })
          : dy.matmul(b!, { transposeB: !transposeB }),
        a!,
      ),
    () =>
      fit(
        transposeB
          ? dy.matmul(a!, { transposeA: true, transposeB: transposeA })
          : a!.matmul(dy, { transposeA: !transposeA }),
        b!,
      ),
  ],

  gather: ({ dy, inputs: [x, indices], attributes: { axis } }) => [
    () => scatterAdd(indices!, dy, { axis, size: x!.shape[axis]! }),
    null,
  ],
  scatterAdd: ({ dy, inputs: [indices], attributes: { axis } }) => [null, () => dy.gather(indices!, axis)],
  takeAlongAxis: ({ dy, inputs: [x, indices], attributes: { axis } }) => [
    () => addAlongAxis(indices!, dy, { axis, size: x!.shape[axis]! }),
    null,
  ],
  addAlongAxis: ({ dy, inputs: [indices], attributes: { axis } }) => [null, () => dy.takeAlongAxis(indices!, axis)],
  putAlongAxis: ({ dy, inputs: [, indices, updates], attributes: { axis } }) => [
    () => dy.putAlongAxis(indices!, zerosLike(updates!), axis),
    null,
    () => dy.takeAlongAxis(indices!, axis),
  ],

  barrier: ({ dy, inputs: [, ...tokens] }) => [() => dy, ...tokens.map(() => null)],

  stopGradient: noInputGradient,
};

function stridedSliceTranspose(
  dy: Tensor,
  shape: readonly number[],
  starts: readonly number[],
  steps: readonly number[],
): Tensor {
  return shape.reduce((current, size, axis) => {
    const count = current.shape[axis]!;
    const rows = iota([count]).mul(steps[axis]!).add(starts[axis]!);
    return scatterAdd(rows, current, { axis, size });
  }, dy);
}

/** A tensor handle for a graph value. */
export const tensorOf = (value: Value): Tensor => new Tensor(value);
