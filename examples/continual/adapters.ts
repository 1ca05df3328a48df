/** `npx tsx examples/continual/adapters.ts [--write] [arm …]`: methods that merge after every task, on the stream. See README.md. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { CausalLM } from '@posttrain/lm';
import { createAdapter, lora, mergeAdapter, osf, type PeftAdapter } from '@posttrain/peft';
import { type ContinualMethod, continualMethods, sftStage, trainStream } from '@posttrain/training';
import { type ArmRun, freshModel, overallOf, SEEDS, SIZE, type StudySize, show, summary } from './study.js';
import { taskStream } from './tasks.js';

type Make = (model: CausalLM, seed: number) => Promise<PeftAdapter>;

const ofLora: Make = (model, seed) =>
  createAdapter(model, lora, { r: 16, loraAlpha: 32, targetModules: 'all-linear' }, { seed });
const ofOsf: Make = (model) => createAdapter(model, osf, { targetModules: 'all-linear' });

const following = (make: Make, seed: number): Parameters<typeof continualMethods.adapter_per_task>[0] => ({
  async next({ model, adapter }, index) {
    const { model: merged } = await mergeAdapter(model, adapter as PeftAdapter);
    return { model: merged, adapter: await make(merged, 100 * seed + index) };
  },
});

interface Arm {
  /** What it is compared with. */
  readonly control: string;
  readonly learningRate: number;
  readonly make?: Make;
  readonly method: (seed: number) => ContinualMethod;
}

/** Learning rates and λ were chosen on seed 1, which is not among the three. */
export const ADAPTER_ARMS: Readonly<Record<string, Arm>> = {
  naive: { control: 'naive', learningRate: 4e-3, method: continualMethods.naive },
  coma: { control: 'naive', learningRate: 4e-3, method: () => continualMethods.coma() },
  lora: {
    ...{ control: 'lora', learningRate: 4e-3, make: ofLora },
    method: (seed) => continualMethods.adapter_per_task(following(ofLora, seed)),
  },
  o_lora: {
    ...{ control: 'lora', learningRate: 4e-3, make: ofLora },
    method: (seed) => continualMethods.o_lora({ lambda: 1, ...following(ofLora, seed) }),
  },
  osf: {
    ...{ control: 'lora', learningRate: 4e-3, make: ofOsf },
    method: (seed) => continualMethods.adapter_per_task(following(ofOsf, seed)),
  },
};

/** One arm on the stream, from fresh weights. */
export async function runAdapterArm(name: string, seed: number, size: StudySize = SIZE): Promise<ArmRun> {
  const { learningRate, make, method } = ADAPTER_ARMS[name]!;
  const model = await freshModel(seed);
  const { steps, batchSize } = size;
  const settings = { batchSize, learningRate, schedule: 'cosine', warmupSteps: Math.floor(steps / 16), seed } as const;
  const { baseline, matrix } = await trainStream({
    model,
    ...(make && { adapter: await make(model, 100 * seed) }),
    tasks: taskStream({ seed, ...size }),
    method: method(seed),
    stage: sftStage({ ...settings, steps }),
  });
  const rounded = (row: readonly number[]) => row.map((x) => Math.round(x * 1e4) / 1e4);
  return { seed, baseline: rounded(baseline.exact_match!), matrix: matrix.exact_match!.map(rounded) };
}

/** The table of README.md: a line an arm, beside its control. */
export function adapterTable(results: Readonly<Record<string, readonly ArmRun[]>>): string {
  const lines = Object.entries(results).map(([arm, runs]) => {
    const { control } = ADAPTER_ARMS[arm]!;
    const { overall, apart, forgetting, learnt } = summary(runs, results[control]!);
    const cells = [
      show(overall),
      arm === control ? '' : `${show(apart)} (\`${control}\`)`,
      show(forgetting!),
      show(learnt!),
    ];
    return `| \`${arm}\` | ${cells.join(' | ')} |`;
  });
  return [
    '| arm | OP | OP less that of its control | forgetting | learnt |',
    '| --- | --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

if (process.argv[1]?.endsWith('adapters.ts')) {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const isWritten = process.argv.includes('--write');
  const [seeds, named] = [
    process.argv.includes('--tune') ? [1] : SEEDS,
    process.argv.slice(2).filter((word) => word in ADAPTER_ARMS),
  ];
  const file = join(import.meta.dirname, 'results', 'adapters.json');
  // With --write a run that was cut goes on: what the file has is not run again.
  const results: Record<string, ArmRun[]> = isWritten && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  for (const arm of named.length > 0 ? named : Object.keys(ADAPTER_ARMS)) {
    results[arm] ??= [];
    for (const seed of seeds) {
      if (results[arm]!.some((run) => run.seed === seed)) continue;
      const run = await runAdapterArm(arm, seed);
      const rows = run.matrix.map((row) => row.map((x) => x.toFixed(2)).join(' ')).join(' | ');
      console.log(`${arm.padEnd(10)} seed ${seed}: OP ${overallOf(run).toFixed(2)}, R ${rows}`);
      results[arm]!.push(run);
      if (isWritten) writeFileSync(file, asFile(results));
    }
  }
  if (seeds.length > 1 && named.length === 0) console.log(`\n${adapterTable(results)}`);
}

/** A line a run, arms in the order of the table. */
function asFile(results: Readonly<Record<string, readonly ArmRun[]>>): string {
  const lines = Object.keys(ADAPTER_ARMS)
    .filter((arm) => results[arm])
    .map(
      (arm) => ` ${JSON.stringify(arm)}: [\n${results[arm]!.map((run) => `  ${JSON.stringify(run)}`).join(',\n')}\n ]`,
    );
  return `{\n${lines.join(',\n')}\n}\n`;
}
