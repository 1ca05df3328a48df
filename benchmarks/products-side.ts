/** One side of products.ts: the engine with some options. `products-side.ts THREADS ENGINE-OPTIONS CASES`, both JSON. */
import { createInterface } from 'node:readline';
import { compile, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { type OnnxruntimeEngineOptions, onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { ProductCase } from './products.js';

const [threads, options, cases] = process.argv.slice(2).map((text) => JSON.parse(text)) as [
  number,
  OnnxruntimeEngineOptions,
  readonly ProductCase[],
];
setEngine(onnxruntimeEngine({ threads, ...options }));

const wave = (rows: number, columns: number, seed: number) =>
  tensor(
    Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(0.7 * i + seed)),
    [rows, columns],
  );

const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ versions: { node: process.versions.node }, startBytes: process.memoryUsage.rss() });
const operands = new Map<number, readonly [Tensor, Tensor]>();
const product = compile((a: Tensor, b: Tensor) => a.matmul(b), { name: 'product' });
const ofLayout = [
  product,
  ...[1, 2, 3].map((flags) =>
    compile((a: Tensor, b: Tensor) => a.matmul(b, { transposeA: flags % 2 === 1, transposeB: flags > 1 })),
  ),
];
for await (const line of createInterface({ input: process.stdin })) {
  const { case: index } = JSON.parse(line) as { case: number };
  const { m, n, k, transA, transB, calls } = cases[index]!;
  if (!operands.has(index)) {
    operands.clear();
    operands.set(index, [transA ? wave(k, m, 1) : wave(m, k, 1), transB ? wave(n, k, 2) : wave(k, n, 2)]);
  }
  const [a, b] = operands.get(index)!;
  const multiply = ofLayout[Number(transA) + 2 * Number(transB)]!;
  const before = process.cpuUsage();
  const start = performance.now();
  let result = a;
  for (let i = 0; i < calls; i++) result = await multiply(a, b);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  const data = await result.data();
  const numbers = Array.from({ length: 32 }, (_, i) => data[Math.floor((i * data.length) / 32) + (i % 7)]!);
  answer({
    seconds,
    processorSeconds: (user + system) / 1e6,
    numbers,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  });
}
