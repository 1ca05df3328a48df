import { describe, expect, it } from 'vitest';
import { type GraphNode, makeNode } from '../../graph/node.js';
import { simplify } from '../../graph/simplify.js';
import {
  cachedAttention,
  compile,
  grad,
  referenceEngine,
  rmsNorm,
  rotary,
  setEngine,
  Tensor,
  tensor,
} from '../../index.js';
import { captureLeaves } from '../../realize.js';
import { onEngine } from '../../testing/on-engine.js';
import { onnxruntimeEngine } from './engine.js';
import { kernelRules } from './lower-kernels.js';
import { lowerGraph } from './lowering.js';

const engine = onnxruntimeEngine();
setEngine(engine);

const wave = (shape: readonly number[], seed: number): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed)),
    shape,
  );
};

type Results = readonly Tensor[];
interface Case {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly f: (...inputs: Tensor[]) => Results;
  /** How many nodes of these ops it is written with. */
  readonly nodes: Readonly<Record<string, number>>;
}

/** A step of generation: an attention of one row in place, which is where rows are fused. */
function attend(x: Tensor, keys: Tensor, values: Tensor, lengths: Tensor) {
  const past = { pastKeys: keys, pastValues: values, lengths };
  return cachedAttention({ q: x, k: x, v: x, ...past }, { scale: 1 });
}
const attended = [
  [1, 1, 1, 8],
  [1, 1, 4, 8],
  [1, 1, 4, 8],
] as const;

/** Ops of the graph that the CPU is given, by their number. */
function countOps(shapes: Case['shapes'], f: Case['f'], inStep: boolean): ReadonlyMap<string, number> {
  const symbol = (shape: readonly number[], dtype: 'float32' | 'int32') => {
    return new Tensor({ node: makeNode('input', [], { spec: { shape, dtype } }), index: 0 });
  };
  const inputs = shapes.map((shape) => symbol(shape, 'float32'));
  const step = [...attended.map((shape) => symbol(shape, 'float32')), symbol([1], 'int32')];
  const outputs = [...f(...inputs), ...(inStep ? Object.values(attend(...(step as Parameters<typeof attend>))) : [])];
  const { graph } = captureLeaves(
    outputs.map(({ value }) => value),
    [...inputs, ...step].map(({ value }) => value.node as GraphNode<'input'>),
  );
  const counts = new Map<string, number>();
  for (const { op } of lowerGraph(simplify(graph, { kernels: new Set(Object.keys(kernelRules)) })).onnx.nodes)
    counts.set(op, (counts.get(op) ?? 0) + 1);
  return counts;
}

async function expectReference(shapes: Case['shapes'], f: Case['f']): Promise<void> {
  const run = async (): Promise<number[][]> => {
    const step = compile(
      (cache: { keys: Tensor; values: Tensor }, x: Tensor, lengths: Tensor, inputs: Results) => {
        const { output, keys, values } = attend(x, cache.keys, cache.values, lengths);
        return { results: [...f(...inputs), output], cache: { keys, values } };
      },
      { donate: { 0: 'cache' } },
    );
    const [x, keys, values] = attended.map((shape, i) => wave(shape, 30 + i));
    const inputs = shapes.map((shape, i) => wave(shape, i));
    const { results } = await step({ keys: keys!, values: values! }, x!, tensor([2], [1], 'int32'), inputs);
    return Promise.all(results.map((result) => result.toArray()));
  };
  const wanted = await onEngine(referenceEngine(), run);
  for (const [i, numbers] of (await run()).entries())
    for (const [j, x] of numbers.entries()) expect(Math.abs(x - wanted[i]![j]!), `${i} ${j}`).toBeLessThan(3e-6);
}

const norm = (x: Tensor, weight: Tensor) => rmsNorm(x, weight, { epsilon: 1e-5 });
const [rows, width] = [[2, 3, 8], [8]] as const;

