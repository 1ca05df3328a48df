import { DTYPES, type DType, isFloat } from '../dtype.js';
import type { OpName } from '../graph/node.js';
import { inferOutputs } from '../graph/rules.js';
import type { Shape } from '../shape.js';
import { apply, type Tensor, where } from '../tensor.js';
import { type ConformanceCase, defineCase, given, type SampleOptions, sample } from './case.js';

/** The dtypes that the rule of `op` admits for `count` equal inputs. */
export function admittedDTypes(op: OpName, count: number): DType[] {
  return DTYPES.filter((dtype) => {
    try {
      inferOutputs(op, new Array(count).fill({ shape: [2], dtype }), {} as never);
      return true;
    } catch {
      return false;
    }
  });
}

const UNARY_SHAPES: readonly Shape[] = [[2, 3], [], [1], [0, 3], [5, 7, 3]];

/** Results that are no floats: nothing to differentiate. */
const WITHOUT_GRADIENT: ReadonlySet<OpName> = new Set(['isNaN', 'not', 'equal', 'less', 'lessEqual', 'and', 'or']);

/** Every admitted dtype, a scalar, size 1, an empty dimension and several axes; further cases as given. */
function unary(op: OpName, domain: SampleOptions = {}, ...more: ConformanceCase[]): ConformanceCase[] {
  const run = (x: Tensor) => apply(op, [x], {} as never);
  const dtypes = admittedDTypes(op, 1);
  const options = WITHOUT_GRADIENT.has(op) ? { variables: [] } : {};
  return [
    ...dtypes.map((dtype) => defineCase(op, [sample([2, 4], dtype, isFloat(dtype) ? domain : {})], run, options)),
    ...UNARY_SHAPES.map((shape) => defineCase(op, [sample(shape, dtypes[0]!, domain)], run, options)),
    ...more,
  ];
}

/** Values at the edges of float32: no gradient is asked for there. */
const atEdges = (op: OpName, values: readonly number[]): ConformanceCase =>
  defineCase(op, [given(values)], (x) => apply(op, [x!], {} as never), { note: 'special values', variables: [] });

const SPECIAL = [0, -0, Infinity, -Infinity, NaN, 1, -1];

const BROADCASTS: readonly (readonly [Shape, Shape])[] = [
  [[2, 3], [3]],
  [
    [2, 1],
    [1, 3],
  ],
  [[], [2, 2]],
  [[4], []],
  [
    [3, 1, 2],
    [1, 4, 1],
  ],
  [
    [0, 3],
    [1, 3],
  ],
  [[2, 0], [1]],
  [[1], [1, 1, 1]],
];

interface BinaryOptions {
  readonly a?: SampleOptions;
  readonly b?: SampleOptions;
}

function binary(op: OpName, { a, b }: BinaryOptions = {}, ...more: ConformanceCase[]): ConformanceCase[] {
  const run = (x: Tensor, y: Tensor) => apply(op, [x, y], {} as never);
  const dtypes = admittedDTypes(op, 2);
  const make = (left: Shape, right: Shape, dtype: DType) => {
    const domains = isFloat(dtype) ? [a, b] : dtype === 'int32' && op === 'mod' ? [{ low: -9, high: 9 }, b] : [{}, {}];
    const inputs = [sample(left, dtype, { ...domains[0], seed: 0 }), sample(right, dtype, { ...domains[1], seed: 1 })];
    return defineCase(
      op,
      inputs,
      run as (...inputs: Tensor[]) => Tensor,
      WITHOUT_GRADIENT.has(op) ? { variables: [] } : {},
    );
  };
  return [
    ...dtypes.map((dtype) => make([2, 3], [2, 3], dtype)),
    ...BROADCASTS.map(([left, right]) => make(left, right, dtypes[0]!)),
    make([17, 31], [31], dtypes[0]!),
    ...more,
  ];
}

const pair = (op: OpName, a: readonly number[], b: readonly number[], dtype: DType, note: string) =>
  defineCase(op, [given(a, dtype), given(b, dtype)], (x, y) => apply(op, [x!, y!], {} as never), {
    note,
    variables: [],
  });

const POSITIVE = { low: 0.3, high: 3 };
const LEFT = [0, -0, Infinity, -Infinity, NaN, 1, NaN, 2];
const RIGHT = [-0, 0, Infinity, 1, 1, NaN, NaN, 2];

