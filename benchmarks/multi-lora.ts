/**
 * Several LoRA adapters trained at once against one after the other: `npx tsx benchmarks/multi-lora.ts [MODEL JOBS STEPS ROWS LENGTH]`.
 * `trainAdapters` with JOBS jobs against as many runs of `sft`, the same rows and updates; the two take turns, and the first updates,
 * which compile, do not count. Random weights, one thread, processor time.
 */
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { createAdapter, lora, stackAdapters } from '@posttrain/peft';
import { sft, trainAdapters } from '@posttrain/training';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { median } from './compare.js';
import { randomModel } from './random-model.js';

const [name = '10m', jobs = '4', steps = '8', rows = '4', length = '64'] = process.argv.slice(2);
setEngine(onnxruntimeEngine({ threads: 1 }));
const model = await randomModel(MODEL_CONFIGS[name as ModelName]);
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

/** Median processor time of an update in ms. */
async function timed(run: (afterStep: () => void) => Promise<unknown>): Promise<number> {
  const marks: number[] = [];
  await run(() => {
    const { user, system } = process.cpuUsage();
    marks.push((user + system) / 1000);
  });
  const each = marks.slice(1).map((at, i) => at - marks[i]!);
  return median(each.slice(Math.min(2, each.length - 1)));
}

const together = await timed((afterStep) => {
  const all = Object.fromEntries(names.map((one, i) => [one, job(i)]));
  return trainAdapters({ ...shared, adapter: stackAdapters(adapters), jobs: all, afterStep });
});
const apart: number[] = [];
for (const i of numbers) {
  apart.push(await timed((afterStep) => sft({ ...shared, ...job(i), adapter: adapters[i]!, afterStep })));
}
const sum = apart.reduce((a, b) => a + b, 0);
console.log(
  `${name}, ${jobs} LoRA adapters of rank 16 on all linear layers, ${rows} rows of ${length} tokens each, processor time of an update of all`,
);
console.log(`at once ${together.toFixed(1)} ms, in turn ${sum.toFixed(1)} ms: ${(sum / together).toFixed(2)}×`);
