import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeNode } from '../src/graph/node.js';
import { simplify } from '../src/graph/simplify.js';
import {
  compile,
  type Engine,
  gelu,
  geluTanh,
  grad,
  Key,
  normal,
  referenceEngine,
  scatterAdd,
  setEngine,
  silu,
  swiglu,
  Tensor,
  tensor,
  zeros,
} from '../src/index.js';
import { openSafetensors } from '../src/io/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { captureLeaves } from '../src/realize.js';
import { conformanceCases } from '../src/testing/cases.js';
import { CaseChecker, expectClose } from '../src/testing/check-case.js';
import { kernelCases } from '../src/testing/kernel-cases.js';
import { byOp } from '../src/testing/test-engine.js';

describe('activations', () => {
  const path = join(import.meta.dirname, '../../../goldens/kernels/activations.safetensors');
  const functions: Record<string, (x: Tensor, up: Tensor) => Tensor> = { silu, gelu, geluTanh, swiglu };
  const engines: readonly (readonly [string, () => Engine])[] = [
    ['reference', referenceEngine],
    ['onnxruntime', () => onnxruntimeEngine({ threads: 1 })],
  ];

  describe.each(engines)('activations as torch computes them, on %s', (_, create) => {
    const golden = new Map<string, Tensor>();
    beforeAll(async () => {
      setEngine(create());
      const file = await openSafetensors(path);
      for (const name of file.tensors.keys()) golden.set(name, tensor((await file.read(name)).data));
      await file.close();
    });

    it.each(Object.keys(functions))('%s', async (name) => {
      const f = functions[name]!;
      const [x, up] = [golden.get('x')!, golden.get('up')!];
      const step = compile((a: Tensor, b: Tensor) => [
        f(a, b),
        ...grad(([c, d]: Tensor[]) => f(c!, d!).mul(golden.get('weights')!).sum())([a, b]),
      ]);
      const [out, dx, dup] = await step(x, up);
      const same = async (key: string, got: Tensor) =>
        expectClose(key, await got.toArray(), await golden.get(key)!.toArray(), 3e-6);
      await same(name, out!);
      await same(`${name}.dx`, dx!);
      if (golden.has(`${name}.dup`)) await same(`${name}.dup`, dup!);
    });
  });

  describe('swiglu', () => {
    beforeAll(() => setEngine(referenceEngine()));
    it('is the product that its name says', async () => {
      const [gate, up] = [tensor([-3, -0.5, 0, 2]), tensor([2, -1, 5, 0.5])];
      expectClose('swiglu', await swiglu(gate, up).toArray(), await silu(gate).mul(up).toArray(), 1e-12);
    });
    it('is a straight line in up, and the identity of a gate far above 0', async () => {
      const [gate, up] = [tensor([40, 50]), tensor([2, -3])];
      expectClose('slope', await swiglu(gate, up).toArray(), [80, -150], 1e-12);
      const rate = grad((u: Tensor) => swiglu(gate, u).sum())(up);
      expectClose('rate', await rate.toArray(), [40, 50], 1e-12);
    });
    it('refuses two shapes', () => {
      expect(() => swiglu(zeros([2, 3]), zeros([3]))).toThrow(/swiglu.*one shape.*\[2, 3\], \[3\]/);
    });
  });
});

/** An engine on its first day: it has the primitives and overrides no kernel. */
function primitivesOnly(): Engine {
  const inner = onnxruntimeEngine({ threads: 1 });
  return {
    ...inner,
    name: 'primitives only',
    kernels: new Set(),
    compile: (graph, options) => {
      expect(graph.nodes.filter(({ op }) => op === 'kernel')).toEqual([]);
      return inner.compile(graph, options);
    },
  };
}

const fused = [...byOp(conformanceCases())].filter(([op]) => op in kernelCases);

it('covers every fused kernel', () => {
  expect(fused.map(([op]) => op)).toEqual(Object.keys(kernelCases));
});

describe.each(fused)('%s, from primitives', (_, cases) => {
  const checker = new CaseChecker(cases);
  const engine = primitivesOnly();
  beforeAll(() => setEngine(engine));

  it.each(cases)('$name', async (one) => {
    await checker.checkForward(engine, one);
    if (one.variables.length > 0) await checker.checkGradient(engine, one);
  });
});