/** Values that casts between the dtypes hold without leaving the target's range. */
const CAST_VALUES: Record<DType, readonly number[]> = {
  float32: [0, 1, 2.7, 100.2, 0.3, 7.999, 64.5],
  float16: [0, 1, 2.75, 100, 0.25, 7.5, 64],
  bfloat16: [0, 1, 2.75, 100, 0.25, 7.5, 64],
  int32: [0, 1, 2, 100, 3, 127, 7],
  int8: [0, 1, 2, 100, 3, 127, 7],
  uint8: [0, 1, 2, 100, 3, 127, 7],
  bool: [0, 1, 1, 0, 0, 1, 1],
};

function castCases(): ConformanceCase[] {
  const pairs = DTYPES.flatMap((from) => DTYPES.filter((to) => to !== from).map((to) => [from, to] as const));
  return [
    ...pairs.map(([from, to]) =>
      defineCase('cast', [given(CAST_VALUES[from], from)], (x) => x!.cast(to), {
        note: `to ${to}`,
        // A 16-bit result is a staircase, which has no difference quotient; its gradient is a cast as well.
        variables: [],
      }),
    ),
    defineCase('cast', [given([-2.7, -0.5, -1, 2.999, -100.4])], (x) => x!.cast('int32'), {
      note: 'truncates towards zero',
      variables: [],
    }),
    defineCase('cast', [given([-1, 300, -129, 255, 128], 'int32')], (x) => [x!.cast('int8'), x!.cast('uint8')], {
      note: 'integers wrap',
    }),
    // Halfway between two neighbours in bfloat16 (1 + 2^-8, 1 + 3 · 2^-8) and float16 (1 + 2^-11, 1 + 3 · 2^-11).
    defineCase(
      'cast',
      [given([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 3.3e38, 70000, 65519, 1e-7, -3e-8])],
      (x) => [x!.cast('bfloat16'), x!.cast('float16')],
      { note: 'ties to even, overflow, subnormals', variables: [] },
    ),
    defineCase('cast', [given([0.5, -0.25, NaN, 0, -0])], (x) => x!.cast('bool'), {
      note: 'to bool is not zero',
      variables: [],
    }),
    ...(['float16', 'int32', 'bfloat16'] as const).flatMap((to) => [
      defineCase('cast', [sample([0, 2])], (x) => x!.cast(to), { note: `to ${to}`, variables: [] }),
      defineCase('cast', [sample([])], (x) => x!.cast(to), { note: `to ${to}`, variables: [] }),
    ]),
    defineCase('cast', [sample([2, 3], 'float16')], (x) => x!.cast('float32').square(), { note: 'squared in float32' }),
  ];
}

function whereCases(): ConformanceCase[] {
  const condition = sample([2, 3], 'bool', { seed: 3 });
  const run = (c: Tensor, a: Tensor, b: Tensor) => where(c, a, b);
  const shapes: readonly (readonly [Shape, Shape, Shape])[] = [
    [[2, 3], [3], []],
    [[3], [2, 3], [2, 1]],
    [[], [2], [2]],
    [
      [0, 2],
      [1, 2],
      [0, 1],
    ],
    [[1], [], []],
    [
      [2, 1, 1],
      [1, 3, 1],
      [1, 1, 4],
    ],
  ];
  return [
    ...DTYPES.map((dtype) =>
      defineCase(
        'where',
        [condition, sample([2, 3], dtype, { seed: 1 }), sample([2, 3], dtype, { seed: 2 })],
        run as (...inputs: Tensor[]) => Tensor,
      ),
    ),
    ...shapes.map(([c, a, b]) =>
      defineCase(
        'where',
        [sample(c, 'bool'), sample(a, 'float32', { seed: 1 }), sample(b, 'float32', { seed: 2 })],
        run as (...inputs: Tensor[]) => Tensor,
      ),
    ),
    defineCase('where', [given([1, 0], 'bool'), given([NaN, NaN]), given([1, 2])], (c, a, b) => where(c!, a!, b!), {
      note: 'hides the NaN not chosen',
      variables: [],
    }),
  ];
}

