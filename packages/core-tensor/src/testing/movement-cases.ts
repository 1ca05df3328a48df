import { full, iota, tensor } from '../create.js';
import { DTYPES, type DType } from '../dtype.js';
import type { OpName } from '../graph/node.js';
import { randomBits } from '../random/random.js';
import type { Shape } from '../shape.js';
import { concat, fromHost, stack, type Tensor } from '../tensor.js';
import { type CaseInput, type ConformanceCase, defineCase, given, sample } from './case.js';

/** The same movement for every dtype, storage types included. */
const everyDType = (op: OpName, shape: Shape, run: (x: Tensor) => Tensor): ConformanceCase[] =>
  DTYPES.map((dtype) => defineCase(op, [sample(shape, dtype)], run as (...inputs: Tensor[]) => Tensor));

const shaped = (op: OpName, shape: Shape, note: string, run: (x: Tensor) => Tensor): ConformanceCase =>
  defineCase(op, [sample(shape)], run as (...inputs: Tensor[]) => Tensor, { note });

const leaf = (op: OpName, note: string, run: () => Tensor | readonly Tensor[]) => defineCase(op, [], run, { note });

function constants(count: number): Tensor[] {
  return DTYPES.map((dtype) => {
    const { data, shape } = sample([count], dtype);
    return fromHost(data, shape, dtype);
  });
}

function fullCases(): ConformanceCase[] {
  const values: Record<DType, readonly number[]> = {
    float32: [0, 1.5, -1e30, Infinity, NaN],
    float16: [0, 1.5, -65504],
    bfloat16: [0, 1.5, -3],
    int32: [0, 7, -(2 ** 31), 2 ** 31 - 1],
    int8: [0, -128, 127],
    uint8: [0, 255],
    bool: [0, 1],
  };
  return [
    ...DTYPES.map((dtype) => leaf('full', dtype, () => values[dtype].map((value) => full([2, 2], value, dtype)))),
    leaf('full', 'scalar, size 1, empty', () => [full([], 3), full([1, 1], 4), full([0], 5), full([2, 0, 3], 6)]),
  ];
}

function concatCases(): ConformanceCase[] {
  const join =
    (axis: number) =>
    (...parts: Tensor[]) =>
      concat(parts, axis);
  const parts = (...shapes: Shape[]): CaseInput[] => shapes.map((shape, seed) => sample(shape, 'float32', { seed }));
  return [
    ...DTYPES.map((dtype) => defineCase('concat', [sample([2, 1], dtype), sample([2, 3], dtype)], join(1))),
    defineCase('concat', parts([2, 3], [1, 3], [4, 3]), join(0), { note: 'axis 0' }),
    defineCase('concat', parts([2, 3], [2, 2]), join(-1), { note: 'axis -1' }),
    defineCase('concat', parts([2, 1, 2], [2, 3, 2]), join(-2), { note: 'axis -2' }),
    defineCase('concat', parts([0, 3], [2, 3]), join(0), { note: 'an empty part' }),
    defineCase('concat', parts([0], [0]), join(0), { note: 'only empty parts' }),
    defineCase('concat', parts([2, 3]), (x) => concat([x!, x!, x!], 1), { note: 'one tensor three times' }),
    defineCase('concat', parts([2, 3], [2, 3]), (...x) => [stack(x, 0), stack(x, 1), stack(x, -1)], { note: 'stack' }),
  ];
}

