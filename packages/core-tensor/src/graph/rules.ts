import { canHold, type DType, isInteger } from '../dtype.js';
import { DTypeError, ShapeError } from '../errors.js';
import { broadcastShapes, checkShape, normalizeAxis, sameShape, sizeOf } from '../shape.js';
import type { OpAttributes, OpName } from './ops.js';
import type { TensorSpec } from './spec.js';

/** Shape and dtype rule of a primitive: the output specs, or an error that names the op and the offending specs. */
type Rule<Name extends OpName> = (inputs: readonly TensorSpec[], attributes: OpAttributes[Name]) => TensorSpec[];

const one = (shape: readonly number[], dtype: DType): TensorSpec[] => [{ shape, dtype }];

function same(op: OpName, inputs: readonly TensorSpec[]): DType {
  const [first, ...rest] = inputs;
  for (const other of rest) {
    if (other.dtype !== first!.dtype) {
      throw new DTypeError(
        op,
        inputs.map((i) => i.dtype),
        'the inputs must have one dtype; cast one of them',
      );
    }
  }
  return first!.dtype;
}

function requireDType(op: OpName, spec: TensorSpec, ok: (dtype: DType) => boolean, expected: string): void {
  if (!ok(spec.dtype)) throw new DTypeError(op, [spec.dtype], `needs ${expected}`);
}

const isComputable = (dtype: DType): boolean => dtype === 'float32' || dtype === 'float16';
const isNumeric = (dtype: DType): boolean => isComputable(dtype) || isInteger(dtype);
const isBool = (dtype: DType): boolean => dtype === 'bool';
const isIndex = (dtype: DType): boolean => dtype === 'int32';

const unary =
  (op: OpName, ok: (dtype: DType) => boolean, expected: string): Rule<OpName> =>
  ([x]) => {
    requireDType(op, x!, ok, expected);
    return one(x!.shape, x!.dtype);
  };

const floatUnary = (op: OpName): Rule<OpName> => unary(op, isComputable, 'float32 or float16 (cast bfloat16 first)');
const signedUnary = (op: OpName): Rule<OpName> =>
  unary(op, (d) => isComputable(d) || d === 'int32' || d === 'int8', 'a signed number');

const binary =
  (op: OpName, ok: (dtype: DType) => boolean, expected: string, result?: DType): Rule<OpName> =>
  (inputs) => {
    const dtype = same(op, inputs);
    requireDType(op, inputs[0]!, ok, expected);
    return one(broadcastShapes(op, inputs[0]!.shape, inputs[1]!.shape), result ?? dtype);
  };

function requireHeld(op: OpName, dtype: DType, value: number): void {
  if (!canHold(dtype, value)) throw new DTypeError(op, [dtype], `the type cannot hold ${value}; cast the tensor first`);
}

function reduced(shape: readonly number[], axes: readonly number[], keepDims: boolean): number[] {
  return keepDims
    ? shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
    : shape.filter((_, axis) => !axes.includes(axis));
}

/** Shapes of `a` and `b` must agree everywhere but at `axis`. */
function requireSameExcept(op: OpName, a: TensorSpec, b: TensorSpec, axis: number): void {
  const fits = a.shape.length === b.shape.length && a.shape.every((dim, i) => i === axis || dim === b.shape[i]);
  if (!fits) throw new ShapeError(op, [a.shape, b.shape], `the shapes must agree on every axis but ${axis}`);
}

function requireSize(op: OpName, indices: TensorSpec, updates: TensorSpec, size: number): void {
  if (!Number.isInteger(size) || size < 0) {
    throw new ShapeError(op, [indices.shape, updates.shape], `the size ${size} must be a non-negative integer`);
  }
}