/** Cases of the primitives that work element by element. */
export const elementwiseCases = {
  neg: () => unary('neg'),
  exp: () => unary('exp', {}, atEdges('exp', [...SPECIAL, 88, -104])),
  log: () => unary('log', POSITIVE, atEdges('log', SPECIAL)),
  sqrt: () => unary('sqrt', POSITIVE, atEdges('sqrt', SPECIAL)),
  reciprocal: () => unary('reciprocal', POSITIVE, atEdges('reciprocal', SPECIAL)),
  sin: () => unary('sin', { low: -7, high: 7 }),
  cos: () => unary('cos', { low: -7, high: 7 }),
  tanh: () => unary('tanh', {}, atEdges('tanh', [...SPECIAL, 20, -20])),
  erf: () => unary('erf', {}, atEdges('erf', [0, Infinity, -Infinity, 4, -4, 2.49, 2.51, 1e-4])),
  sigmoid: () => unary('sigmoid', {}, atEdges('sigmoid', [...SPECIAL, 80, -80])),
  abs: () => unary('abs', {}, atEdges('abs', SPECIAL)),
  sign: () => unary('sign', {}, atEdges('sign', [0, -0, 5, -5, Infinity, -Infinity])),
  floor: () => unary('floor', {}, atEdges('floor', [-1.5, -0.2, 0, 0.9, 1, 2.5, -3])),
  not: () => unary('not'),
  isNaN: () => unary('isNaN', {}, atEdges('isNaN', SPECIAL)),
  cast: castCases,

  add: () =>
    binary(
      'add',
      {},
      pair('add', LEFT, RIGHT, 'float32', 'special values'),
      pair('add', [2 ** 31 - 1, -(2 ** 31)], [1, -1], 'int32', 'wraps'),
      pair('add', [127, -128], [1, -1], 'int8', 'wraps'),
      pair('add', [200, 255], [100, 1], 'uint8', 'wraps'),
      defineCase('add', [sample([3])], (x) => x!.add(1.5), { note: 'plus a number' }),
    ),
  sub: () =>
    binary(
      'sub',
      {},
      pair('sub', [-(2 ** 31), 5], [1, 7], 'int32', 'wraps'),
      pair('sub', [3, 0], [5, 1], 'uint8', 'wraps'),
    ),
  mul: () =>
    binary(
      'mul',
      {},
      pair('mul', LEFT, RIGHT, 'float32', 'special values'),
      pair('mul', [2 ** 31 - 1, 65537], [2 ** 31 - 1, 65537], 'int32', 'wraps'),
      pair('mul', [100, -100], [3, 3], 'int8', 'wraps'),
      defineCase('mul', [sample([3])], (x) => x!.square(), { note: 'by itself' }),
    ),
  div: () => binary('div', { b: POSITIVE }, pair('div', LEFT, RIGHT, 'float32', 'special values')),
  pow: () =>
    binary(
      'pow',
      { a: POSITIVE },
      pair('pow', [0, 0, 2, -2, 1, Infinity], [0, 2, 0, 3, NaN, -1], 'float32', 'special values'),
      defineCase('pow', [given([-1.5, 0, 2])], (x) => [x!.pow(2), x!.pow(3), x!.pow(1)], { note: 'whole exponents' }),
    ),
  maximum: () =>
    binary(
      'maximum',
      {},
      pair('maximum', LEFT, RIGHT, 'float32', 'special values'),
      defineCase('maximum', [sample([2, 5])], (x) => x!.maximum(-1.03).minimum(0.71), { note: 'limits' }),
    ),
  minimum: () => binary('minimum', {}, pair('minimum', LEFT, RIGHT, 'float32', 'special values')),
  mod: () =>
    binary(
      'mod',
      { b: { low: 1, high: 5 } },
      pair(
        'mod',
        [7, -7, 7, -7, 2 ** 31 - 1, -(2 ** 31)],
        [3, 3, -3, -3, 2 ** 24, 2 ** 24],
        'int32',
        'sign of divisor',
      ),
    ),
  equal: () =>
    binary(
      'equal',
      {},
      pair('equal', LEFT, RIGHT, 'float32', 'special values'),
      defineCase('equal', [given([1, 2, 3]), given([1, 0, 3])], (a, b) => [a!.notEqual(b!), a!.equal(2)], {
        variables: [],
      }),
    ),
  less: () =>
    binary(
      'less',
      {},
      pair('less', LEFT, RIGHT, 'float32', 'special values'),
      defineCase('less', [given([1, 2, 3]), given([1, 0, 4])], (a, b) => [a!.greater(b!), a!.less(2)], {
        note: 'either way',
        variables: [],
      }),
    ),
  lessEqual: () =>
    binary(
      'lessEqual',
      {},
      pair('lessEqual', LEFT, RIGHT, 'float32', 'special values'),
      defineCase('lessEqual', [given([1, 2, 3]), given([1, 0, 4])], (a, b) => a!.greaterEqual(b!), {
        note: 'either way',
        variables: [],
      }),
    ),
  and: () => binary('and'),
  or: () => binary('or'),
  where: whereCases,
} satisfies Partial<Record<OpName, () => ConformanceCase[]>>;
