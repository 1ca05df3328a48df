import { customVjp, stopGradient } from '../autodiff/grad.js';
import { DTYPES, type DType } from '../dtype.js';
import type { OpName } from '../graph/node.js';
import type { Shape } from '../shape.js';
import { addAlongAxis, type ReduceOptions, scatterAdd, type Tensor } from '../tensor.js';
import { type CaseInput, type ConformanceCase, defineCase, given, indices, sample } from './case.js';

const NUMERIC: readonly DType[] = ['float32', 'float16', 'int32', 'int8', 'uint8'];

const KEEP: ReduceOptions = { keepDims: true };

function sumCases(): ConformanceCase[] {
  const on = (shape: Shape, note: string, run: (x: Tensor) => Tensor | Tensor[]) =>
    defineCase('sum', [sample(shape)], (x) => run(x!), { note });
  return [
    ...NUMERIC.map((dtype) => defineCase('sum', [sample([3, 4], dtype)], (x) => [x!.sum(), x!.sum(0), x!.sum(1)])),
    defineCase('sum', [given([100, 100, 100], 'int8')], (x) => x!.sum(), { note: 'wraps' }),
    on([2, 3, 4], 'some axes', (x) => [x.sum([0, 2]), x.sum(-1), x.sum([-3, 1], KEEP)]),
    on([2, 3], 'kept', (x) => [x.sum(undefined, KEEP), x.sum(0, KEEP)]),
    on([], 'of a scalar', (x) => x.sum()),
    on([0, 3], 'empty', (x) => [x.sum(0), x.sum(1), x.sum()]),
    on([1, 1], 'size 1', (x) => [x.sum(0), x.sum()]),
    on([2, 3], 'over no axis', (x) => x.sum([])),
    on([31, 17], 'mean', (x) => [x.mean(), x.mean(1), x.mean(-2, KEEP)]),
  ];
}

function maxCases(): ConformanceCase[] {
  return [
    ...NUMERIC.map((dtype) => defineCase('max', [sample([3, 4], dtype)], (x) => [x!.max(), x!.max(0), x!.max(1)])),
    ...(['int32', 'int8'] as const).map((dtype) =>
      defineCase('max', [given([-7, -3, -9], dtype)], (x) => x!.max(), { note: 'all negative' }),
    ),
    defineCase('max', [sample([2, 3, 4])], (x) => [x!.max([0, 2]), x!.max(-1, KEEP), x!.max([])], {
      note: 'some axes',
    }),
    defineCase('max', [sample([])], (x) => x!.max(), { note: 'of a scalar' }),
    defineCase('max', [sample([1, 1])], (x) => x!.max(1), { note: 'size 1' }),
    defineCase('max', [sample([0, 3])], (x) => x!.max(1), { note: 'empty result' }),
    defineCase('max', [given([1, -Infinity, -Infinity, -Infinity, 2, Infinity], 'float32', [3, 2])], (x) => x!.max(1), {
      // What the largest of numbers and NaN is, is left to the engine: looking for NaN would cost every softmax.
      note: 'infinities',
      variables: [],
    }),
    defineCase('max', [sample([4, 5])], (x) => [x!.min(), x!.min(0), x!.min(-1, KEEP)], { note: 'min' }),
  ];
}

function cumsumCases(): ConformanceCase[] {
  return [
    ...(['float32', 'float16', 'int32'] as const).map((dtype) =>
      defineCase('cumsum', [sample([3, 4], dtype)], (x) => [x!.cumsum(0), x!.cumsum(-1)]),
    ),
    ...[true, false].flatMap((exclusive) =>
      [true, false].map((reverse) =>
        defineCase('cumsum', [sample([2, 5, 2])], (x) => x!.cumsum(1, { exclusive, reverse }), {
          note: `exclusive ${exclusive}, reverse ${reverse}`,
        }),
      ),
    ),
    defineCase('cumsum', [sample([2, 0])], (x) => x!.cumsum(1), { note: 'empty' }),
    defineCase('cumsum', [sample([1])], (x) => x!.cumsum(0, { exclusive: true }), { note: 'size 1, exclusive' }),
  ];
}

