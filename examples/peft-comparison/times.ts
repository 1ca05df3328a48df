/**
 * `npx tsx examples/peft-comparison/times.ts [ROUNDS]`: the processor time of an update of every arm, as a multiple of LoRA's. All arms are
 * there at once and take turns, an update each; medians. Writes results/times.json, which the table of README.md reads.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { negativeLogLikelihood, Trainer, tokenizeRows, toTrainingRows } from '@posttrain/training';
import { FULL, METHODS, rowsFor, startOf } from './arms.js';
import { baseModel } from './base-model.js';
import { SEEDS, SIZE } from './study.js';
import { splitOf } from './tasks.js';

/** What compiles, and what is not warm yet. */
const IDLE = 3;

/** By arm, a multiple of the time of `LORA`, which is among them. */
export async function timesOf(
  arms: readonly string[],
  rounds: number,
  { pretrainSteps, runs }: { readonly pretrainSteps: number; readonly runs?: string },
): Promise<Readonly<Record<string, number>>> {
  const seed = SEEDS[0]!;
  const model = await baseModel(seed, pretrainSteps, runs);
  const sides = [];
  for (const arm of arms) {
    const { model: base, adapter, optimizer } = await startOf(arm, { model, seed, steps: SIZE.steps, runs });
    const trainer = await Trainer.create(base, { optimizer: optimizer ?? 'adamw_torch', ...(adapter && { adapter }) });
    const rows = rowsFor(base, adapter, splitOf('before', seed).train.slice(0, 16));
    sides.push({ arm, trainer, rows: toTrainingRows(tokenizeRows(base, rows).rows), times: [] as number[] });
  }
  for (let round = 0; round < IDLE + rounds; round++) {
    for (const { trainer, rows, times } of sides) {
      const before = process.cpuUsage();
      await trainer.forwardBackward(rows, negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 1e-4 });
      const { user, system } = process.cpuUsage(before);
      if (round >= IDLE) times.push(user + system);
    }
  }
  const median = (times: readonly number[]) => [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
  const lora = median(sides.find(({ arm }) => arm === 'LORA')!.times);
  return Object.fromEntries(sides.map(({ arm, times }) => [arm, Number((median(times) / lora).toPrecision(3))]));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const runs = join(import.meta.dirname, 'runs');
  const times = await timesOf([FULL, ...METHODS], Number(process.argv[2] ?? 15), {
    pretrainSteps: SIZE.pretrainSteps,
    runs,
  });
  for (const [arm, time] of Object.entries(times)) console.log(`${arm}: ${time}`);
  writeFileSync(join(import.meta.dirname, 'results', 'times.json'), `${JSON.stringify(times, null, 1)}\n`);
}