/** Cases of the leaves and of the primitives that only move elements. */
export const movementCases = {
  data: () => [
    leaf('data', 'small constants of every dtype', () => constants(5)),
    leaf('data', 'large constants of every dtype', () => constants(200)),
    leaf('data', 'empty and scalar', () => [tensor([], [0, 2]), tensor(3, [])]),
  ],
  input: () => [
    ...DTYPES.map((dtype) => defineCase('input', [sample([2, 3], dtype)], (x) => x!, { note: 'passed through' })),
    defineCase('input', [sample([]), sample([0, 2]), sample([1])], (...x) => x, { note: 'passed through' }),
    defineCase('input', [sample([2]), sample([3])], (x) => x!.neg(), { note: 'one of them unused', variables: [0] }),
  ],
  full: fullCases,
  iota: () => [
    leaf('iota', 'int32', () => [iota([5]), iota([2, 3], 0), iota([2, 3], 1), iota([2, 3, 2], -2), iota([2, 3], -1)]),
    leaf('iota', 'float32', () => [iota([4], 0, 'float32'), iota([2, 3], 1, 'float32')]),
    leaf('iota', 'empty and size 1', () => [iota([0]), iota([3, 0], 0), iota([1, 1], 1)]),
  ],
  randomBits: () =>
    [
      [0, 0],
      [1, -1],
      [123456789, -987654321],
    ].flatMap((key) => [
      defineCase('randomBits', [given(key, 'int32')], (k) => [randomBits(k!, [7]), randomBits(k!, [2, 3, 4])], {
        note: `key ${key.join(' ')}`,
      }),
      defineCase('randomBits', [given(key, 'int32')], (k) => [0, 1, 1001].map((n) => randomBits(k!, [n])), {
        note: `key ${key.join(' ')}, empty, single, odd`,
      }),
    ]),

  reshape: () => [
    ...everyDType('reshape', [2, 6], (x) => x.reshape([3, 4])),
    shaped('reshape', [2, 6], 'one dimension left out', (x) => x.reshape([-1, 4])),
    shaped('reshape', [1, 1], 'to a scalar', (x) => x.reshape([])),
    shaped('reshape', [], 'from a scalar', (x) => x.reshape([1, 1, 1])),
    shaped('reshape', [0, 3], 'empty', (x) => x.reshape([5, 0])),
    shaped('reshape', [2, 3], 'expandDims and squeeze', (x) => x.expandDims(1).mul(2).expandDims(-1).squeeze(1)),
  ],
  transpose: () => [
    ...everyDType('transpose', [2, 3], (x) => x.transpose()),
    shaped('transpose', [2, 3, 4], '[2, 0, 1]', (x) => x.transpose([2, 0, 1])),
    shaped('transpose', [2, 3, 4, 5], '[0, 2, 1, 3]', (x) => x.transpose([0, 2, 1, 3])),
    shaped('transpose', [2, 3, 4], 'last two', (x) => x.transpose()),
    shaped('transpose', [2, 0, 4], 'empty', (x) => x.transpose([1, 2, 0])),
    shaped('transpose', [1, 1], 'size 1', (x) => x.transpose()),
    shaped('transpose', [2, 3, 4], 'there and back', (x) => x.transpose([1, 2, 0]).transpose([2, 0, 1])),
    shaped('transpose', [3], 'of no axes swapped', (x) => x.transpose([0])),
  ],
  broadcastTo: () => [
    ...everyDType('broadcastTo', [3], (x) => x.broadcastTo([2, 3])),
    shaped('broadcastTo', [], 'scalar', (x) => x.broadcastTo([2, 2])),
    shaped('broadcastTo', [2, 1, 3], 'inner', (x) => x.broadcastTo([4, 2, 5, 3])),
    shaped('broadcastTo', [1, 3], 'to empty', (x) => x.broadcastTo([0, 3])),
    shaped('broadcastTo', [0], 'from empty', (x) => x.broadcastTo([2, 0])),
  ],
  slice: () => [
    ...everyDType('slice', [4, 3], (x) => x.slice(0, 1, 3)),
    shaped('slice', [4, 5], 'negative axis and bounds', (x) => x.slice(-1, -4, -1)),
    shaped('slice', [7, 2], 'step 2', (x) => x.slice(0, 1, 6, 2)),
    shaped('slice', [2, 8], 'step 3 to the end', (x) => x.slice(1, 0, undefined, 3)),
    shaped('slice', [4, 3], 'nothing', (x) => x.slice(0, 2, 2)),
    shaped('slice', [0, 3], 'of nothing', (x) => x.slice(1, 1, 3)),
    shaped('slice', [3], 'all', (x) => x.slice(0, 0, 3)),
    shaped('slice', [1], 'size 1 with a step', (x) => x.slice(0, 0, 1, 4)),
  ],
  pad: () => [
    ...everyDType('pad', [2, 2], (x) => x.pad(1, 1, 2)),
    shaped('pad', [2, 2], 'value', (x) => x.pad(0, 2, 0, -7.5)),
    shaped('pad', [2, 2], 'minus infinity', (x) => x.pad(-1, 0, 1, -Infinity).exp()),
    shaped('pad', [0, 2], 'empty', (x) => x.pad(0, 1, 1, 3)),
    shaped('pad', [2], 'nothing', (x) => x.pad(0, 0, 0)),
    defineCase('pad', [sample([2], 'int32')], (x) => x!.pad(0, 1, 1, -3), { note: 'integer value' }),
  ],
  concat: concatCases,
} satisfies Partial<Record<OpName, () => ConformanceCase[]>>;
