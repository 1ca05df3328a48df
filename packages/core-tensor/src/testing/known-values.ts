import { barrier } from '../autodiff/barrier.js';
import { customVjp, stopGradient } from '../autodiff/grad.js';
import { full, iota, type NestedNumbers, tensor } from '../create.js';
import type { DType } from '../dtype.js';
import type { OpName } from '../graph/node.js';
import { attention, cachedAttention } from '../kernels/attention.js';
import { layerNorm, rmsNorm } from '../kernels/norms.js';
import { rotary } from '../kernels/rotary.js';
import { softmax } from '../kernels/softmax.js';
import { tokenLogProbs } from '../kernels/token-log-probs.js';
import { randomBits } from '../random/random.js';
import { addAlongAxis, concat, scatterAdd, type Tensor, where } from '../tensor.js';

/** A result worked out by hand or in closed form, so that the reference engine is checked against something too. */
export interface KnownValue {
  readonly run: () => Tensor;
  readonly wanted: readonly number[];
}

const known = (run: () => Tensor, wanted: readonly number[]): KnownValue => ({ run, wanted });

const t = (values: NestedNumbers, dtype: DType = 'float32'): Tensor => tensor(values, undefined, dtype);
const int = (values: NestedNumbers): Tensor => t(values, 'int32');
const bool = (values: NestedNumbers): Tensor => t(values, 'bool');
const matrix = () =>
  t([
    [1, 2, 3],
    [4, 5, 6],
  ]);

const { E, PI, LN2, SQRT2 } = Math;
const NAN = Number.NaN;

function kernels(): KnownValue[] {
  const heads = (...values: number[]) => tensor(values, [1, 1, values.length, 1]);
  // One query equal to 0 sees every key alike, so attention is a mean of the values it may see.
  const mean = (bias: number[]) =>
    attention(heads(0), heads(1, 2, 3), heads(3, 6, 12), tensor(bias, [1, 1, 1, 3]), { scale: 1 });
  const cache = () =>
    cachedAttention(
      {
        q: heads(0),
        k: heads(1),
        v: heads(9),
        pastKeys: heads(5, 7, 100, 100),
        pastValues: heads(3, 6, 100, 100),
        lengths: int([2]),
      },
      { scale: 1 },
    );
  // Logits (0, 0) and then (ln 3, 0): probabilities 1/2, 1/2 and 3/4, 1/4.
  const scores = (targets: number[]) =>
    tokenLogProbs(t([[0], [Math.log(3)]]), t([[1], [0]]), int(targets), { chunkSize: 1 });
  const quarter = -(0.75 * Math.log(0.75) + 0.25 * Math.log(0.25));
  return [
    known(() => softmax(t([0, LN2, 0])), [0.25, 0.5, 0.25]),
    known(() => softmax(t([1e4, 0])), [1, 0]),
    known(() => rmsNorm(t([3, 4]), t([1, 2]), { epsilon: 0 }), [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)]),
    known(() => layerNorm(t([1, 3]), t([1, 2]), t([0, 10]), { epsilon: 0 }), [-1, 12]),
    // A quarter turn takes (a, b) to (-b, a).
    known(() => rotary(tensor([5, 7], [1, 1, 1, 2]), tensor([0], [1, 1, 1]), tensor([1], [1, 1, 1])), [-7, 5]),
    known(() => mean([0, 0, 0]), [7]),
    known(() => mean([0, 0, -1e30]), [4.5]),
    known(() => mean([0, LN2, -1e30]), [5]),
    known(() => cache().output, [6]),
    known(() => cache().keys, [5, 7, 1, 100]),
    known(() => cache().values, [3, 6, 9, 100]),
    known(() => scores([0, 1]).logProbs, [-LN2, Math.log(0.25)]),
    known(() => scores([0, 1]).entropies, [LN2, quarter]),
    known(() => scores([0, 1]).isGreedy, [1, 0]),
    // Logits (5, -5) capped at 1 are ±1 within rounding: tanh 5 = 0.99990920426.
    known(
      () => tokenLogProbs(t([[5]]), t([[1], [-1]]), int([1]), { chunkSize: 1, softCap: 1 }).logProbs,
      [-2 * 0.99990920426 - Math.log1p(Math.exp(-2 * 0.99990920426))],
    ),
  ];
}

