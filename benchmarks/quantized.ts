/**
 * Products with quantised weights against float32 ones, in turns in this process, on the default engine:
 * `npx tsx benchmarks/quantized.ts [PAIRS] [WIDTH]`. Prints bits per weight, relative error of the weight and of the
 * product (normal weights, correlated inputs), and time as a multiple of the float32 product's, median and quartiles of the pairs.
 */

import { type Compiled, compile, Key, normal, realize, type Tensor, vjp } from '@posttrain/core-tensor';
import {
  bitsPerWeight,
  dequantized,
  type FloatMatrix,
  gptq,
  layerHessian,
  type QuantizedWeight,
  quantizedMatmul,
  quantizedTensors,
  quantizeInt4,
  quantizeInt8,
  quantizeNf4,
} from '@posttrain/core-tensor/quantization';

const pairs = Number(process.argv[2] ?? 15);
const WIDTH = Number(process.argv[3] ?? 1536);
const ROWS = [1, 64, 1024] as const;

const random = async (seed: number, shape: readonly number[]): Promise<Tensor> => {
  const x = normal(Key.fromSeed(seed).toTensor(), shape);
  await realize([x]);
  return x;
};

const weight = await random(0, [WIDTH, WIDTH]);
const matrix: FloatMatrix = { shape: weight.shape, data: (await weight.data()) as Float32Array };
/** Inputs that follow 64 common factors, as a layer's inputs do: what GPTQ makes use of. */
const mixing = await random(8, [64, WIDTH]);
async function correlated(seed: number, rows: number): Promise<Tensor> {
  const [factors, own] = [await random(seed, [rows, 64]), await random(seed + 100, [rows, WIDTH])];
  const x = factors
    .matmul(mixing)
    .mul(1 / 8)
    .add(own.mul(0.3));
  await realize([x]);
  return x;
}
const calibration = await correlated(9, 2048);

const FORMS: Readonly<Record<string, () => QuantizedWeight>> = {
  'nf4, double quantisation': () => quantizeNf4(matrix),
  'nf4, blocks of 64': () => quantizeNf4(matrix, { doubleQuantization: false }),
  'fp4, double quantisation': () => quantizeNf4(matrix, { levels: 'fp4' }),
  'int4, blocks of 32': () => quantizeInt4(matrix),
  'int4, blocks of 128, symmetric': () => quantizeInt4(matrix, { blockSize: 128, symmetric: true }),
  'int8 (LLM.int8())': () => quantizeInt8(matrix),
};

type Product = Compiled<[x: Tensor, w: unknown], Tensor>;
const multiply = (quantized: boolean): { forward: Product; gradient: Product } => {
  const product = (x: Tensor, w: unknown) =>
    quantized
      ? quantizedMatmul(x, w as QuantizedWeight<Tensor>)
      : x.matmul((w as { value: Tensor }).value, { transposeB: true });
  return {
    forward: compile(product as (x: Tensor, w: unknown) => Tensor),
    gradient: compile(((x: Tensor, w: unknown) => {
      const { output, pullback } = vjp((input: Tensor) => product(input, w), x);
      return pullback(output)[0];
    }) as (x: Tensor, w: unknown) => Tensor),
  };
};

async function seconds(run: () => Promise<Tensor>): Promise<number> {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1000;
}

const quantile = (sorted: readonly number[], q: number): number => sorted[Math.floor(q * (sorted.length - 1))]!;

/** Time of one as a multiple of the other's. */
async function ratio(one: () => Promise<Tensor>, other: () => Promise<Tensor>): Promise<string> {
  for (let i = 0; i < 3; i++) await Promise.all([one(), other()]);
  const ratios: number[] = [];
  for (let i = 0; i < pairs; i++) {
    const [first, second] = [await seconds(one), await seconds(other)];
    ratios.push(first / second);
  }
  ratios.sort((a, b) => a - b);
  const [low, middle, high] = [0.25, 0.5, 0.75].map((q) => quantile(ratios, q).toFixed(2));
  return `${middle} (${low}–${high})`;
}

const float = multiply(false);
const quantized = multiply(true);
const inputs = await Promise.all(ROWS.map((rows, i) => correlated(1 + i, rows)));
const plain = { value: weight };
const norm = (x: Tensor) => x.square().sum().sqrt().item();
const exact = await float.forward(inputs[1]!, plain);
const [weightNorm, exactNorm] = [await norm(weight), await norm(exact)];

console.log(`[${WIDTH}, ${WIDTH}] weights, ${pairs} pairs; time as a multiple of the float32 product's`);
console.log(
  '| weights | bits each | error of W | error of x · Wᵀ | quantising, s | 1 row | 64 rows | 1024 rows | with gradient |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
async function report(name: string, make: () => QuantizedWeight): Promise<void> {
  const start = performance.now();
  const host = make();
  const quantising = (performance.now() - start) / 1000;
  const w = quantizedTensors(host);
  const error = (await norm(dequantized(w).sub(weight))) / weightNorm;
  const outputError = (await norm((await quantized.forward(inputs[1]!, w)).sub(exact))) / exactNorm;
  const cells = [name, bitsPerWeight(host).toFixed(3), error.toFixed(4), outputError.toFixed(4), quantising.toFixed(2)];
  for (const x of inputs)
    cells.push(
      await ratio(
        () => quantized.forward(x, w),
        () => float.forward(x, plain),
      ),
    );
  const last = inputs[2]!;
  cells.push(
    await ratio(
      () => quantized.gradient(last, w),
      () => float.gradient(last, plain),
    ),
  );
  console.log(`| ${cells.join(' | ')} |`);
}

for (const [name, make] of Object.entries(FORMS)) await report(name, make);
const hessian = layerHessian({ shape: calibration.shape, data: (await calibration.data()) as Float32Array });
await report('int4 by gptq, blocks of 128', () => gptq(matrix, hessian).toInt4());
