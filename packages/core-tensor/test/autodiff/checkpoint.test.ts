import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { simplify } from '../../src/graph/simplify.js';
import {
  attention,
  barrier,
  checkpoint,
  compile,
  customVjp,
  dropout,
  type Engine,
  grad,
  Key,
  referenceEngine,
  rmsNorm,
  softmax,
  stopGradient,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from '../../src/index.js';
import { onnxruntimeEngine } from '../../src/onnxruntime.js';
import { captureLeaves } from '../../src/realize.js';
import { onEngine } from '../../src/testing/on-engine.js';

const engines: [string, Engine][] = [
  ['reference', referenceEngine()],
  ['onnxruntime', onnxruntimeEngine({ threads: 1 })],
];

const random = (shape: number[], seed: number): Tensor => {
  const uniform = Key.fromSeed(seed).uniformHost(shape.reduce((a, b) => a * b, 1));
  return tensor(
    Float32Array.from(uniform, (u) => 2 * u - 1),
    shape,
  );
};

type Layer = { norm: Tensor; q: Tensor; k: Tensor; v: Tensor; out: Tensor };
const WIDTH = 4;
const layer = (seed: number): Layer => ({
  norm: random([WIDTH], seed),
  q: random([WIDTH, WIDTH], seed + 1),
  k: random([WIDTH, WIDTH], seed + 2),
  v: random([WIDTH, WIDTH], seed + 3),
  out: random([WIDTH, WIDTH], seed + 4),
});

/** A block with kernels that have a gradient of their own, and one that is differentiated through its decomposition. */
function block(p: Layer, x: Tensor, bias: Tensor): Tensor {
  const normed = rmsNorm(x, p.norm, { epsilon: 1e-5 });
  const heads = (w: Tensor) => normed.matmul(w).reshape([2, 3, 2, 2]).transpose([0, 2, 1, 3]);
  const mixed = attention(heads(p.q), heads(p.k), heads(p.v), bias, { scale: 0.7 });
  return x.add(softmax(mixed.transpose([0, 2, 1, 3]).reshape([2, 3, WIDTH]).matmul(p.out)));
}

const X = random([2, 3, WIDTH], 50);
const BIAS = zeros([1, 1, 3, 3]);
const LAYERS = [layer(0), layer(10), layer(20)];

/** Loss, gradients and the gradient of x. */
function step(apply: typeof block) {
  return compile((parameters: { layers: Layer[]; x: Tensor }) =>
    valueAndGrad((p: typeof parameters) =>
      p.layers
        .reduce((x, one) => apply(one, x, BIAS), p.x)
        .square()
        .mean(),
    )(parameters),
  );
}

async function numbersOf(apply: typeof block, engine: Engine): Promise<number[]> {
  return onEngine(engine, async () => {
    const { value, gradient } = await step(apply)({ layers: LAYERS, x: X });
    const tensors = [value as Tensor, gradient.x, ...gradient.layers.flatMap((one) => Object.values(one) as Tensor[])];
    const numbers: number[] = [];
    for (const x of tensors) numbers.push(...(await x.toArray()));
    return numbers;
  });
}

describe.each(engines)('checkpoint on %s', (_, engine) => {
  it('gives the loss and gradients bit for bit', async () => {
    const wanted = await numbersOf(block, engine);
    expect(wanted.some((x) => x !== 0)).toBe(true);
    expect(await numbersOf(checkpoint(block), engine)).toEqual(wanted);
  });
  it('nests', async () => {
    const wanted = await numbersOf(block, engine);
    const nested = checkpoint((p: Layer, x: Tensor, bias: Tensor) =>
      checkpoint((y: Tensor) => checkpoint(block)(p, y, bias))(x),
    );
    expect(await numbersOf(nested, engine)).toEqual(wanted);
  });
  it('differentiates to what the function closes over', async () => {
    const wanted = await numbersOf(block, engine);
    expect(await numbersOf((p, x, bias) => checkpoint((y: Tensor) => block(p, y, bias))(x), engine)).toEqual(wanted);
    expect(await numbersOf((p, x, bias) => checkpoint(() => block(p, x, bias))(), engine)).toEqual(wanted);
  });
  it('keeps a backward function of the user, and stopped gradients', async () => {
    const f = (x: Tensor) => {
      const [clipped] = customVjp(
        (y) => [y!.mul(2)],
        ({ cotangents: [dy], inputs: [y] }) => [dy!.mul(y!).mul(100)],
      )(x);
      return clipped!.mul(stopGradient(x)).sum();
    };
    await onEngine(engine, async () => {
      const x = tensor([1, 2, 3]);
      expect(await grad(checkpoint(f))(x).toArray()).toEqual(await grad(f)(x).toArray());
      expect(await grad(checkpoint(f))(x).toArray()).toEqual([100, 400, 900]);
    });
  });
  it('drops the same elements both times', async () => {
    await onEngine(engine, async () => {
      const key = Key.fromSeed(3).toTensor();
      const gradient = await grad((x: Tensor) =>
        checkpoint((y: Tensor) => dropout(y, 0.5, key))(x)
          .square()
          .sum(),
      )(random([64], 1)).toArray();
      const wanted = (await dropout(random([64], 1), 0.5, key).toArray()).map((y) => 4 * y);
      expect(gradient).toEqual(wanted);
      expect(gradient.filter((g) => g === 0).length).toBeGreaterThan(10);
    });
  });
  it('differentiates twice', async () => {
    const f = (x: Tensor) => x.mul(x).mul(x).tanh().sum();
    const twice = (g: typeof f) =>
      grad((x: Tensor) =>
        grad(g)(x)
          .mul(tensor([1, -2, 3]))
          .sum(),
      );
    await onEngine(engine, async () => {
      const x = tensor([0.1, 0.2, 0.3]);
      expect(await twice(checkpoint(f))(x).toArray()).toEqual(await twice(f)(x).toArray());
    });
  });
  it('takes and gives trees, with integers, and outputs that are inputs or unused', async () => {
    const f = (p: { x: Tensor; at: Tensor }) => ({ y: p.x.gather(p.at).mul(p.x.sum()), x: p.x, at: p.at.add(1), n: 3 });
    const loss = (g: typeof f) => (x: Tensor) => {
      const out = g({ x, at: tensor([0, 0, 2], [3], 'int32') });
      return out.y.add(out.x).sum().mul(out.n);
    };
    await onEngine(engine, async () => {
      const x = tensor([1, 2, 3]);
      expect(await grad(loss(checkpoint(f)))(x).toArray()).toEqual(await grad(loss(f))(x).toArray());
      expect(await checkpoint(f)({ x, at: tensor([1], [1], 'int32') }).at.toArray()).toEqual([2]);
    });
  });
  it('updates donated weights as without', async () => {
    const train = async (apply: typeof block) => {
      const run = compile(
        (state: { layers: Layer[]; x: Tensor }) => {
          const { gradient } = valueAndGrad((p: typeof state) =>
            p.layers
              .reduce((x, one) => apply(one, x, BIAS), p.x)
              .square()
              .mean(),
          )(state);
          const update = (w: Tensor, g: Tensor) => w.sub(g.mul(0.1));
          return {
            state: {
              layers: state.layers.map((one, i) => {
                const g = gradient.layers[i]!;
                return {
                  norm: update(one.norm, g.norm),
                  q: update(one.q, g.q),
                  k: update(one.k, g.k),
                  v: update(one.v, g.v),
                  out: update(one.out, g.out),
                };
              }),
              x: update(state.x, gradient.x),
            },
          };
        },
        { donate: { 0: 'state' } },
      );
      let state = { layers: [layer(0), layer(10)], x: random([2, 3, WIDTH], 50) };
      for (let i = 0; i < 4; i++) state = (await run(state)).state;
      return [...(await state.x.toArray()), ...(await state.layers[0]!.q.toArray())];
    };
    await onEngine(engine, async () => expect(await train(checkpoint(block))).toEqual(await train(block)));
  });
});

describe('the graph of a checkpoint', () => {
  const exponentials = (f: (x: Tensor) => Tensor) => {
    const { graph } = captureLeaves([grad((x: Tensor) => f(x).sum())(X).value], []);
    return simplify(graph, { kernels: new Set() }).nodes.filter(({ op }) => op === 'exp').length;
  };
  it('computes the function again for the gradient, once', () => {
    const f = (x: Tensor) => x.exp().sin();
    expect(exponentials(f)).toBe(1);
    expect(exponentials(checkpoint(f))).toBe(1);
    const loss = (g: typeof f) => (x: Tensor) => g(x).square();
    expect(exponentials(loss(f))).toBe(1);
    expect(exponentials(loss(checkpoint(f)))).toBe(2);
  });
  it('does not differentiate to weights that nobody asks about', () => {
    const w = random([WIDTH, WIDTH], 1);
    const f = (x: Tensor) => x.matmul(w).exp().matmul(w);
    const { graph } = captureLeaves([grad((x: Tensor) => checkpoint(f)(x).square().sum())(X).value], []);
    const products = simplify(graph, { kernels: new Set() }).nodes.filter(({ op }) => op === 'matmul');
    // Two forward, the first again, two backward.
    expect(products).toHaveLength(5);
  });
  it('a barrier keeps equal computations apart', () => {
    const y = X.tanh();
    const apart = [y.sum(), barrier(X, [y]).tanh().sum()];
    const { graph } = captureLeaves(
      apart.map(({ value }) => value),
      [],
    );
    expect(simplify(graph, { kernels: new Set() }).nodes.filter(({ op }) => op === 'tanh')).toHaveLength(2);
  });
});

describe('the memory of a checkpointed chain of layers', () => {
  const child = fileURLToPath(new URL('checkpoint-memory.child.ts', import.meta.url));
  const measure = async (mode: string, order: string) => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', child, mode, order]);
    return JSON.parse(stdout) as { hiddenBytes: number; layers: number; growth: number };
  };
  it.each(['forwards', 'backwards'])('does not hold the layers, gradients asked for %s', async (order) => {
    const plain = await measure('plain', order);
    const { growth, hiddenBytes, layers } = await measure('checkpoint', order);
    // A hidden activation is eight times a layer's input: without checkpoints all are alive when the backward pass starts.
    expect(plain.growth).toBeGreaterThan(layers * hiddenBytes);
    // Inputs of all layers, the weights' gradients (twice, while they are clipped), and the working set of one layer.
    expect(growth).toBeLessThan((layers / 8 + layers / 16 + 6) * hiddenBytes);
  });
});
