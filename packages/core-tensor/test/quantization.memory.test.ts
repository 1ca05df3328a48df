import { expect, it } from 'vitest';
import { type GraphNode, isOp } from '../src/graph/node.js';
import { simplify } from '../src/graph/simplify.js';
import { type Tensor, tensor, valueAndGrad } from '../src/index.js';
import {
  dequantizeNf4,
  type FourBitWeight,
  type QuantizedWeight,
  quantizedMatmul,
  quantizedTensors,
  quantizeInt4,
  quantizeInt8,
  quantizeNf4,
} from '../src/quantization/index.js';
import { captureLeaves } from '../src/realize.js';
import { sizeOf } from '../src/shape.js';

const LAYERS = 3;
const WIDTH = 64;
const matrix = (seed: number) => ({
  shape: [WIDTH, WIDTH],
  data: Float32Array.from({ length: WIDTH * WIDTH }, (_, i) => Math.sin(seed + i * i) / 8),
});

const METHODS: readonly [string, (seed: number) => QuantizedWeight][] = [
  ['nf4', (seed) => quantizeNf4(matrix(seed))],
  ['int8', (seed) => quantizeInt8(matrix(seed))],
  ['int4', (seed) => quantizeInt4(matrix(seed))],
];

const x = tensor(
  Float32Array.from({ length: 2 * WIDTH }, (_, i) => Math.cos(i)),
  [2, WIDTH],
);

const lossThrough = (weights: readonly QuantizedWeight<Tensor>[]) => (input: Tensor) =>
  weights.reduce((h, weight) => quantizedMatmul(h, weight).tanh(), input).sum();

it.each(METHODS)('%s: a backward pass unpacks each weight again, and only once its cotangent is there', (_, make) => {
  const weights = Array.from({ length: LAYERS }, (__, seed) => quantizedTensors(make(seed)));
  const { value, gradient } = valueAndGrad(lossThrough(weights))(x);
  const { graph } = captureLeaves([value.value, gradient.value], []);
  const { nodes } = simplify(graph, { kernels: new Set() });
  const bytesOf = (node: GraphNode) => sizeOf(node.outputs[0]!.shape);
  // Once forward and once backward for each layer: no pass uses what another has unpacked.
  const unpacked = nodes.filter((n) => isOp(n, 'cast') && n.inputs[0]!.node.outputs[0]!.dtype === 'uint8');
  expect(unpacked.filter((n) => bytesOf(n) >= (WIDTH * WIDTH) / 2)).toHaveLength(2 * LAYERS);
  const waiting = nodes.filter((n) => isOp(n, 'barrier'));
  expect(waiting).toHaveLength(LAYERS);
  for (const { inputs } of waiting) {
    expect(inputs[0]!.node.outputs[0]!.dtype).toBe('uint8');
    // The cotangent of the layer's output.
    expect(inputs[1]!.node.outputs[inputs[1]!.index]).toEqual({ shape: [2, WIDTH], dtype: 'float32' });
  }
});

it('the gradient through several layers is that of the dequantised weights', async () => {
  const stored = Array.from({ length: LAYERS }, (_, seed) => quantizeNf4(matrix(seed)));
  const plain = stored.map((weight: FourBitWeight) => tensor(dequantizeNf4(weight).data, [WIDTH, WIDTH]));
  const wanted = valueAndGrad((input: Tensor) =>
    plain.reduce((h, weight) => h.matmul(weight, { transposeB: true }).tanh(), input).sum(),
  )(x).gradient;
  const got = valueAndGrad(lossThrough(stored.map(quantizedTensors)))(x).gradient;
  expect(await got.sub(wanted).abs().max().item()).toBeLessThan(1e-6);
});
