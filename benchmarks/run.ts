/**
 * Times matmul, training steps (LoRA and of all weights), a small model's step, the loss head and batched generation beside
 * PyTorch, transformers and PEFT (float32, the same cores, the same weights), in turns, and prints the peer's time divided
 * by ours.
 *
 * usage: npx tsx benchmarks/run.ts [--only matmul,sft,full,overhead,head,generate] [--model 10m,135m] [--repetitions 7]
 *   [--peers eager,compiled] [--python python3] [--batches 1,16] [--new-tokens 64] [--threads 2] [--quick]
 *   [--output benchmarks/RESULTS.md]
 *
 * --quick: the 10M model, 3 repetitions, fewer new tokens. --output: writes the table into that file too, between its marks or as a new file.
 * --peers: compiled is torch.compile, for the training steps; it needs a C++ compiler. matmul is measured whenever a
 * training step or the head is: their fraction of the machine's peak is of that.
 * --threads: of both sides; default all cores. On a busy machine take 1 and read the processor time: threads that wait for
 * each other count as busy.
 * The Python packages are those of goldens/requirements.txt. The exit status is 1 when a case failed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeSafetensors } from '@posttrain/core-tensor/io';
import {
  fullSettings,
  generateSettings,
  headSettings,
  MODEL_CONFIGS,
  MODEL_NAMES,
  type ModelName,
  matmulSettings,
  NUMBERS,
  overheadSettings,
  PEERS,
  type Peer,
  sftSettings,
  TASK_NAMES,
  type TaskSettings,
  TOLERANCES,
  workOf,
} from './cases.js';
import { type Comparison, compareSides, type MemoryUse } from './compare.js';
import { readOutput, writeOutput } from './output-file.js';
import { type MeasuredCase, matmulPeak, type ResultRow, renderTable, replaceMeasured } from './render.js';
import { Side } from './side.js';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: TASK_NAMES.join(',') },
    model: { type: 'string' },
    peers: { type: 'string', default: PEERS.join(',') },
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
const peers = namesIn('peers', flags.peers, PEERS);
const repetitions = countIn('repetitions', flags.repetitions ?? (flags.quick ? '3' : '7'));
const newTokens = countIn('new-tokens', flags['new-tokens'] ?? (flags.quick ? '16' : '64'));
const batches = flags.batches.split(',').map((text) => countIn('batches', text));
const threads = countIn('threads', flags.threads);
if (flags.output !== undefined) replaceMeasured(readOutput(flags.output), '');

const folder = mkdtempSync(join(tmpdir(), 'posttrain-benchmark-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
process.once('SIGINT', () => process.exit(130));
const ownScript = join(import.meta.dirname, 'own.ts');
// The loader that runs this file runs the other too.
const node = [process.execPath, ...process.execArgv];

/** Keeps freed memory in the process: without it PyTorch pays for first-touched pages in every step. */
const KEEPS_MEMORY = { MALLOC_MMAP_MAX_: '0', MALLOC_TRIM_THRESHOLD_: '100000000000', MALLOC_ARENA_MAX: '1' };

const versions: Record<string, string> = {};
const rows: ResultRow[] = [];
if (tasks.some((task) => task !== 'overhead' && task !== 'generate')) await run('-', await prepareMatmul(), ['eager']);
if (tasks.includes('overhead')) await run('tiny', overheadSettings(prepareModel('tiny')), peers);
if (tasks.includes('head')) for (const settings of await prepareHead()) await run('-', settings, ['eager']);
for (const name of models) {
  if (!tasks.some((task) => ['sft', 'full', 'generate'].includes(task))) continue;
  const model = prepareModel(name);
  if (tasks.includes('sft')) await run(name, sftSettings(name, model), peers);
  if (tasks.includes('full')) await run(name, fullSettings(name, model), peers);
  if (tasks.includes('generate')) await run(name, generateSettings(name, model, { batches, newTokens }), ['eager']);
}
const peak = matmulPeak(rows);
const report = `${describeRun()}\n\n${renderTable(rows, peak)}`;
console.log(report);
if (flags.output !== undefined) {
  // Read again: whoever edits its text meanwhile loses nothing.
  await writeOutput(flags.output, replaceMeasured(readOutput(flags.output), report));
}
if (rows.some(({ comparison }) => 'failure' in comparison)) process.exitCode = 1;