function matmulCases(): ConformanceCase[] {
  const product = (a: Shape, b: Shape, flags = {}, note?: string, dtype: DType = 'float32') =>
    defineCase(
      'matmul',
      [sample(a, dtype), sample(b, dtype, { seed: 1 })],
      (x, y) => x!.matmul(y!, flags),
      note ? { note } : {},
    );
  const flags = [true, false].flatMap((transposeA) => [true, false].map((transposeB) => ({ transposeA, transposeB })));
  return [
    product([2, 3], [3, 4]),
    product([2, 3], [3, 4], {}, undefined, 'float16'),
    ...flags.flatMap(({ transposeA, transposeB }) => {
      const [a, b] = [transposeA ? [3, 2] : [2, 3], transposeB ? [4, 3] : [3, 4]];
      const note = `transposeA ${transposeA}, transposeB ${transposeB}`;
      return [
        product(a, b, { transposeA, transposeB }, note),
        product([5, ...a], [5, ...b], { transposeA, transposeB }, note),
        product([5, ...a], b, { transposeA, transposeB }, note),
        product([2, 1, ...a], [3, ...b], { transposeA, transposeB }, note),
      ];
    }),
    product([1, 1], [1, 1]),
    product([0, 3], [3, 4]),
    product([2, 0], [0, 4], {}, 'an empty sum'),
    product([0, 2, 3], [0, 3, 1]),
    product([2, 3], [0, 3, 4], {}, 'an empty batch'),
    product([33, 65], [65, 17]),
    defineCase('matmul', [sample([3, 3])], (x) => x!.matmul(x!, { transposeB: true }), { note: 'by itself' }),
    defineCase('matmul', [sample([2, 3]), sample([3, 2], 'float32', { seed: 1 })], (x, y) => x!.matmul(y!).mul(0.125), {
      note: 'scaled',
    }),
  ];
}

function gatherCases(): ConformanceCase[] {
  const from = (x: CaseInput, at: CaseInput, axis: number) =>
    defineCase('gather', [x, at], (t, i) => t!.gather(i!, axis), { note: `axis ${axis}` });
  return [
    ...DTYPES.map((dtype) => from(sample([4, 3], dtype), indices([2], 4), 0)),
    from(sample([4, 3]), indices([2, 5], 3), 1),
    from(sample([4, 3, 2]), indices([2, 2], 3), -2),
    from(sample([4, 3]), indices([], 4), 0),
    from(sample([4, 3]), indices([0], 4), 0),
    from(sample([4, 0]), indices([2], 4), 0),
    from(sample([5]), given([3, 3, 3, 0], 'int32'), 0),
    from(sample([1, 2]), indices([3], 1), 0),
  ];
}

function scatterCases(): ConformanceCase[] {
  const into = (at: CaseInput, updates: CaseInput, axis: number, size: number) =>
    defineCase('scatterAdd', [at, updates], (i, u) => scatterAdd(i!, u!, { axis, size }), {
      note: `axis ${axis}, size ${size}`,
    });
  return [
    ...NUMERIC.map((dtype) => into(indices([3], 4), sample([3, 2], dtype), 0, 4)),
    into(given([1, 1, 1], 'int32'), sample([3, 2]), 0, 2),
    into(indices([2, 2], 3), sample([4, 2, 2]), 1, 3),
    into(indices([2, 2], 5), sample([2, 2, 3]), 0, 5),
    into(indices([], 4), sample([3]), 0, 4),
    into(indices([0], 4), sample([0, 2]), 0, 4),
    into(indices([2], 4), sample([2, 0]), 0, 4),
  ];
}

function alongAxisCases(op: 'takeAlongAxis' | 'addAlongAxis'): ConformanceCase[] {
  const at = (dtype: DType, shape: Shape, wanted: Shape, axis: number): ConformanceCase => {
    const size = shape.at(axis)!;
    return op === 'takeAlongAxis'
      ? defineCase(op, [sample(shape, dtype), indices(wanted, size)], (x, i) => x!.takeAlongAxis(i!, axis), {
          note: `axis ${axis}`,
        })
      : defineCase(
          op,
          [indices(wanted, size), sample(wanted, dtype)],
          (i, u) => addAlongAxis(i!, u!, { axis: axis < 0 ? axis + wanted.length : axis, size }),
          { note: `axis ${axis}, size ${size}` },
        );
  };
  return [
    ...(op === 'takeAlongAxis' ? DTYPES : NUMERIC).map((dtype) => at(dtype, [3, 4], [3, 2], 1)),
    at('float32', [4, 3], [2, 3], 0),
    at('float32', [2, 5, 3], [2, 7, 3], -2),
    at('float32', [3, 4], [3, 0], 1),
    at('float32', [0, 4], [0, 2], 1),
    at('float32', [1], [3], 0),
    at('float32', [7, 50], [7, 1], 1),
  ];
}

