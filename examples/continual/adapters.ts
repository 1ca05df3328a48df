/** `npx tsx examples/continual/adapters.ts [--write] [arm …]`: methods that merge after every task, on the stream. See README.md. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { CausalLM } from '@posttrain/lm';
import { createAdapter, lora, mergeAdapter, osf, type PeftAdapter, progressivePrompt } from '@posttrain/peft';
import { type ContinualMethod, continualMethods, sft, sftStage, trainStream } from '@posttrain/training';
import { type ArmRun, freshModel, overallOf, SEEDS, SIZE, type StudySize, show, summary } from './study.js';
import { taskStream } from './tasks.js';

type Make = (model: CausalLM, seed: number) => Promise<PeftAdapter>;

const ofLora: Make = (model, seed) =>
  createAdapter(model, lora, { r: 16, loraAlpha: 32, targetModules: 'all-linear' }, { seed });
const ofOsf: Make = (model) => createAdapter(model, osf, { targetModules: 'all-linear' });

// Four tasks' prompts and the longest row are within the context of 32.
const PROMPT = { numVirtualTokens: 4 };
const ofPrompt: Make = (model, seed) => progressivePrompt(model, undefined, PROMPT, { seed });

const following = (make: Make, seed: number): Parameters<typeof continualMethods.adapter_per_task>[0] => ({
  async next({ model, adapter }, index) {
    const { model: merged } = await mergeAdapter(model, adapter as PeftAdapter);
    return { model: merged, adapter: await make(merged, 100 * seed + index) };
  },
});

type Rows = readonly Readonly<Record<string, unknown>>[];
const turned = (rows: Rows): Rows =>
  rows.map((row) => ({ ...row, completion: [...(row.completion as string)].reverse().join('') }));

/** A frozen model can only be steered: this one answers all tasks both ways, as often as they are written and turned round. */
async function bothWays(seed: number, { steps, batchSize, ...size }: StudySize): Promise<CausalLM> {
  const rows: Rows = taskStream({ seed, ...size }).flatMap((task) => [...task.rows, ...turned(task.rows)]);
  const schedule = { schedule: 'cosine', warmupSteps: Math.floor(steps / 4) } as const;
  const { trainer } = await sft({
    ...{ model: await freshModel(seed), rows, steps: 4 * steps, batchSize, learningRate: 4e-3, seed },
    ...{ ...schedule, onWarning: () => {} },
  });
  return trainer.model;
}

interface Arm {
  /** What it is compared with. */
  readonly control: string;
  /** Begin with a model that answers both ways, and ask for every second task turned round. Default: random weights, tasks as they are. */
  readonly isSteered?: boolean;
  readonly learningRate: number;
  readonly make?: Make;
  readonly method: (seed: number) => ContinualMethod;
}

const PROMPTS = { control: 'prompt', isSteered: true, learningRate: 0.3, make: ofPrompt } as const;

/** Learning rates were chosen on seed 1, which is not among the three. */
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
  prompt: { ...PROMPTS, method: continualMethods.naive },
  progressive_prompts: {
    ...PROMPTS,
    method: (seed) =>
      continualMethods.progressive_prompts({
        next: ({ model, adapter }, index) =>
          progressivePrompt(model as CausalLM, adapter as PeftAdapter, PROMPT, { seed: 100 * seed + index }),
      }),
  },
};

/** One arm on the stream, from fresh weights. */
export async function runAdapterArm(name: string, seed: number, size: StudySize = SIZE): Promise<ArmRun> {
  const { isSteered, learningRate, make, method } = ADAPTER_ARMS[name]!;
  const model = await (isSteered ? bothWays(seed, size) : freshModel(seed));
  const { steps, batchSize } = size;
  const settings = { batchSize, learningRate, schedule: 'cosine', warmupSteps: Math.floor(steps / 16), seed } as const;
  const { baseline, matrix } = await trainStream({
    model,
    ...(make && { adapter: await make(model, 100 * seed) }),
    tasks: taskStream({ seed, ...size }).map((task, i) =>
      isSteered && i % 2 === 1
        ? { ...task, rows: turned(task.rows as Rows), evaluationRows: turned(task.evaluationRows as Rows) }
        : task,
    ),
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
