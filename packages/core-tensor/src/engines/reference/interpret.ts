import { type DType, decodeNumbers, encodeNumbers, INTEGER_RANGES, isFloat } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import { type GraphNode, isOp, specOf } from '../../graph/node.js';
import { threefryBits } from '../../random/threefry-bits.js';
import { sizeOf, stridesOf } from '../../shape.js';
import { binaryFunctions, unaryFunctions } from './elementwise.js';
import { interpretIndexing } from './indexing.js';
import { broadcastIndex, broadcastStrides, splitAxis, type Values, walk } from './strided.js';

/** Zeroed values for a dtype: float64 for floats, the exact host integers otherwise. */
export function allocateValues(dtype: DType, size: number): Values {
  if (isFloat(dtype)) return new Float64Array(size);
  if (dtype === 'int32') return new Int32Array(size);
  if (dtype === 'int8') return new Int8Array(size);
  return new Uint8Array(size);
}

/** Rounds values in place to what a 16-bit float can hold; float32 is kept in double precision. */
export function roundTo(dtype: DType, values: Values): Values {
  if (dtype === 'float16' || dtype === 'bfloat16') values.set(decodeNumbers(encodeNumbers(values, dtype), dtype));
  return values;
}

/** Evaluates one primitive: the meaning of the op table, in float64. */
export function interpret(node: GraphNode, inputs: readonly Values[]): Values[] {
  const outputs = evaluate(node, inputs);
  return outputs.map((values, i) => roundTo(node.outputs[i]!.dtype, values));
}

function evaluate(node: GraphNode, inputs: readonly Values[]): Values[] {
  const { shape, dtype } = node.outputs[0]!;
  const shapes = node.inputs.map((input) => specOf(input).shape);
  const out = allocateValues(dtype, sizeOf(shape));

  const unary = unaryFunctions[node.op];
  if (unary) {
    const [x] = inputs;
    for (let i = 0; i < out.length; i++) out[i] = unary(x![i]!);
    return [out];
  }
  const binary = binaryFunctions[node.op];
  if (binary) {
    const [a, b] = inputs;
    const exact = specOf(node.inputs[0]!).dtype === 'int32';
    const [ia, ib] = shapes.map((s) => broadcastIndex(s, shape));
    for (let i = 0; i < out.length; i++) out[i] = binary(a![ia![i]!]!, b![ib![i]!]!, exact);
    return [out];
  }
  if (isOp(node, 'data')) {
    const { storage } = node.attributes;
    const host = storage.host;
    if (!host) throw new EngineError('reference', 'a constant of the graph is not on the host');
    out.set(decodeNumbers(host, storage.spec.dtype));
    return [out];
  }
  if (isOp(node, 'full'))
    return [out.fill(dtype === 'bool' ? Number(node.attributes.value !== 0) : node.attributes.value)];
  if (isOp(node, 'iota')) {
    const strides = shape.map((_, axis) => (axis === node.attributes.axis ? 1 : 0));
    walk(shape, strides, 0, (i, value) => {
      out[i] = value;
    });
    return [out];
  }
  if (isOp(node, 'randomBits')) return [threefryBits(inputs[0]!, out.length)];
  if (isOp(node, 'cast')) {
    const [x] = inputs;
    const toInteger = !isFloat(dtype) && dtype !== 'bool';
    for (let i = 0; i < out.length; i++) {
      const value = x![i]!;
      out[i] = dtype === 'bool' ? Number(value !== 0) : toInteger ? Math.trunc(value) : value;
    }
    return [out];
  }
  if (isOp(node, 'where')) {
    const [c, a, b] = inputs;
    const [ic, ia, ib] = shapes.map((s) => broadcastIndex(s, shape));
    for (let i = 0; i < out.length; i++) out[i] = c![ic![i]!]! ? a![ia![i]!]! : b![ib![i]!]!;
    return [out];
  }
  if (isOp(node, 'reshape') || isOp(node, 'barrier') || isOp(node, 'stopGradient')) {
    out.set(inputs[0]!);
    return [out];
  }
  if (isOp(node, 'transpose')) {
    const strides = stridesOf(shapes[0]!);
    return [
      gatherStrided(
        out,
        shape,
        node.attributes.permutation.map((axis) => strides[axis]!),
        0,
        inputs[0]!,
      ),
    ];
  }
  if (isOp(node, 'broadcastTo')) return [gatherStrided(out, shape, broadcastStrides(shapes[0]!, shape), 0, inputs[0]!)];
  if (isOp(node, 'slice')) {
    const { starts, steps } = node.attributes;
    const strides = stridesOf(shapes[0]!);
    const offset = starts.reduce((sum, start, axis) => sum + start * strides[axis]!, 0);
    return [
      gatherStrided(
        out,
        shape,
        strides.map((stride, axis) => stride * steps[axis]!),
        offset,
        inputs[0]!,
      ),
    ];
  }
  if (isOp(node, 'pad')) {
    const strides = stridesOf(shape);
    const offset = node.attributes.low.reduce((sum, low, axis) => sum + low * strides[axis]!, 0);
    out.fill(node.attributes.value);
    walk(shapes[0]!, strides, offset, (i, at) => {
      out[at] = inputs[0]![i]!;
    });
    return [out];
  }
  if (isOp(node, 'concat')) {
    const { outer, size, inner } = splitAxis(shape, node.attributes.axis);
    let start = 0;
    inputs.forEach((x, k) => {
      const rows = shapes[k]![node.attributes.axis]! * inner;
      for (let o = 0; o < outer; o++) out.set(x.subarray(o * rows, (o + 1) * rows), (o * size + start) * inner);
      start += shapes[k]![node.attributes.axis]!;
    });
    return [out];
  }
  if (isOp(node, 'sum') || isOp(node, 'max')) {
    const { axes } = node.attributes;
    const kept = shapes[0]!.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
    const isMax = node.op === 'max';
    if (isMax) out.fill(lowest(dtype));
    walk(shapes[0]!, broadcastStrides(kept, shapes[0]!), 0, (i, at) => {
      const value = inputs[0]![i]!;
      out[at] = isMax
        ? Number.isNaN(value) || Number.isNaN(out[at]!)
          ? Number.NaN
          : Math.max(out[at]!, value)
        : out[at]! + value;
    });
    return [out];
  }
  if (isOp(node, 'matmul')) return [matmul(node, inputs, shapes, out)];
  return interpretIndexing(node, inputs, shapes, out);
}