const cases: readonly Case[] = [
  {
    name: 'a sum and its norm, both read later',
    shapes: [rows, rows, width],
    f: (x, y, w) => [x.add(y), norm(x.add(y), w).mul(2)],
    nodes: { SkipSimplifiedLayerNormalization: 1, Add: 0 },
  },
  {
    name: 'a sum that is read before its norm is made, and a chain of sums',
    shapes: [rows, rows, width],
    f: (x, y, w) => {
      const first = x.add(y);
      const before = first.exp();
      const second = first.add(norm(first, w));
      return [before, norm(second, w)];
    },
    nodes: { SkipSimplifiedLayerNormalization: 2, Add: 0 },
  },
  {
    name: 'a sum with two norms',
    shapes: [rows, rows, width, width],
    f: (x, y, w, v) => [norm(x.add(y), w), norm(x.add(y), v)],
    nodes: { SkipSimplifiedLayerNormalization: 1, SimplifiedLayerNormalization: 1 },
  },
  {
    name: 'a sum that broadcasts',
    shapes: [rows, width, width],
    f: (x, y, w) => [norm(x.add(y), w)],
    nodes: { SkipSimplifiedLayerNormalization: 0, Add: 1 },
  },
  {
    name: 'a sum with a number',
    shapes: [rows, width],
    f: (x, w) => [norm(x.add(3), w)],
    nodes: { SkipSimplifiedLayerNormalization: 0, Add: 1 },
  },
  {
    name: 'a sum of what was reshaped from other rows',
    shapes: [[2, 24], [2, 24], width],
    f: (x, y, w) => [norm(x.exp().reshape(rows).add(y.exp().reshape(rows)), w)],
    nodes: { SkipSimplifiedLayerNormalization: 1 },
  },
  {
    name: 'a sum of what was reshaped from four axes',
    shapes: [[2, 3, 1, 8], [2, 3, 1, 8], width],
    f: (x, y, w) => [norm(x.exp().reshape(rows).add(y.exp().reshape(rows)), w)],
    nodes: { SkipSimplifiedLayerNormalization: 1 },
  },
  {
    name: 'four axes',
    shapes: [[2, 1, 3, 8], [2, 1, 3, 8], width],
    f: (x, y, w) => [norm(x.add(y), w)],
    nodes: { SkipSimplifiedLayerNormalization: 0, Add: 1 },
  },
  {
    name: 'the gradient, which needs the factors of the norm',
    shapes: [rows, rows, width],
    f: (x, y, w) => [grad((x: Tensor) => norm(x.add(y), w).square().sum())(x)],
    nodes: { SkipSimplifiedLayerNormalization: 0 },
  },
  {
    name: 'a product of rows that were reshaped, and are again',
    shapes: [rows, [8, 8], width],
    f: (x, matrix, w) => {
      const flat = norm(x, w).reshape([6, 8]);
      return [x.add(flat.matmul(matrix, { transposeB: true }).reshape([2, 3, 8]))];
    },
    nodes: { Reshape: 0 },
  },
  {
    name: 'elementwise operations of what was reshaped, but for the last',
    shapes: [rows, rows, width],
    f: (x, y, w) => {
      const [a, b] = [x.reshape([6, 8]), y.reshape([6, 8])];
      return [norm(a.mul(b).exp().mul(0.5), w).reshape([6, 8]).add(a)];
    },
    nodes: { Reshape: 2 },
  },
];

describe('fused rows', () => {
  it.each(cases)('$name', async ({ shapes, f, nodes }) => {
    await expectReference(shapes, f);
    const [all, others] = [countOps(shapes, f, true), countOps([], () => [], true)];
    const counts = Object.keys(nodes).map((op) => [op, (all.get(op) ?? 0) - (others.get(op) ?? 0)]);
    expect(Object.fromEntries(counts)).toEqual(nodes);
  });

  it('leaves sums and norms apart where rows are many, whose passes may be computed again', () => {
    const counts = countOps([rows, rows, width], (x, y, w) => [norm(x.add(y), w)], false);
    expect([counts.get('Add'), counts.get('SimplifiedLayerNormalization')]).toEqual([1, 1]);
  });

  it.each([
    ['a turned query', { scale: 0.3 }, (q: Tensor) => [q, q] as const],
    ['a turned query that something else reads', { scale: 0.3 }, (q: Tensor) => [q, q.mul(2)] as const],
    ['a turned query without a factor', { scale: 1 }, (q: Tensor) => [q, q] as const],
    ['a soft cap', { scale: 2, softCap: 1.5 }, (q: Tensor) => [q, q] as const],
    ['a window', { scale: 2, slidingWindow: 2 }, (q: Tensor) => [q, q] as const],
    ['a window of one', { scale: 2, slidingWindow: 1 }, (q: Tensor) => [q, q] as const],
  ])('one-row attention in place: %s', async (_, config, use) => {
    const run = async () => {
      const step = compile(
        (cache: { keys: Tensor; values: Tensor }, x: Tensor, angles: Tensor, lengths: Tensor) => {
          const turned = rotary(x, angles.cos(), angles.sin());
          const [q, other] = use(turned);
          const [k, v] = [x.slice(1, 0, 2).neg(), x.slice(1, 2, 4)];
          const past = { pastKeys: cache.keys, pastValues: cache.values, lengths };
          const { output, keys, values } = cachedAttention({ q, k, v, ...past }, config);
          return { output: other === q ? output : output.add(other), cache: { keys, values } };
        },
        { donate: { 0: 'cache' } },
      );
      let cache = { keys: wave([2, 2, 6, 8], 11), values: wave([2, 2, 6, 8], 12) };
      const seen: number[][] = [];
      for (const [i, lengths] of [
        [0, 4],
        [1, 5],
        [2, 2],
      ].entries()) {
        const at = tensor(lengths, undefined, 'int32');
        const result = await step(cache, wave([2, 4, 1, 8], 20 + i), wave([2, 1, 4], i), at);
        cache = result.cache;
        seen.push(await result.output.toArray(), await cache.keys.toArray());
      }
      return seen;
    };
    const wanted = await onEngine(referenceEngine(), run);
    for (const [i, numbers] of (await run()).entries())
      for (const [j, x] of numbers.entries()) expect(Math.abs(x - wanted[i]![j]!), `${i} ${j}`).toBeLessThan(3e-6);
  });
});
