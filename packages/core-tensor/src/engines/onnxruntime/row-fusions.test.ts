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
  softmax,
  swiglu,
  Tensor,
  tensor,
} from '../../index.js';
import { adamW } from '../../optim/index.js';
import { captureLeaves } from '../../realize.js';
import { onEngine } from '../../testing/on-engine.js';
import { onnxruntimeEngine } from './engine.js';
import { kernelRules } from './lower-kernels.js';
import { lowerGraph } from './lowering.js';
import { loadKernels } from './native/kernels.js';

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

describe('chains of elementwise operations', async () => {
  const found = await loadKernels();
  const missing = 'missing' in found ? found.missing : undefined;
  const names = 'missing' in found ? [] : (['plain', found.fastest.float32] as const);
  const ops: string[] = [];
  const chains = onnxruntimeEngine({
    cpuKernels: names[1] ?? 'off',
    onAssignment: (nodes) => ops.push(...nodes.map(({ op }) => op)),
  });
  const onChains = async <T>(f: () => Promise<T>) => {
    ops.length = 0;
    const got = await onEngine(chains, f);
    return { got, count: ops.filter((op) => op === 'Chain').length };
  };
  /** Of the sum of squares of all results, which mixes every element of them. */
  const gradients = (f: (...xs: Tensor[]) => Tensor) => (x: Tensor, y: Tensor) =>
    Object.values(grad((all: { x: Tensor; y: Tensor }) => f(all.x, all.y).square().sum())({ x, y }));
  const each: Readonly<
    Record<string, readonly [shapes: readonly (readonly number[])[], f: Case['f'], chains: number]>
  > = {
    'one number, a column, a row and constants beside a matrix': [
      [[9, 40], [1], [40], [9, 1]],
      (x, one, column, row) => [x.mul(one).add(column).div(row.square().add(2)).sub(0.5)],
      1,
    ],
    'sums and maxima of rows, read in the pass and after it': [
      [[5, 3, 70]],
      (x) => {
        const shifted = x.sub(x.max(-1, { keepDims: true }));
        const e = shifted.exp();
        return [
          e.sum(-1).log(),
          e
            .div(e.sum(-1, { keepDims: true }))
            .mul(shifted)
            .sum(-1, { keepDims: true }),
        ];
      },
      1,
    ],
    'a product between two chains keeps them apart': [
      [
        [40, 40],
        [40, 40],
      ],
      (x, y) => {
        const a = x.exp().mul(y);
        return [a.add(a.matmul(y).sub(x).neg()).mul(a)];
      },
      2,
    ],
    'two chains that meet are one': [
      [
        [33, 65],
        [33, 65],
      ],
      (x, y) => {
        const [a, b] = [x.neg().exp(), y.square().add(1).sqrt()];
        return [a.div(b).maximum(0.3), a.minimum(b)];
      },
      1,
    ],
    'too few columns for rows of their own': [[[40, 3]], (x) => [x.exp().div(x.exp().sum(-1, { keepDims: true }))], 0],
    'swiglu and its gradient': [
      [
        [7, 90],
        [7, 90],
      ],
      (x, y) => [swiglu(x, y), ...gradients(swiglu)(x, y)],
      1,
    ],
    'one number that stands for all columns, read outside': [
      [[4, 40], [1]],
      (x, one) => {
        const repeated = one.exp().broadcastTo([4, 40]).mul(2);
        return [repeated.neg(), x.mul(repeated), repeated.sum(-1)];
      },
      1,
    ],
    'the gradient of a softmax': [
      [
        [6, 64],
        [6, 64],
      ],
      gradients((x, y) => softmax(x).mul(y)),
      1,
    ],
  };
  it.for(Object.entries(each))('%s', async ([, [shapes, f, wanted]], { skip }) => {
    if (missing) return skip(missing);
    const inputs = shapes.map((shape, i) => wave(shape, i));
    const compute = async () => Promise.all(Object.values(await compile(f)(...inputs)).map((y) => y.toArray()));
    const reference = await onEngine(referenceEngine(), compute);
    const { got, count } = await onChains(compute);
    expect(count).toBe(wanted);
    for (const [i, numbers] of got.entries()) {
      const largest = Math.max(...reference[i]!.map(Math.abs));
      expect(numbers.length).toBe(reference[i]!.length);
      expect(Math.max(...numbers.map((x, j) => Math.abs(x - reference[i]![j]!))) / largest).toBeLessThan(3e-6);
    }
  });

  it('are there when they are asked for, and not before', async ({ skip }) => {
    if (missing) return skip(missing);
    for (const elementwiseChains of [true, false]) {
      const seen: string[] = [];
      const asked = onnxruntimeEngine({
        elementwiseChains,
        onAssignment: (nodes) => seen.push(...nodes.map(({ op }) => op)),
      });
      await onEngine(asked, () => compile((x: Tensor) => x.neg().exp())(wave([4, 4], 1)).then((y) => y.data()));
      expect(seen.includes('Chain')).toBe(elementwiseChains || process.env.POSTTRAIN_KERNELS === 'all');
    }
  });

  it('an update by AdamW is one pass over each parameter, in place', async ({ skip }) => {
    if (missing) return skip(missing);
    const optimizer = adamW({ weightDecay: 0.1 });
    const train = async () => {
      let parameters: Record<string, Tensor> = { w: wave([37, 50], 1), b: wave([5], 2) };
      let state = optimizer.init(parameters);
      const step = compile(
        (p: typeof parameters, s: typeof state, g: typeof parameters, rate: Tensor) => {
          const updated = optimizer.update(p, g, s, rate);
          return { p: updated.parameters, s: updated.state };
        },
        { donate: { 0: 'p', 1: 's' } },
      );
      for (let i = 0; i < 4; i++) {
        const given = { w: wave([37, 50], 10 + i), b: wave([5], 20 + i) };
        const next = await step(parameters, state, given, tensor(0.01));
        [parameters, state] = [next.p as typeof parameters, next.s as typeof state];
      }
      const all = [parameters.w!, parameters.b!, state.mean.w!, state.square.w!];
      return Promise.all(all.map((x) => x.toArray()));
    };
    const reference = await onEngine(referenceEngine(), train);
    const { got, count } = await onChains(train);
    expect(count).toBe(2);
    for (const [i, numbers] of got.entries())
      for (const [j, x] of numbers.entries()) expect(Math.abs(x - reference[i]![j]!)).toBeLessThan(2e-6);
  });

  it('chains at random are those of the reference engine, and a row does not depend on the others', async ({
    skip,
  }) => {
    if (missing) return skip(missing);
    for (let seed = 1; seed <= 12; seed++) {
      let state = seed * 7919;
      const below = (n: number) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * n);
      };
      const shape = [1 + below(20), 32 + below(200)];
      const f = (x: Tensor, y: Tensor) => {
        const values = [x, y];
        const any = () => values[below(values.length)]!;
        for (let i = 0; i < 14; i++) {
          const a = any();
          const kinds = [
            () => a.add(any()),
            () => a.sub(any()),
            () => a.mul(any()),
            () => a.maximum(any()),
            () => a.neg().minimum(1).exp(),
            () => a.sigmoid(),
            () => a.abs().add(1).sqrt(),
            () => a.sub(a.sum(-1, { keepDims: true }).mul(1 / shape[1]!)),
            () => a.max(-1, { keepDims: true }).sub(a),
          ];
          // Small numbers stay small.
          values.push(kinds[below(kinds.length)]!().maximum(-2).minimum(2));
        }
        return values.slice(-4);
      };
      const start = state;
      const compute = (rows: number) => async () => {
        state = start;
        const [x, y] = [wave(shape, seed).slice(0, 0, rows), wave(shape, seed + 1).slice(0, 0, rows)];
        return Promise.all(Object.values(await compile(f)(x, y)).map((z) => z.toArray()));
      };
      const reference = await onEngine(referenceEngine(), compute(shape[0]!));
      const got = await onEngine(chains, compute(shape[0]!));
      const first = await onEngine(chains, compute(1));
      for (const [i, numbers] of got.entries()) {
        expect(Math.max(...numbers.map((x, j) => Math.abs(x - reference[i]![j]!))), `seed ${seed}`).toBeLessThan(2e-5);
        expect(first[i]).toEqual(numbers.slice(0, shape[1]!));
      }
    }
  });

  it('exp is right to the last places, and at the ends', async ({ skip }) => {
    if (missing) return skip(missing);
    const xs = Array.from({ length: 4001 }, (_, i) => Math.fround(-104 + (i * 192) / 4000));
    const special = [Number.NEGATIVE_INFINITY, -1000, 1000, Number.POSITIVE_INFINITY, Number.NaN, 0, -0];
    for (const cpuKernels of names) {
      const seen: string[] = [];
      const engineOf = onnxruntimeEngine({
        cpuKernels,
        onAssignment: (nodes) => seen.push(...nodes.map(({ op }) => op)),
      });
      const got = await onEngine(engineOf, () =>
        compile((x: Tensor, one: Tensor) => x.exp().mul(one))(tensor([...xs, ...special]), tensor(1)).then((y) =>
          y.toArray(),
        ),
      );
      expect(seen).toEqual(['Chain']);
      xs.forEach((x, i) => {
        const wanted = Math.exp(x);
        // Below the normal numbers the last place is 2 ** -149.
        expect(Math.abs(got[i]! - wanted) / Math.max(wanted, 2 ** -126)).toBeLessThan(2e-7);
      });
      const { POSITIVE_INFINITY: infinity, NaN: none } = Number;
      expect(got.slice(xs.length)).toEqual([0, 0, infinity, infinity, none, 1, 1]);
    }
  });
});