function lowest(dtype: DType): number {
  if (dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16') return Number.NEGATIVE_INFINITY;
  return INTEGER_RANGES[dtype][0];
}

function gatherStrided(
  out: Values,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  source: Values,
): Values {
  walk(shape, strides, offset, (i, at) => {
    out[i] = source[at]!;
  });
  return out;
}

function matmul(
  node: GraphNode<'matmul'>,
  inputs: readonly Values[],
  shapes: readonly (readonly number[])[],
  out: Values,
): Values {
  const { transposeA, transposeB } = node.attributes;
  const shape = node.outputs[0]!.shape;
  const batch = shape.slice(0, -2);
  const [m, n] = [shape.at(-2)!, shape.at(-1)!];
  const [sa, sb] = [shapes[0]!, shapes[1]!];
  const k = transposeA ? sa.at(-2)! : sa.at(-1)!;
  const batchA = broadcastIndex(sa.slice(0, -2), batch);
  const batchB = broadcastIndex(sb.slice(0, -2), batch);
  const [rowA, colA] = transposeA ? [1, m] : [k, 1];
  const [rowB, colB] = transposeB ? [1, k] : [n, 1];
  const [a, b] = [inputs[0]!, inputs[1]!];
  for (let c = 0; c < batchA.length; c++) {
    const [startA, startB] = [batchA[c]! * m * k, batchB[c]! * k * n];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) sum += a[startA + i * rowA + l * colA]! * b[startB + l * rowB + j * colB]!;
        out[(c * m + i) * n + j] = sum;
      }
    }
  }
  return out;
}
