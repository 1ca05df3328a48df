/**
 * Times matmul, a LoRA training step and batched generation beside PyTorch, transformers and PEFT (float32, the same
 * cores, the same weights), in turns, and prints the peer's time divided by ours.
 *
 * usage: npx tsx benchmarks/run.ts [--only matmul,sft,generate] [--model 10m,135m] [--repetitions 7] [--python python3]
 *   [--batches 1,16] [--new-tokens 64] [--threads 2] [--quick] [--output benchmarks/RESULTS.md]
 *
 * --quick: the 10M model, 3 repetitions, fewer new tokens. --output: writes the table into that file too.
 * --threads: of both sides; default all cores. On a busy machine take 1 and read the processor time: threads that wait for
 * each other count as busy.
 * The Python packages are those of goldens/requirements.txt.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeAtomically, writeSafetensors } from '@posttrain/core-tensor';
import {
  generateSettings,
  MODEL_CONFIGS,
  MODEL_NAMES,
  type ModelName,
  matmulSettings,
  NUMBERS,
  sftSettings,
  TASK_NAMES,
  type TaskSettings,
  TOLERANCES,
  workOf,
} from './cases.js';
import { compareSides } from './compare.js';
import { type ResultRow, renderTable, replaceMeasured } from './render.js';
import { Side } from './side.js';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: TASK_NAMES.join(',') },
    model: { type: 'string' },
    repetitions: { type: 'string' },
    batches: { type: 'string', default: '1,16' },
    'new-tokens': { type: 'string' },
    python: { type: 'string', default: 'python3' },
    threads: { type: 'string', default: String(availableParallelism()) },
    quick: { type: 'boolean', default: false },
    output: { type: 'string' },
  },
});
const tasks = namesIn('only', flags.only, TASK_NAMES);
const models = namesIn('model', flags.model ?? (flags.quick ? '10m' : MODEL_NAMES.join(',')), MODEL_NAMES);
const repetitions = countIn('repetitions', flags.repetitions ?? (flags.quick ? '3' : '7'));
const newTokens = countIn('new-tokens', flags['new-tokens'] ?? (flags.quick ? '16' : '64'));
const batches = flags.batches.split(',').map((text) => countIn('batches', text));

const threads = countIn('threads', flags.threads);
const folder = mkdtempSync(join(tmpdir(), 'posttrain-benchmark-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
process.once('SIGINT', () => process.exit(130));
const ownScript = join(import.meta.dirname, 'own.ts');
// The loader that runs this file runs the other too.
const node = [process.execPath, ...process.execArgv];

const versions: Record<string, string> = {};
const rows: ResultRow[] = [];
if (tasks.includes('matmul')) await run('-', await prepareMatmul());
for (const name of models) {
  const modelTasks = tasks.filter((task) => task !== 'matmul');
  if (modelTasks.length === 0) continue;
  const model = prepareModel(name);
  if (modelTasks.includes('sft')) await run(name, sftSettings(name, model));
  if (modelTasks.includes('generate')) await run(name, generateSettings(name, model, { batches, newTokens }));
}
const report = `${describeRun()}\n\n${renderTable(rows)}`;
console.log(report);
if (flags.output !== undefined) {
  const document = replaceMeasured(readFileSync(flags.output, 'utf8'), report);
  await writeAtomically((files) => files.stage(flags.output!, (write) => write(new TextEncoder().encode(document))));
}

/** Measures all cases of a task, each side in a process of its own. */
async function run(model: string, settings: TaskSettings): Promise<void> {
  const file = join(folder, `${settings.task}-${model}.json`);
  writeFileSync(file, JSON.stringify(settings));
  // Our side writes the adapter that the peer loads, so it starts first.
  const own = await Side.start([...node, ownScript, file, String(threads)]);
  try {
    const peer = await startPeer(file);
    try {
      Object.assign(versions, own.versions, peer.versions);
      for (const [index, { name }] of settings.cases.entries()) {
        console.error(`${settings.task} ${model} ${name} … (load ${loadavg()[0]!.toFixed(1)})`);
        const what = `${settings.task} ${model} ${name}: ${NUMBERS[settings.task]}`;
        const comparison = await compareSides({ own, peer }, index, {
          repetitions,
          tolerance: TOLERANCES[settings.task],
          what,
        });
        rows.push({ task: settings.task, model, name, work: workOf(settings, index), comparison });
        console.error(renderTable(rows.slice(-1)));
      }
    } finally {
      await peer.stop();
    }
  } finally {
    await own.stop();
  }
}

function startPeer(file: string): Promise<Side> {
  return Side.start([flags.python, join(import.meta.dirname, 'peer.py'), file, String(threads)], {
    ...process.env,
    // Keeps freed memory in the process: without it PyTorch pays for first-touched pages in every step.
    ...{ MALLOC_MMAP_MAX_: '0', MALLOC_TRIM_THRESHOLD_: '100000000000', MALLOC_ARENA_MAX: '1' },
    ...{ HF_HUB_OFFLINE: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1', TRANSFORMERS_VERBOSITY: 'error' },
  });
}

async function prepareMatmul(): Promise<TaskSettings> {
  const settings = matmulSettings(join(folder, 'matmul.safetensors'), flags.quick);
  if (settings.task !== 'matmul') throw new Error('not the settings of a matmul');
  const matrix = (name: string, size: number) => ({
    name,
    dtype: 'float32' as const,
    shape: [size, size],
    data: Float32Array.from({ length: size * size }, () => Math.random() - 0.5),
  });
  const matrices = settings.cases.flatMap(({ size }) => [matrix(`a${size}`, size), matrix(`b${size}`, size)]);
  await writeSafetensors(settings.file, matrices);
  return settings;
}

/** A folder with the model, its weights random. In a process of its own, so that this one stays small. */
function prepareModel(name: ModelName): string {
  const config = join(folder, `${name}.json`);
  writeFileSync(config, JSON.stringify(MODEL_CONFIGS[name]));
  const model = join(folder, name);
  const [program, ...args] = node;
  const { status } = spawnSync(program!, [...args, ownScript, 'prepare', config, model], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`the ${name} model could not be prepared; the message is above`);
  return model;
}

function describeRun(): string {
  const gibibytes = (totalmem() / 2 ** 30).toFixed(0);
  const packages = JSON.parse(readFileSync(join(import.meta.dirname, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const all = { ...versions, 'onnxruntime-node': packages.dependencies['onnxruntime-node']! };
  return [
    `${new Date().toISOString().slice(0, 10)}; ${availableParallelism()} cores (${cpus()[0]!.model.trim()}), ${gibibytes} GiB of memory; `,
    `${Object.entries(all)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}; `,
    `${threads} ${threads === 1 ? 'thread' : 'threads'} a side, ${repetitions} pairs a case.`,
  ].join('');
}

function namesIn<Name extends string>(flag: string, text: string, known: readonly Name[]): Name[] {
  return text.split(',').map((name) => {
    const found = known.find((candidate) => candidate === name);
    if (!found) throw new Error(`--${flag}: there is no "${name}"; there are ${known.join(', ')}`);
    return found;
  });
}

function countIn(flag: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new Error(`--${flag}: "${text}" is not a positive integer`);
  return count;
}
