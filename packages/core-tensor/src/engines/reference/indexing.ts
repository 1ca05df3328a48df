import { EngineError } from '../../errors.js';
import { type GraphNode, isOp } from '../../graph/node.js';
import { sizeOf } from '../../shape.js';
import { splitAxis, type Values } from './strided.js';

/** The primitives that move elements by computed positions, and the scans along one axis. */
export function interpretIndexing(
  node: GraphNode,
  inputs: readonly Values[],
  shapes: readonly (readonly number[])[],
  out: Values,
): Values[] {
  const { shape } = node.outputs[0]!;
  if (isOp(node, 'argMax')) {
    const { outer, size, inner } = splitAxis(shapes[0]!, node.attributes.axis);
    forEachRow(outer, inner, (o, n) => {
      let best = 0;
      const at = (i: number) => inputs[0]![(o * size + i) * inner + n]!;
      for (let i = 1; i < size; i++) if (at(i) > at(best)) best = i;
      out[o * inner + n] = best;
    });
    return [out];
  }
  if (isOp(node, 'cumsum')) {
    const { axis, exclusive, reverse } = node.attributes;
    const { outer, size, inner } = splitAxis(shape, axis);
    forEachRow(outer, inner, (o, n) => {
      let sum = 0;
      for (let step = 0; step < size; step++) {
        const at = (o * size + (reverse ? size - 1 - step : step)) * inner + n;
        const value = inputs[0]![at]!;
        out[at] = exclusive ? sum : sum + value;
        sum += value;
      }
    });
    return [out];
  }
  if (isOp(node, 'topK')) {
    const { k } = node.attributes;
    const last = shapes[0]!.at(-1)!;
    const indices = new Int32Array(out.length);
    for (let row = 0; row * k < out.length; row++) {
      const x = inputs[0]!.subarray(row * last, (row + 1) * last);
      const order = Array.from(x, (_, i) => i).sort((i, j) => x[j]! - x[i]! || i - j);
      for (let i = 0; i < k; i++) {
        out[row * k + i] = x[order[i]!]!;
        indices[row * k + i] = order[i]!;
      }
    }
    return [out, indices];
  }
  if (isOp(node, 'gather')) {
    const { outer, size, inner } = splitAxis(shapes[0]!, node.attributes.axis);
    const count = sizeOf(shapes[1]!);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < count; i++) {
        const from = (o * size + inRange(node, inputs[1]![i]!, size)) * inner;
        out.set(inputs[0]!.subarray(from, from + inner), (o * count + i) * inner);
      }
    }
    return [out];
  }
  if (isOp(node, 'scatterAdd')) {
    const { outer, size, inner } = splitAxis(shape, node.attributes.axis);
    const count = sizeOf(shapes[0]!);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < count; i++) {
        const to = (o * size + inRange(node, inputs[0]![i]!, size)) * inner;
        for (let n = 0; n < inner; n++) out[to + n]! += inputs[1]![(o * count + i) * inner + n]!;
      }
    }
    return [out];
  }
  if (isOp(node, 'takeAlongAxis')) {
    const { size } = splitAxis(shapes[0]!, node.attributes.axis);
    alongAxis(shapes[1]!, node.attributes.axis, size, node, inputs[1]!, (i, at) => {
      out[i] = inputs[0]![at]!;
    });
    return [out];
  }
  if (isOp(node, 'addAlongAxis')) {
    alongAxis(shapes[0]!, node.attributes.axis, node.attributes.size, node, inputs[0]!, (i, at) => {
      out[at]! += inputs[1]![i]!;
    });
    return [out];
  }
  if (isOp(node, 'putAlongAxis')) {
    out.set(inputs[0]!);
    alongAxis(shapes[1]!, node.attributes.axis, shape[node.attributes.axis]!, node, inputs[1]!, (i, at) => {
      out[at] = inputs[2]![i]!;
    });
    return [out];
  }
  throw new EngineError('reference', `no interpretation of ${node.op}`);
}

function forEachRow(outer: number, inner: number, visit: (outer: number, inner: number) => void): void {
  for (let o = 0; o < outer; o++) for (let n = 0; n < inner; n++) visit(o, n);
}

/** Visits (flat index in `indices`, flat index in an array whose `axis` has `size` rows). */
function alongAxis(
  shape: readonly number[],
  axis: number,
  size: number,
  node: GraphNode,
  indices: Values,
  visit: (i: number, at: number) => void,
): void {
  const { outer, size: count, inner } = splitAxis(shape, axis);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < count; i++) {
      for (let n = 0; n < inner; n++) {
        const flat = (o * count + i) * inner + n;
        visit(flat, (o * size + inRange(node, indices[flat]!, size)) * inner + n);
      }
    }
  }
}

function inRange(node: GraphNode, index: number, size: number): number {
  if (index < 0 || index >= size)
    throw new EngineError('reference', `${node.op}: index ${index} is outside 0..${size - 1}`);
  return index;
}
