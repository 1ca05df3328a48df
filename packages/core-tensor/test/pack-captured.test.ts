import { expect, it } from 'vitest';
import { compile, referenceEngine, setEngine, type Tensor, tensor } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';

const numbers = (size: number, seed: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(seed + i * 1.7));
const matrix = (rows: number, columns: number, seed: number) => tensor(numbers(rows * columns, seed), [rows, columns]);

it.each([
  ['onnxruntime', onnxruntimeEngine],
  ['reference', referenceEngine],
])('%s: packed weights give what weights give, for any number of rows and in several graphs', async (_, make) => {
  setEngine(make());
  const [weight, head, bias] = [matrix(96, 64, 1), matrix(80, 96, 2), tensor(numbers(96, 3), [96])];
  // The embedding is looked up and multiplied by, as a tied one is.
  const model = (w: { weight: Tensor; head: Tensor; bias: Tensor }) => (x: Tensor, ids: Tensor) =>
    x.matmul(w.weight, { transposeB: true }).add(w.bias).add(w.head.gather(ids)).matmul(w.head, { transposeB: true });
  const given = compile((w: { weight: Tensor; head: Tensor; bias: Tensor }, x: Tensor, ids: Tensor) =>
    model(w)(x, ids),
  );
  const packed = compile(model({ weight, head, bias }), { packCaptured: true });
  for (const rows of [1, 3, 40, 1]) {
    const x = matrix(rows, 64, rows);
    const ids = tensor(
      Int32Array.from({ length: rows }, (_, i) => (7 * i) % 80),
      [rows],
      'int32',
    );
    const wanted = await (await given({ weight, head, bias }, x, ids)).toArray();
    const got = await (await packed(x, ids)).toArray();
    got.forEach((value, i) => {
      expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-4);
    });
  }
  expect(packed.traces).toBe(3);
  await packed.dispose();
});

it('a captured tensor that is gone is an error, packed or not', async () => {
  setEngine(onnxruntimeEngine());
  const weight = matrix(96, 64, 1);
  const product = compile((x: Tensor) => x.matmul(weight, { transposeB: true }), { packCaptured: true });
  await product(matrix(1, 64, 2));
  await weight.dispose();
  await expect(product(matrix(1, 64, 2))).rejects.toThrow(/disposed/);
});
