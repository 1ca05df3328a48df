/**
 * Products with quantised weights by the kernels of our own and by ONNX Runtime's operators, in turns in one process: microseconds of
 * processor time a product, best of the repetitions, and the ratio. Weights captured (`packCaptured`, as generation has them), given
 * as inputs (as training has them), and with the gradient.
 *
 * usage: npx tsx benchmarks/quantized-products.ts [--formats 'int4|nf4'] [--size 1536,576] [--threads 1] [--repetitions 5]
 */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { compile, type Engine, realize, setEngine, type Tensor, tensor, vjp } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import {
  type QuantizedWeight,
  quantizedMatmul,
  quantizedTensors,
  quantizeInt4,
  quantizeInt8,
  quantizeNf4,
} from '@posttrain/core-tensor/quantization';

const { values: flags } = parseArgs({
  options: {
    formats: { type: 'string', default: '' },
    size: { type: 'string', default: '1536,576' },
    threads: { type: 'string', default: '1' },
    repetitions: { type: 'string', default: '5' },
  },
});
const [out, width] = flags.size.split(',').map(Number) as [number, number];
/** So many weights in turn, as a model has layers. */
const LAYERS = 12;
const ROWS = { captured: [1, 4, 16, 64], given: [1, 4, 16, 64, 256, 1024], gradient: [256, 1024] } as const;
type Kind = keyof typeof ROWS;

const wave = (size: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i * 1.7 + (i % 37)));
const matrix = { shape: [out, width], data: wave(out * width) };
const FORMATS: Readonly<Record<string, () => QuantizedWeight>> = {
  int4: () => quantizeInt4(matrix),
  'int4, symmetric': () => quantizeInt4(matrix, { symmetric: true }),
  'int4, symmetric, rounded inputs': () => quantizeInt4(matrix, { symmetric: true, activations: 'int8' }),
  nf4: () => quantizeNf4(matrix, { doubleQuantization: false }),
  'int8, threshold 0': () => quantizeInt8(matrix, { threshold: 0 }),
  'int8, threshold 6': () => quantizeInt8(matrix),
};
const threads = Number(flags.threads);
const engines = [onnxruntimeEngine({ threads, cpuKernels: 'off' }), onnxruntimeEngine({ threads })] as const;

/** What one call takes, in processor seconds, and the numbers that it gives. */
async function side(engine: Engine, weights: readonly QuantizedWeight[], kind: Kind, rows: number) {
  setEngine(engine);
  const x = tensor(wave(rows * width), [rows, width]);
  const stored = weights.map((weight) => quantizedTensors(weight));
  await realize([x]);
  const all = (input: Tensor, given: typeof stored) =>
    given.map((weight) => {
      if (kind !== 'gradient') return quantizedMatmul(input, weight).square().sum();
      const { output, pullback } = vjp((t: Tensor) => quantizedMatmul(t, weight), input);
      return pullback(output)[0];
    });
  const given = compile(all);
  const captured = compile((input: Tensor) => all(input, stored), { packCaptured: true });
  const call = () => (kind === 'captured' ? captured(x) : given(x, stored));
  const numbers = await (await call()).at(-1)!.toArray();
  const seconds = async () => {
    setEngine(engine);
    const before = process.cpuUsage();
    await call();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e6;
  };
  return { numbers, seconds };
}

const largest = (values: readonly number[]) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

console.log(
  `${cpus()[0]!.model.trim()}; [${out}, ${width}], ${threads} thread(s), best of ${flags.repetitions} by processor time`,
);
console.log(
  '| weights | | rows | ONNX Runtime, µs | ours, µs | ratio | load |\n| --- | --- | --- | --- | --- | --- | --- |',
);
for (const [name, make] of Object.entries(FORMATS)) {
  if (!new RegExp(flags.formats).test(name)) continue;
  const weights = Array.from({ length: LAYERS }, make);
  for (const kind of Object.keys(ROWS) as Kind[]) {
    for (const rows of ROWS[kind]) {
      const sides = [await side(engines[0], weights, kind, rows), await side(engines[1], weights, kind, rows)] as const;
      const scale = largest(sides[0].numbers);
      const difference = largest(sides[0].numbers.map((value, i) => value - sides[1].numbers[i]!));
      if (!(difference <= 1e-4 * scale))
        throw new Error(`${name}, ${kind}, ${rows} rows: other numbers (${difference})`);
      const best: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
      for (let turn = 0; turn < Number(flags.repetitions); turn++)
        for (const i of [0, 1] as const) best[i] = Math.min(best[i], await sides[i].seconds());
      const cells = best.map((s) => ((s * 1e6) / LAYERS).toFixed(0));
      console.log(
        `| ${name} | ${kind} | ${rows} | ${cells.join(' | ')} | ${(best[0] / best[1]).toFixed(2)} | ${loadavg()[0]!.toFixed(0)} |`,
      );
    }
  }
}