describe('the gradient of an embedding', () => {
  const [vocabulary, width] = [13, 4];
  const draw = (seed: number, shape: readonly number[]) => normal(Key.fromSeed(seed).toTensor(), shape);
  const tokens = () => tensor(Int32Array.from([3, 0, 3, 12, 5, 3]), [2, 3]);

  /** A model with one matrix for tokens in and logits out. */
  const loss = (ids: Tensor) => (embedding: Tensor) =>
    embedding.gather(ids).tanh().reshape([6, width]).matmul(embedding, { transposeB: true }).square().mean();

  /** Adds a gradient to those of the micro-batches before. */
  const accumulate = (total: Tensor, embedding: Tensor, ids: Tensor) => ({
    total: total.add(grad(loss(ids))(embedding)),
  });

  const engines: readonly (readonly [string, () => Engine])[] = [
    ['onnxruntime', () => onnxruntimeEngine({ threads: 1 })],
    ['reference', referenceEngine],
  ];
  afterAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));

  describe.each(engines)('the gradient of an embedding, on %s', (_, create) => {
    it('adds up repeated tokens, and is that of the product with one-hot rows', async () => {
      setEngine(create());
      const embedding = draw(0, [vocabulary, width]);
      const oneHot = tensor(
        Float32Array.from({ length: 6 * vocabulary }, (_value, i) =>
          Number([3, 0, 3, 12, 5, 3][Math.floor(i / vocabulary)] === i % vocabulary),
        ),
        [6, vocabulary],
      );
      const dense = grad((e: Tensor) => oneHot.matmul(e).tanh().matmul(e, { transposeB: true }).square().mean());
      const got = await (await compile(grad(loss(tokens())))(embedding)).toArray();
      expectClose('gradient', got, await dense(embedding).toArray(), 2e-6);
    });

    it('accumulates in place as it does anew', async () => {
      setEngine(create());
      const embedding = draw(1, [vocabulary, width]);
      const [plain, donating] = [compile(accumulate), compile(accumulate, { donate: { 0: 'total' } })];
      let [wanted, got] = [draw(2, [vocabulary, width]), draw(2, [vocabulary, width])];
      for (let i = 0; i < 3; i++) {
        wanted = (await plain(wanted, embedding, tokens())).total;
        got = (await donating(got, embedding, tokens())).total;
      }
      expectClose('total', await got.toArray(), await wanted.toArray(), 1e-6);
    });

    it('adds scattered rows to either side, to each other, and to what is used again', async () => {
      setEngine(create());
      const [x, rows] = [draw(3, [vocabulary, width]), draw(4, [2, 3, width])];
      const f = (a: Tensor, u: Tensor, ids: Tensor) => {
        const scattered = (y: Tensor) => scatterAdd(ids, y, { axis: 0, size: vocabulary });
        const shared = scattered(u);
        return [
          a.add(scattered(u.mul(2))),
          scattered(u.mul(3)).add(a),
          scattered(u.mul(4)).add(scattered(u.mul(5))),
          shared.add(a),
          shared.mul(2),
          shared.add(shared),
          a.add(shared.exp().add(shared.add(a.mul(2)))),
        ];
      };
      const got = await compile(f)(x, rows, tokens());
      const [values, updates] = [await x.toArray(), await rows.toArray()];
      const dense = new Array<number>(vocabulary * width).fill(0);
      for (const [row, id] of [3, 0, 3, 12, 5, 3].entries()) {
        for (let j = 0; j < width; j++) dense[id * width + j]! += updates[row * width + j]!;
      }
      const wanted = [
        (a: number, s: number) => a + 2 * s,
        (a: number, s: number) => 3 * s + a,
        (_a: number, s: number) => 9 * s,
        (a: number, s: number) => s + a,
        (_a: number, s: number) => 2 * s,
        (_a: number, s: number) => 2 * s,
        (a: number, s: number) => 3 * a + Math.exp(s) + s,
      ];
      for (const [i, y] of got.entries()) {
        expectClose(
          `sum ${i}`,
          await y.toArray(),
          values.map((a, at) => wanted[i]!(a, dense[at]!)),
          3e-6,
        );
      }
    });
  });

  it('is written for ONNX Runtime without a matrix of zeros of the size of the embedding', async () => {
    const { lowerGraph } = await import('../src/engines/onnxruntime/lowering.js');
    const inputs = [[vocabulary, width] as const, [vocabulary, width] as const].map((shape) =>
      makeNode('input', [], { spec: { shape, dtype: 'float32' } }),
    );
    const ids = makeNode('input', [], { spec: { shape: [2, 3], dtype: 'int32' } });
    const [total, embedding, given] = [...inputs, ids].map((node) => new Tensor({ node, index: 0 }));
    const output = accumulate(total!, embedding!, given!).total;
    const { graph } = captureLeaves([output.value], [...inputs, ids]);
    const { onnx } = lowerGraph(simplify(graph, { kernels: new Set() }));
    const writers = new Map(onnx.nodes.flatMap((node) => node.outputs.map((name) => [name, node.op] as const)));
    const scatters = onnx.nodes.filter(({ op }) => op === 'ScatterElements');
    expect(scatters.map(({ inputs: [start] }) => writers.get(start!))).toEqual([expect.stringMatching(/MatMul|Gemm/)]);
  });
});