/** Measures all cases of a task against each kind of peer, each side in a process of its own. */
async function run(model: string, settings: TaskSettings, kinds: readonly Peer[]): Promise<void> {
  const file = join(folder, `${settings.task}-${model}.json`);
  writeFileSync(file, JSON.stringify(settings));
  for (const kind of kinds) {
    const add = (index: number, comparison: ResultRow['comparison']) => {
      const { name } = settings.cases[index]!;
      rows.push({ task: settings.task, model, name, peer: kind, work: workOf(settings, index), comparison });
      console.error(renderTable(rows.slice(-1), matmulPeak(rows)));
    };
    let index = 0;
    try {
      for await (const comparison of comparisons(file, settings, model, kind)) add(index++, comparison);
    } catch (error) {
      // The cases after it would run in a process that is not what it was.
      const failure = `failed: ${(error as Error).message.replaceAll('|', '/').replace(/\s+/g, ' ').slice(0, 300)}`;
      while (index < settings.cases.length) add(index++, { failure });
    }
  }
}

async function* comparisons(
  file: string,
  settings: TaskSettings,
  model: string,
  kind: Peer,
): AsyncGenerator<MeasuredCase> {
  // Our side writes the adapter that the peer loads, so it starts first.
  const own = await Side.start([...node, ownScript, file, String(threads)]);
  try {
    const memory = await peerMemory(file, settings, kind);
    const peer = await startPeer(file, kind, KEEPS_MEMORY);
    try {
      Object.assign(versions, own.versions, peer.versions);
      for (const [index, { name }] of settings.cases.entries()) {
        console.error(`${settings.task} ${model} ${name}, ${kind} … (load ${loadavg()[0]!.toFixed(1)})`);
        const what = `${settings.task} ${model} ${name}: ${NUMBERS[settings.task]}`;
        const comparison = await compareSides({ own, peer }, index, {
          repetitions,
          tolerance: TOLERANCES[settings.task],
          what,
        });
        yield { ...comparison, memory: { own: usedBy(own, comparison.own), peer: memory[index]! } };
      }
    } finally {
      await peer.stop();
    }
  } finally {
    await own.stop();
  }
}

function startPeer(file: string, kind: Peer, more: NodeJS.ProcessEnv): Promise<Side> {
  return Side.start([flags.python, join(import.meta.dirname, 'peer.py'), file, String(threads), kind], {
    ...process.env,
    ...more,
    TORCHINDUCTOR_CACHE_DIR: join(folder, 'inductor'),
    ...{ HF_HUB_OFFLINE: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1', TRANSFORMERS_VERBOSITY: 'error' },
  });
}

/** The peer's memory for each case, in a process that gives freed memory back: keeping it is faster, but takes more. */
async function peerMemory(file: string, settings: TaskSettings, kind: Peer): Promise<MemoryUse[]> {
  const peer = await startPeer(file, kind, {});
  try {
    const all: MemoryUse[] = [];
    for (const index of settings.cases.keys()) {
      await peer.measure(index);
      all.push(usedBy(peer, [await peer.measure(index)]));
    }
    return all;
  } finally {
    await peer.stop();
  }
}

function usedBy(side: Side, measurements: Comparison['own']): MemoryUse {
  return { startBytes: side.startBytes, peakBytes: measurements.at(-1)!.peakBytes };
}

function matrix(name: string, height: number, width: number) {
  const data = Float32Array.from({ length: height * width }, () => Math.random() - 0.5);
  return { name, dtype: 'float32' as const, shape: [height, width], data };
}

async function prepareMatmul(): Promise<TaskSettings> {
  const file = join(folder, 'matmul.safetensors');
  const settings = matmulSettings(file, flags.quick);
  const matrices = settings.cases.flatMap(({ size }) => [
    matrix(`a${size}`, size, size),
    matrix(`b${size}`, size, size),
  ]);
  await writeSafetensors(file, matrices);
  return settings;
}

async function prepareHead(): Promise<TaskSettings[]> {
  const file = join(folder, 'head.safetensors');
  const all = headSettings(file, flags.quick);
  const { rows: count, width, vocabulary } = all[0]!.cases[0]!;
  await writeSafetensors(file, [matrix('hidden', count, width), matrix('head', vocabulary, width)]);
  return all;
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
    `${threads} ${threads === 1 ? 'thread' : 'threads'} a side, ${repetitions} pairs a case`,
    peak === undefined ? '.' : `; fastest square product ${peak.toFixed(0)} GFLOP/s.`,
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
