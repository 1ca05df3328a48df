/**
 * Several LoRA adapters trained at once against one after the other: `npx tsx benchmarks/multi-lora.ts [MODEL JOBS STEPS ROWS LENGTH THREADS]`.
 * `trainAdapters` with JOBS jobs against as many runs of `sft`, the same rows and updates; the two take turns, and the first updates,
 * which compile, do not count. Random weights, processor time and time.
 */
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { createAdapter, lora, stackAdapters } from '@posttrain/peft';
import { sft, trainAdapters } from '@posttrain/training';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { median } from './compare.js';
import { randomModel } from './random-model.js';

const [name = '10m', jobs = '4', steps = '8', rows = '4', length = '64', threads = '1'] = process.argv.slice(2);
setEngine(onnxruntimeEngine({ threads: Number(threads) }));
const model = await randomModel(MODEL_CONFIGS[name as ModelName]);
const ROUNDS = 2;
const numbers = Array.from({ length: Number(jobs) }, (_, i) => i);
const names = numbers.map((i) => `job${i}`);
const rowsOf = (job: number) =>
  Array.from({ length: Number(rows) }, (_, row) => ({
    input_ids: Array.from({ length: Number(length) }, (_, t) => 3 + ((31 * t + 7 * row + 101 * job) % 400)),
  }));
const adapterOf = (i: number) =>
  createAdapter(model, lora, { r: 16, targetModules: 'all-linear' }, { seed: i, name: names[i]! });
const adapters = await Promise.all(numbers.map(adapterOf));
const shared = { model, steps: Number(steps), onWarning: () => {} } as const;
const job = (i: number) => ({ rows: rowsOf(i), batchSize: Number(rows), learningRate: 1e-3 });

/** Processor time and time of each update in ms, without those that compile. */
async function timed(run: (afterStep: () => void) => Promise<unknown>): Promise<readonly [number, number][]> {
  const marks: [number, number][] = [];
  await run(() => {
    const { user, system } = process.cpuUsage();
    marks.push([(user + system) / 1000, performance.now()]);
  });
  const each = marks
    .slice(1)
    .map(([processor, time], i): [number, number] => [processor - marks[i]![0], time - marks[i]![1]]);
  return each.slice(Math.min(2, each.length - 1));
}

const together: [number, number][] = [];
const apart: [number, number][][] = numbers.map(() => []);
for (let round = 0; round < ROUNDS; round++) {
  const all = Object.fromEntries(names.map((one, i) => [one, job(i)]));
  const stack = stackAdapters(adapters);
  together.push(...(await timed((afterStep) => trainAdapters({ ...shared, adapter: stack, jobs: all, afterStep }))));
  for (const i of numbers) {
    apart[i]!.push(...(await timed((afterStep) => sft({ ...shared, ...job(i), adapter: adapters[i]!, afterStep }))));
  }
}
console.log(
  `${name}, ${jobs} LoRA adapters of rank 16 on all linear layers, ${rows} rows of ${length} tokens each, ${threads} threads; an update of all:`,
);
for (const [which, what] of ['processor time', 'time'].entries()) {
  const middle = (all: readonly [number, number][]) => median(all.map((one) => one[which]!));
  const [once, turns] = [middle(together), apart.reduce((sum, one) => sum + middle(one), 0)];
  console.log(`${what}: at once ${once.toFixed(1)} ms, in turn ${turns.toFixed(1)} ms: ${(turns / once).toFixed(2)}×`);
}