function putCases(): ConformanceCase[] {
  const put = (x: CaseInput, at: CaseInput, updates: CaseInput, axis: number) =>
    defineCase('putAlongAxis', [x, at, updates], (t, i, u) => t!.putAlongAxis(i!, u!, axis), { note: `axis ${axis}` });
  const places = given([3, 0, 1, 2, 0, 3], 'int32', [3, 2]);
  return [
    ...DTYPES.map((dtype) => put(sample([3, 4], dtype), places, sample([3, 2], dtype, { seed: 1 }), 1)),
    put(sample([4, 2]), given([3, 1], 'int32', [1, 2]), sample([1, 2], 'float32', { seed: 1 }), 0),
    put(sample([2, 3, 2]), given([2, 0, 1, 1], 'int32', [2, 1, 2]), sample([2, 1, 2], 'float32', { seed: 1 }), -2),
    put(sample([3, 4]), given([], 'int32', [3, 0]), sample([3, 0]), 1),
    put(sample([1]), given([0], 'int32'), sample([1], 'float32', { seed: 1 }), 0),
  ];
}

/** Cases of reductions, products, indexing and of the marks for differentiation. */
export const reductionCases = {
  sum: sumCases,
  max: maxCases,
  argMax: () => [
    ...NUMERIC.map((dtype) =>
      defineCase('argMax', [sample([3, 5], dtype)], (x) => [x!.argMax(0), x!.argMax(1)], { variables: [] }),
    ),
    defineCase('argMax', [given([2, 5, 5, 1, 1, 1], 'float32', [2, 3])], (x) => [x!.argMax(1), x!.argMax(-1, KEEP)], {
      note: 'the first of several',
      variables: [],
    }),
    defineCase('argMax', [sample([0, 3])], (x) => x!.argMax(1), { note: 'empty result', variables: [] }),
    defineCase('argMax', [sample([1])], (x) => x!.argMax(0), { note: 'size 1', variables: [] }),
  ],
  cumsum: cumsumCases,
  topK: () => [
    ...(['float32', 'float16'] as const).map((dtype) =>
      defineCase('topK', [sample([3, 6], dtype)], (x) => Object.values(x!.topK(2))),
    ),
    defineCase('topK', [sample([2, 5])], (x) => Object.values(x!.topK(5)), { note: 'all' }),
    defineCase('topK', [sample([7])], (x) => x!.topK(3).values, { note: 'values only' }),
    defineCase('topK', [sample([7])], (x) => x!.topK(1).indices, { note: 'indices only', variables: [] }),
    defineCase('topK', [sample([0, 4])], (x) => Object.values(x!.topK(2)), { note: 'empty' }),
    defineCase('topK', [given([1, 3, 3, 2])], (x) => Object.values(x!.topK(2)), {
      note: 'the first of equals',
      variables: [],
    }),
  ],
  matmul: matmulCases,
  gather: gatherCases,
  scatterAdd: scatterCases,
  takeAlongAxis: () => alongAxisCases('takeAlongAxis'),
  addAlongAxis: () => alongAxisCases('addAlongAxis'),
  putAlongAxis: putCases,

  // Central differences do not see where a gradient was stopped or replaced, so those are tests of their own.
  stopGradient: () =>
    DTYPES.map((dtype) =>
      defineCase('stopGradient', [sample([2, 2], dtype)], (x) => stopGradient(x!), { variables: [] }),
    ),
  customVjp: () => [
    defineCase(
      'customVjp',
      [sample([2, 3])],
      customVjp(
        (x) => [x!.square(), x!.sin()],
        ({ inputs: [x], cotangents: [a, b] }) => [
          (a ?? x!.mul(0))
            .mul(x!)
            .mul(2)
            .add((b ?? x!.mul(0)).mul(x!.cos())),
        ],
      ),
      { note: 'with the true derivative' },
    ),
  ],
} satisfies Partial<Record<OpName, () => ConformanceCase[]>>;