/** At least one known value per primitive: the type says so. */
const byPrimitive: { readonly [Name in OpName]: readonly KnownValue[] } = {
  data: [known(() => t([1.5, -2]), [1.5, -2])],
  input: [],
  full: [known(() => full([2], -7, 'int8'), [-7, -7])],
  iota: [
    known(() => iota([2, 3], 1), [0, 1, 2, 0, 1, 2]),
    known(() => iota([2, 3], -1), [0, 1, 2, 0, 1, 2]),
    known(() => iota([2, 3], 0, 'float32'), [0, 0, 0, 1, 1, 1]),
  ],
  // The known-answer vector of Random123 for an all-zero key and counter.
  randomBits: [known(() => randomBits(int([0, 0]), [2]), [0x6b200159, 0x99ba4efe | 0])],

  neg: [known(() => int([1, -2]).neg(), [-1, 2]), known(() => t([-128], 'int8').neg(), [-128])],
  exp: [known(() => t([0, 1, -1]).exp(), [1, E, 1 / E])],
  log: [known(() => t([1, E, 0, -1]).log(), [0, 1, Number.NEGATIVE_INFINITY, NAN])],
  sqrt: [known(() => t([4, 2, -1]).sqrt(), [2, SQRT2, NAN])],
  reciprocal: [known(() => t([4, -2, 0]).reciprocal(), [0.25, -0.5, Number.POSITIVE_INFINITY])],
  sin: [known(() => t([0, PI / 2, -PI / 6]).sin(), [0, 1, -0.5])],
  cos: [known(() => t([0, PI, PI / 3]).cos(), [1, -1, 0.5])],
  tanh: [known(() => t([0, LN2, 30]).tanh(), [0, 0.6, 1])],
  // Abramowitz and Stegun, table 7.1.
  erf: [known(() => t([0, 0.5, 1, -2, 3]).erf(), [0, 0.5204998778, 0.8427007929, -0.995322265, 0.9999779095])],
  sigmoid: [known(() => t([0, Math.log(3), -200]).sigmoid(), [0.5, 0.75, 0])],
  abs: [known(() => int([-3, 3]).abs(), [3, 3])],
  sign: [known(() => t([-3, 0, 0.1]).sign(), [-1, 0, 1])],
  floor: [known(() => t([-1.5, 1.5, -1]).floor(), [-2, 1, -1])],
  not: [known(() => bool([0, 1]).not(), [1, 0])],
  isNaN: [known(() => t([NAN, 0, Number.POSITIVE_INFINITY]).isNaN(), [1, 0, 0])],
  cast: [
    known(() => t([-2.7, 2.7]).cast('int32'), [-2, 2]),
    known(() => int([300, -1]).cast('uint8'), [44, 255]),
    known(() => t([0.5, 0, NAN]).cast('bool'), [1, 0, 1]),
    known(() => t([1 + 2 ** -8, 1 + 3 * 2 ** -8]).cast('bfloat16'), [1, 1 + 2 ** -6]),
    known(
      () => t([1 + 2 ** -11, 1 + 3 * 2 ** -11, 70000, 3e-8]).cast('float16'),
      [1, 1 + 2 ** -9, Number.POSITIVE_INFINITY, 2 ** -24],
    ),
  ],

  add: [known(() => int([2 ** 31 - 1]).add(1), [-(2 ** 31)]), known(() => t([1, 2]).add(0.5), [1.5, 2.5])],
  sub: [known(() => t([3], 'uint8').sub(t([5], 'uint8')), [254])],
  mul: [
    known(() => int([65537]).mul(65537), [131073]),
    known(() => t([100], 'int8').mul(3), [44]),
    known(() => t([2, 3]).mul(t([[1], [10]])), [2, 3, 20, 30]),
  ],
  div: [known(() => t([1, -1, 0]).div(t([4, 0, 0])), [0.25, Number.NEGATIVE_INFINITY, NAN])],
  pow: [known(() => t([2, -2, 0, 1, NAN]).pow(t([10, 3, 0, NAN, 0])), [1024, -8, 1, 1, 1])],
  maximum: [known(() => t([1, 5, NAN]).maximum(3), [3, 5, NAN])],
  minimum: [known(() => t([1, 5, NAN]).minimum(3), [1, 3, NAN])],
  mod: [known(() => int([7, -7, 7, -7]).mod(int([3, 3, -3, -3])), [1, 2, -2, -1])],
  equal: [known(() => t([1, NAN, 0]).equal(t([1, NAN, -0])), [1, 0, 1])],
  less: [known(() => int([1, 2, 3]).less(2), [1, 0, 0]), known(() => int([1, 2, 3]).greater(2), [0, 0, 1])],
  lessEqual: [known(() => int([1, 2, 3]).lessEqual(2), [1, 1, 0]), known(() => t([1, NAN]).greaterEqual(1), [1, 0])],
  and: [known(() => bool([0, 0, 1, 1]).and(bool([0, 1, 0, 1])), [0, 0, 0, 1])],
  or: [known(() => bool([0, 0, 1, 1]).or(bool([0, 1, 0, 1])), [0, 1, 1, 1])],
  where: [known(() => where(bool([1, 0]), t([1, NAN]), 5), [1, 5])],

  reshape: [known(() => matrix().reshape([3, -1]).slice(1, 1), [2, 4, 6])],
  transpose: [
    known(() => matrix().transpose(), [1, 4, 2, 5, 3, 6]),
    known(() => iota([2, 3, 2], 1).transpose([1, 2, 0]).reshape([-1]), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]),
  ],
  broadcastTo: [known(() => t([[1], [2]]).broadcastTo([2, 2, 2]), [1, 1, 2, 2, 1, 1, 2, 2])],
  slice: [
    known(() => matrix().slice(-1, 0, undefined, 2), [1, 3, 4, 6]),
    known(() => matrix().slice(0, -1), [4, 5, 6]),
  ],
  pad: [known(() => t([1, 2]).pad(0, 1, 2, 9), [9, 1, 2, 9, 9])],
  concat: [known(() => concat([t([[1], [2]]), t([[3], [4]])], 1), [1, 3, 2, 4])],

  sum: [
    known(() => matrix().sum(), [21]),
    known(() => matrix().sum(0), [5, 7, 9]),
    known(() => t([100, 100], 'int8').sum(), [-56]),
    known(() => tensor([], [2, 0]).sum(1), [0, 0]),
  ],
  max: [
    known(() => matrix().max(1), [3, 6]),
    known(() => t([-7, -3], 'int8').max(), [-3]),
    known(() => int([-7, -3]).max(), [-3]),
  ],
  argMax: [
    known(
      () =>
        t([
          [1, 3, 3],
          [2, 1, 0],
        ]).argMax(1),
      [1, 0],
    ),
  ],
  cumsum: [
    known(() => matrix().cumsum(1), [1, 3, 6, 4, 9, 15]),
    known(() => int([1, 2, 3]).cumsum(0, { exclusive: true }), [0, 1, 3]),
    known(() => int([1, 2, 3]).cumsum(0, { reverse: true }), [6, 5, 3]),
    known(() => int([1, 2, 3]).cumsum(0, { exclusive: true, reverse: true }), [5, 3, 0]),
  ],
  topK: [
    known(() => t([1, 5, 3, 5]).topK(3).values, [5, 5, 3]),
    known(() => t([1, 5, 3, 5]).topK(3).indices, [1, 3, 2]),
  ],
  matmul: [
    known(() => matrix().matmul(t([[1], [0], [-1]])), [-2, -2]),
    known(() => matrix().matmul(matrix(), { transposeB: true }), [14, 32, 32, 77]),
    known(() => matrix().matmul(matrix(), { transposeA: true }), [17, 22, 27, 22, 29, 36, 27, 36, 45]),
    known(() => t([[[1, 2]], [[3, 4]]]).matmul(t([[1], [1]])), [3, 7]),
    known(() => tensor([], [2, 0]).matmul(tensor([], [0, 1])), [0, 0]),
  ],

  gather: [known(() => matrix().gather(int([2, 0, 2]), 1), [3, 1, 3, 6, 4, 6])],
  scatterAdd: [known(() => scatterAdd(int([1, 1, 3]), t([1, 2, 4]), { axis: 0, size: 5 }), [0, 3, 0, 4, 0])],
  takeAlongAxis: [known(() => matrix().takeAlongAxis(int([[2], [0]]), 1), [3, 4])],
  addAlongAxis: [
    known(
      () =>
        addAlongAxis(
          int([
            [1, 1],
            [0, 2],
          ]),
          t([
            [1, 2],
            [3, 4],
          ]),
          { axis: -1, size: 3 },
        ),
      [0, 3, 0, 3, 0, 4],
    ),
  ],
  putAlongAxis: [known(() => matrix().putAlongAxis(int([[2], [0]]), t([[-1], [-2]]), 1), [1, 2, -1, -2, 5, 6])],

  barrier: [known(() => barrier(t([3, 4]), [t([5])]), [3, 4])],
  stopGradient: [known(() => stopGradient(t([3])), [3])],
  customVjp: [
    known(
      () =>
        customVjp(
          (x) => [x!.mul(2)],
          () => [],
        )(t([3]))[0]!,
      [6],
    ),
  ],
  kernel: kernels(),
};

/** Every known value, with the primitive that it belongs to. */
export const knownValues = (): readonly (KnownValue & { readonly op: OpName })[] =>
  Object.entries(byPrimitive).flatMap(([op, values]) => values.map((value) => ({ ...value, op: op as OpName })));
