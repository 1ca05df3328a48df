import { EngineError } from '../../errors.js';
import { specOf, type Value } from '../../graph/node.js';
import { sizeOf } from '../../shape.js';
import { toDeviceArray } from './buffers.js';
import type { LoweringRules } from './lowering.js';
import { onnxTypeOf } from './onnx-values.js';

/** Filled tensors up to this many elements are constants of the graph; larger ones are made by a node. */
const LARGEST_FILLED_CONSTANT = 64;

/** Leaves and the primitives that only move elements. */
export const movementRules = {
  data: (node, { builder }) => {
    const { storage } = node.attributes;
    const { spec, host } = storage;
    if (!host) throw new EngineError('onnxruntime', 'a constant of the graph is not on the host');
    const type = onnxTypeOf(spec.dtype);
    return [builder.initializer({ type, shape: spec.shape, data: toDeviceArray(host, spec) })];
  },
  full: (node, { builder }) => {
    const { shape, dtype, value } = node.attributes;
    const type = onnxTypeOf(dtype);
    const size = sizeOf(shape);
    if (size <= LARGEST_FILLED_CONSTANT) return [builder.constant(type, shape, new Array(size).fill(value))];
    return [builder.op('Expand', [builder.constant(type, [], [value]), builder.ints(shape)])];
  },
  iota: (node, { builder }) => {
    const { shape, dtype, axis } = node.attributes;
    const length = shape[axis]!;
    const alongAxis = shape.map((_, i) => (i === axis ? length : 1));
    const counts = builder.reshape(builder.range(dtype, length), alongAxis);
    return [sizeOf(shape) === length ? counts : builder.op('Expand', [counts, builder.ints(shape)])];
  },
  reshape: (node, lowering) => [lowering.builder.reshape(lowering.name(node.inputs[0]!), node.attributes.shape)],
  // A view of x in a shape that is the constant one, but only known once the tokens are there.
  barrier: (node, lowering) => {
    const { builder } = lowering;
    const [x, ...tokens] = node.inputs as [Value, ...Value[]];
    const present = tokens.filter((token) => sizeOf(specOf(token).shape) > 0);
    const nothing = present.map((token) => builder.op('Shape', [lowering.name(token)], { start: 0, end: 0 }));
    const shape = builder.ints(specOf(x).shape);
    if (nothing.length === 0) return [lowering.name(x)];
    return [builder.op('Reshape', [lowering.name(x), builder.op('Concat', [...nothing, shape], { axis: 0 })])];
  },
  transpose: (node, lowering) => [
    lowering.builder.transpose(lowering.name(node.inputs[0]!), node.attributes.permutation),
  ],
  broadcastTo: (node, lowering) => [
    lowering.builder.op('Expand', [lowering.name(node.inputs[0]!), lowering.builder.ints(node.attributes.shape)]),
  ],
  slice: (node, lowering) => {
    const { starts, ends, steps } = node.attributes;
    const { shape } = specOf(node.inputs[0]!);
    const axes = shape.map((_, axis) => axis).filter((a) => starts[a] !== 0 || ends[a] !== shape[a] || steps[a] !== 1);
    const pick = (values: readonly number[]) => lowering.builder.ints(axes.map((axis) => values[axis]!));
    const inputs = [pick(starts), pick(ends), lowering.builder.ints(axes), pick(steps)];
    return [lowering.builder.op('Slice', [lowering.name(node.inputs[0]!), ...inputs])];
  },
  pad: (node, lowering) => {
    const { low, high, value } = node.attributes;
    const type = onnxTypeOf(node.outputs[0]!.dtype);
    const filler = lowering.builder.constant(type, [], [value]);
    const widths = lowering.builder.ints([...low, ...high]);
    return [lowering.builder.op('Pad', [lowering.name(node.inputs[0]!), widths, filler], { mode: 'constant' })];
  },
  concat: (node, lowering) => {
    const parts = node.inputs.filter((input) => sizeOf(specOf(input).shape) > 0);
    const names = parts.map((part) => lowering.name(part));
    return [names.length === 1 ? names[0]! : lowering.builder.op('Concat', names, { axis: node.attributes.axis })];
  },
} satisfies Partial<LoweringRules>;
