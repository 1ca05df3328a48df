import { afterAll, describe, expect, it } from 'vitest';
import { makeNode } from '../src/graph/node.js';
import { simplify } from '../src/graph/simplify.js';
import {
  compile,
  type Engine,
  grad,
  Key,
  normal,
  referenceEngine,
  scatterAdd,
  setEngine,
  Tensor,
  tensor,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { captureLeaves } from '../src/realize.js';
import { expectClose } from '../src/testing/check-case.js';

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
