/**
 * Products of float32 matrices in the shapes of a 135M training step: ONNX Runtime's, the kernels of our own in float32 and in
 * bfloat16, PyTorch's in both, in turns in one run; GFLOP a second of the fastest repetition, and as a share of the fastest
 * float32 product of any side.
 *
 * usage: npx tsx benchmarks/products.ts [--python python3] [--threads 1] [--repetitions 8] [--wall] [--sides ours]
 *
 * --sides: a regular expression; without it all. By processor time, which a busy machine disturbs least: read it with one thread. --wall: by wall time, on a quiet one.
 */
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ARITHMETICS } from '../packages/core-tensor/src/engines/onnxruntime/native/kernels.js';
import { largestDifference } from './compare.js';
import { Side } from './side.js';

/** One product: op(a) of [m, k] times op(b) of [k, n]. */
export interface ProductCase {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transA: boolean;
  readonly transB: boolean;
  /** Products in one measurement. */
  readonly calls: number;
}

const { values: flags } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    threads: { type: 'string', default: '1' },
    repetitions: { type: 'string', default: '8' },
    wall: { type: 'boolean', default: false },
    sides: { type: 'string', default: '' },
  },
});
const shape = (m: number, n: number, k: number, layout: '' | 'A' | 'B' = ''): ProductCase => {
  const calls = Math.max(1, Math.round(5e8 / (2 * m * n * k)));
  return { m, n, k, transA: layout === 'A', transB: layout === 'B', calls };
};
const cases = [
  shape(2048, 2048, 2048),
  shape(1024, 1024, 1024),
  shape(1024, 1536, 576, 'B'),
  shape(1024, 576, 1536, 'B'),
  shape(1024, 576, 576, 'B'),
  shape(1024, 192, 576, 'B'),
  shape(1024, 576, 1536),
  shape(1024, 1536, 576),
  shape(1536, 576, 1024, 'A'),
  shape(192, 576, 1024, 'A'),
  shape(1024, 8192, 576, 'B'),
  shape(8192, 576, 1024, 'A'),
  shape(1024, 16, 576, 'B'),
  shape(16, 576, 1024, 'A'),
  shape(256, 576, 576, 'B'),
  shape(256, 576, 576),
  shape(576, 576, 256, 'A'),
  shape(128, 320, 320, 'B'),
  shape(320, 320, 128, 'A'),
  shape(64, 576, 576, 'B'),
  shape(32, 576, 1536, 'B'),
  shape(1024, 320, 320, 'B'),
  shape(1024, 704, 320),
  shape(6144, 320, 704, 'B'),
  shape(320, 704, 6144, 'A'),
];
const text = JSON.stringify(cases);
const node = [process.execPath, ...process.execArgv, join(import.meta.dirname, 'products-side.ts'), flags.threads];
const peer = (dtype: string) => [
  flags.python,
  join(import.meta.dirname, 'products-peer.py'),
  flags.threads,
  dtype,
  text,
];
const commands: Record<string, readonly string[]> = {
  'ONNX Runtime': [...node, JSON.stringify({ cpuKernels: 'off' }), text],
  'ours (auto)': [...node, '{}', text],
  ...Object.fromEntries(
    ARITHMETICS.map((name) => [
      `ours, ${name}`,
      [...node, JSON.stringify({ cpuKernels: name, matmulPrecision: 'medium' }), text],
    ]),
  ),
  PyTorch: peer('float32'),
  'PyTorch, bfloat16': peer('bfloat16'),
};
const sides = new Map<string, Side>();
for (const [name, command] of Object.entries(commands)) {
  if (!new RegExp(flags.sides).test(name)) continue;
  const side = await Side.start(command);
  // An arithmetic that this processor has not says so when it first runs.
  const works = await side.measure(cases.length - 1).then(
    () => true,
    () => false,
  );
  if (works) sides.set(name, side);
  else console.error(`${name}: not on this processor`);
}

const isFloat32 = (name: string) => !/bf(loat)?16|amx/.test(name);
const rates: Map<string, number>[] = [];
const spreads: number[] = [];
for (const [index, { m, n, k, calls }] of cases.entries()) {
  const seconds = new Map([...sides.keys()].map((name) => [name, [] as number[]]));
  let wanted: readonly number[] | undefined;
  for (let turn = -1; turn < Number(flags.repetitions); turn++) {
    for (const [name, side] of sides) {
      const measured = await side.measure(index);
      if (isFloat32(name)) wanted ??= measured.numbers;
      const difference = largestDifference(measured.numbers, wanted ?? measured.numbers);
      // Entries near 0 are what is left of large terms.
      if (isFloat32(name) && difference > 1e-2) throw new Error(`${name}: another product (${difference})`);
      if (turn >= 0) seconds.get(name)!.push(flags.wall ? measured.seconds : measured.processorSeconds);
    }
  }
  const flop = 2 * m * n * k * calls;
  rates.push(new Map([...seconds].map(([name, all]) => [name, flop / Math.min(...all) / 1e9])));
  const spread = [...seconds.values()]
    .map((all) => [...all].sort((a, b) => a - b))
    .map((all) => all[all.length >> 1]! / all[0]!);
  spreads.push(Math.max(...spread));
  console.error(`${index + 1}/${cases.length} (load ${loadavg()[0]!.toFixed(1)})`);
}
const best = Math.max(...rates.flatMap((of) => [...of].filter(([name]) => isFloat32(name)).map(([, rate]) => rate)));
console.log(
  `${cpus()[0]!.model.trim()}; ${flags.threads} thread(s); ${flags.wall ? 'wall' : 'processor'} time, best of ${flags.repetitions}; ` +
    `load ${loadavg()[0]!.toFixed(1)}; largest median over best ${Math.max(...spreads).toFixed(2)}; best float32 rate ${best.toFixed(0)} GFLOP/s\n`,
);
console.log(`| product | ${[...sides.keys()].join(' | ')} |\n| --- | ${[...sides].map(() => '---').join(' | ')} |`);
for (const [i, { m, n, k, transA, transB }] of cases.entries()) {
  const name = `[${transA ? `${k}, ${m}]ᵀ` : `${m}, ${k}]`} × [${transB ? `${n}, ${k}]ᵀ` : `${k}, ${n}]`}`;
  const cells = [...rates[i]!.values()].map((rate) => `${rate.toFixed(0)} (${((100 * rate) / best).toFixed(0)}%)`);
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
for (const side of sides.values()) await side.stop();