const rules: { [Name in OpName]: Rule<Name> } = {
  data: (_, { storage }) => [storage.spec],
  input: (_, { spec }) => [spec],
  full: (_, { shape, dtype, value }) => {
    checkShape('full', shape);
    requireHeld('full', dtype, value);
    return one(shape, dtype);
  },
  iota: (_, { shape, dtype, axis }) => {
    checkShape('iota', shape);
    normalizeAxis('iota', axis, shape);
    return one(shape, dtype);
  },
  randomBits: ([key], { shape }) => {
    checkShape('randomBits', shape);
    if (!sameShape(key!.shape, [2])) throw new ShapeError('randomBits', [key!.shape], 'the key must have shape [2]');
    requireDType('randomBits', key!, isIndex, 'an int32 key');
    return one(shape, 'int32');
  },

  neg: signedUnary('neg'),
  exp: floatUnary('exp'),
  log: floatUnary('log'),
  sqrt: floatUnary('sqrt'),
  reciprocal: floatUnary('reciprocal'),
  sin: floatUnary('sin'),
  cos: floatUnary('cos'),
  tanh: floatUnary('tanh'),
  erf: floatUnary('erf'),
  sigmoid: floatUnary('sigmoid'),
  abs: signedUnary('abs'),
  sign: signedUnary('sign'),
  floor: floatUnary('floor'),
  not: unary('not', isBool, 'bool'),
  isNaN: ([x]) => {
    requireDType('isNaN', x!, isComputable, 'float32 or float16');
    return one(x!.shape, 'bool');
  },
  cast: ([x], { dtype }) => one(x!.shape, dtype),

  add: binary('add', isNumeric, 'numbers'),
  sub: binary('sub', isNumeric, 'numbers'),
  mul: binary('mul', isNumeric, 'numbers'),
  div: binary('div', isComputable, 'float32 or float16'),
  pow: binary('pow', isComputable, 'float32 or float16'),
  maximum: binary('maximum', isNumeric, 'numbers'),
  minimum: binary('minimum', isNumeric, 'numbers'),
  mod: binary('mod', isIndex, 'int32'),
  equal: binary('equal', (d) => isNumeric(d) || isBool(d), 'numbers or bools', 'bool'),
  less: binary('less', isNumeric, 'numbers', 'bool'),
  lessEqual: binary('lessEqual', isNumeric, 'numbers', 'bool'),
  and: binary('and', isBool, 'bools'),
  or: binary('or', isBool, 'bools'),
  where: ([condition, a, b]) => {
    requireDType('where', condition!, isBool, 'a bool condition');
    const dtype = same('where', [a!, b!]);
    return one(broadcastShapes('where', condition!.shape, a!.shape, b!.shape), dtype);
  },

  reshape: ([x], { shape }) => {
    checkShape('reshape', shape);
    if (sizeOf(shape) !== sizeOf(x!.shape)) {
      throw new ShapeError('reshape', [x!.shape, shape], 'the number of elements must stay the same');
    }
    return one(shape, x!.dtype);
  },
  transpose: ([x], { permutation }) => {
    const sorted = [...permutation].sort((a, b) => a - b);
    if (sorted.length !== x!.shape.length || sorted.some((axis, i) => axis !== i)) {
      throw new ShapeError('transpose', [x!.shape], `[${permutation.join(', ')}] is not a permutation of the axes`);
    }
    return one(
      permutation.map((axis) => x!.shape[axis]!),
      x!.dtype,
    );
  },
  broadcastTo: ([x], { shape }) => {
    checkShape('broadcastTo', shape);
    if (!sameShape(broadcastShapes('broadcastTo', x!.shape, shape), shape)) {
      throw new ShapeError('broadcastTo', [x!.shape, shape], 'the first shape does not broadcast to the second');
    }
    return one(shape, x!.dtype);
  },
  slice: ([x], { starts, ends, steps }) => {
    const shape = x!.shape.map((dim, axis) => {
      const [start, end, step] = [starts[axis], ends[axis], steps[axis]];
      const ok = Number.isInteger(start) && Number.isInteger(end) && Number.isInteger(step) && step! >= 1;
      if (
        !ok ||
        start === undefined ||
        end === undefined ||
        step === undefined ||
        start < 0 ||
        end > dim ||
        start > end
      ) {
        throw new ShapeError('slice', [x!.shape], `${start}:${end}:${step} is outside axis ${axis}`);
      }
      return Math.ceil((end - start) / step);
    });
    return one(shape, x!.dtype);
  },
  pad: ([x], { low, high, value }) => {
    requireHeld('pad', x!.dtype, value);
    const bad = low.length !== x!.shape.length || high.length !== x!.shape.length;
    if (bad || [...low, ...high].some((n) => !Number.isInteger(n) || n < 0)) {
      throw new ShapeError('pad', [x!.shape], `bad widths [${low.join(', ')}], [${high.join(', ')}]`);
    }
    return one(
      x!.shape.map((dim, axis) => dim + low[axis]! + high[axis]!),
      x!.dtype,
    );
  },
  concat: (inputs, { axis }) => {
    if (inputs.length === 0) throw new ShapeError('concat', [], 'needs at least one input');
    const dtype = same('concat', inputs);
    const first = inputs[0]!;
    normalizeAxis('concat', axis, first.shape);
    for (const other of inputs) requireSameExcept('concat', first, other, axis);
    const total = inputs.reduce((sum, input) => sum + input.shape[axis]!, 0);
    return one(
      first.shape.map((dim, i) => (i === axis ? total : dim)),
      dtype,
    );
  },

  sum: ([x], { axes, keepDims }) => {
    requireDType('sum', x!, isNumeric, 'numbers');
    return one(reduced(x!.shape, axes, keepDims), x!.dtype);
  },
  max: ([x], { axes, keepDims }) => {
    requireDType('max', x!, isNumeric, 'numbers');
    if (axes.some((axis) => x!.shape[axis] === 0)) {
      throw new ShapeError('max', [x!.shape], 'an empty axis has no largest element');
    }
    return one(reduced(x!.shape, axes, keepDims), x!.dtype);
  },
  argMax: ([x], { axis, keepDims }) => {
    requireDType('argMax', x!, isNumeric, 'numbers');
    normalizeAxis('argMax', axis, x!.shape);
    if (x!.shape[axis] === 0) throw new ShapeError('argMax', [x!.shape], 'an empty axis has no largest element');
    return one(reduced(x!.shape, [axis], keepDims), 'int32');
  },
  cumsum: ([x], { axis }) => {
    requireDType('cumsum', x!, (d) => isComputable(d) || d === 'int32', 'float32, float16 or int32');
    normalizeAxis('cumsum', axis, x!.shape);
    return one(x!.shape, x!.dtype);
  },
  topK: ([x], { k }) => {
    requireDType('topK', x!, isComputable, 'float32 or float16');
    const last = x!.shape.at(-1);
    if (last === undefined || !Number.isInteger(k) || k < 1 || k > last) {
      throw new ShapeError('topK', [x!.shape], `k = ${k} must lie between 1 and the last dimension`);
    }
    const shape = [...x!.shape.slice(0, -1), k];
    return [
      { shape, dtype: x!.dtype },
      { shape, dtype: 'int32' },
    ];
  },

  matmul: (inputs, { transposeA, transposeB }) => {
    const [a, b] = inputs as [TensorSpec, TensorSpec];
    const dtype = same('matmul', inputs);
    requireDType('matmul', a, isComputable, 'float32 or float16');
    if (a.shape.length < 2 || b.shape.length < 2) {
      throw new ShapeError('matmul', [a.shape, b.shape], 'both operands need at least two axes');
    }
    const [m, ka] = transposeA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
    const [kb, n] = transposeB ? [b.shape.at(-1)!, b.shape.at(-2)!] : [b.shape.at(-2)!, b.shape.at(-1)!];
    if (ka !== kb) {
      const flags = transposeA || transposeB ? ` with transposeA=${transposeA}, transposeB=${transposeB}` : '';
      throw new ShapeError('matmul', [a.shape, b.shape], `the inner dimensions ${ka} and ${kb} differ${flags}`);
    }
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    return one([...batch, m, n], dtype);
  },

  gather: ([x, indices], { axis }) => {
    requireDType('gather', indices!, isIndex, 'int32 indices');
    normalizeAxis('gather', axis, x!.shape);
    return one([...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)], x!.dtype);
  },
  scatterAdd: ([indices, updates], { axis, size }) => {
    requireDType('scatterAdd', indices!, isIndex, 'int32 indices');
    requireDType('scatterAdd', updates!, isNumeric, 'number updates');
    const rank = indices!.shape.length;
    requireSize('scatterAdd', indices!, updates!, size);
    if (!Number.isInteger(axis) || axis < 0 || axis + rank > updates!.shape.length) {
      throw new ShapeError('scatterAdd', [indices!.shape, updates!.shape], `axis ${axis} is outside the updates`);
    }
    if (!sameShape(updates!.shape.slice(axis, axis + rank), indices!.shape)) {
      throw new ShapeError(
        'scatterAdd',
        [indices!.shape, updates!.shape],
        `axes ${axis}..${axis + rank} of the updates must equal the shape of the indices`,
      );
    }
    return one([...updates!.shape.slice(0, axis), size, ...updates!.shape.slice(axis + rank)], updates!.dtype);
  },
  takeAlongAxis: ([x, indices], { axis }) => {
    requireDType('takeAlongAxis', indices!, isIndex, 'int32 indices');
    normalizeAxis('takeAlongAxis', axis, x!.shape);
    requireSameExcept('takeAlongAxis', x!, indices!, axis);
    return one(indices!.shape, x!.dtype);
  },
  addAlongAxis: ([indices, updates], { axis, size }) => {
    requireDType('addAlongAxis', indices!, isIndex, 'int32 indices');
    requireDType('addAlongAxis', updates!, isNumeric, 'number updates');
    normalizeAxis('addAlongAxis', axis, updates!.shape);
    requireSize('addAlongAxis', indices!, updates!, size);
    if (!sameShape(indices!.shape, updates!.shape)) {
      throw new ShapeError('addAlongAxis', [indices!.shape, updates!.shape], 'indices and updates must have one shape');
    }
    return one(
      updates!.shape.map((dim, i) => (i === axis ? size : dim)),
      updates!.dtype,
    );
  },
  putAlongAxis: ([x, indices, updates], { axis }) => {
    requireDType('putAlongAxis', indices!, isIndex, 'int32 indices');
    same('putAlongAxis', [x!, updates!]);
    normalizeAxis('putAlongAxis', axis, x!.shape);
    requireSameExcept('putAlongAxis', x!, updates!, axis);
    if (!sameShape(indices!.shape, updates!.shape)) {
      throw new ShapeError('putAlongAxis', [indices!.shape, updates!.shape], 'indices and updates must have one shape');
    }
    return one(x!.shape, x!.dtype);
  },

  barrier: ([x]) => [x!],
  stopGradient: ([x]) => [x!],
  customVjp: (inputs, { outputs }) => inputs.slice(0, outputs),
  kernel: (inputs, { kernel, config }) => [...kernel.infer(inputs, config)],
};

/** Output specs of `op` on the given inputs. */
export function inferOutputs<Name extends OpName>(
  op: Name,
  inputs: readonly TensorSpec[],
  attributes: OpAttributes[Name],
): readonly TensorSpec[] {
  return rules[op](inputs, attributes);
}
