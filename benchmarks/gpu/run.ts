/**
 * What our engine and PyTorch do on one NVIDIA card, and which ways there are to its tensor cores from Node. See README.md.
 *
 * usage: node run.mjs [--output results.json] [--only matmul,lora] [--shapes 0.5b,1.5b] [--python python3] [--minutes 3]
 *   [--device webgpu] [--quick]
 *
 * Every step is a process of its own with a time limit; a step that fails says why in its place and the next one runs. The
 * results so far are written after every step. --quick with --device cpu tries the programs without a card.
 */
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stepFlops } from '../flops.js';
import { readOutput } from '../output-file.js';
import { copyBandwidth, type EngineSettings, type Figures, generation, loraStep, matmulRate } from './own-engine.js';
import { GPU_SHAPES, type GpuShape } from './shapes.js';
import { subgroupMatrix } from './subgroup-matrix.js';
import { summaryOf } from './summary.js';
import { cublasLtProduct, driverCopy, ptxProduct } from './tensor-cores.js';

const { values: flags } = parseArgs({
  options: {
    output: { type: 'string', default: 'results.json' },
    only: { type: 'string' },
    shapes: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    minutes: { type: 'string', default: '3' },
    device: { type: 'string', default: 'webgpu' },
    quick: { type: 'boolean', default: false },
    step: { type: 'string' },
  },
});

/** What a child process is asked to do. */
type OwnStep = { readonly settings: EngineSettings; readonly shape: GpuShape; readonly rows: number };

const OWN_STEPS: Readonly<Record<string, (given: OwnStep) => Promise<Figures> | Figures>> = {
  matmul: ({ settings }) => matmulRate(settings),
  copy: ({ settings }) => copyBandwidth(settings),
  lora: ({ settings, shape, rows }) => loraStep(settings, shape, rows, settings.quick ? 16 : 256),
  generate: ({ settings, shape, rows }) => generation(settings, shape, rows),
  'subgroup matrix': subgroupMatrix,
  'driver copy': driverCopy,
  'PTX product': ptxProduct,
  'cuBLASLt product': cublasLtProduct,
};

if (flags.step !== undefined) {
  const { name, ...given } = JSON.parse(flags.step) as OwnStep & { name: string };
  console.log(`\n${JSON.stringify(await OWN_STEPS[name]!(given))}`);
  // Dawn may fall over while it is taken down; by now there is nothing to lose.
  process.exit(0);
}

readOutput(flags.output);
const results: Record<string, Figures> = {};
const { quick } = flags;
const shapes = (flags.shapes ?? (quick ? 'try' : '0.5b,1.5b')).split(',') as GpuShape[];
for (const shape of shapes) if (!(shape in GPU_SHAPES)) throw new Error(`--shapes: there is no "${shape}"`);
const chosen = flags.only?.split(',');
const cases = shapes.flatMap((shape) => [1, 16].map((rows) => ({ shape, rows })));
const dtypes = flags.device === 'cpu' ? (['float32'] as const) : (['float16', 'float32'] as const);

await shell(
  'machine',
  'uname -a; node --version; nvidia-smi; nvidia-smi -q -d CLOCK | head -30; ldconfig -p | grep -iE "vulkan|cuda|cublas"; ls /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/nvidia/share/vulkan/icd.d 2>/dev/null; env | grep -iE "^(VK|NVIDIA|CUDA)"',
);
await peer('info');
await peer('matmul');
await peer('copy');
for (const dtype of dtypes) {
  await own('matmul', dtype);
  await own('copy', dtype);
}
await own('PTX product');
await own('cuBLASLt product');
await own('driver copy');
await own('subgroup matrix');
for (const shape of shapes) {
  await peer('lora', shape, 4);
  await peer('lora', shape, 4, { compile: true });
  for (const dtype of dtypes) await own('lora', dtype, shape, 4);
}
for (const { shape, rows } of cases) {
  await peer('generate', shape, rows);
  for (const dtype of dtypes) await own('generate', dtype, shape, rows);
}
console.log(`\n${summaryOf(results)}`);

async function own(name: string, dtype: EngineSettings['dtype'] = 'float32', shape: GpuShape = 'try', rows = 1) {
  const usesEngine = ['matmul', 'copy', 'lora', 'generate'].includes(name);
  const usesShape = ['lora', 'generate'].includes(name);
  const label = ['ours', name, ...(usesShape ? [shape, `${rows} rows`] : []), ...(usesEngine ? [dtype] : [])].join(' ');
  const settings: EngineSettings = { device: flags.device as EngineSettings['device'], dtype, quick };
  const args = [...process.execArgv, process.argv[1]!, '--step', JSON.stringify({ name, settings, shape, rows })];
  await step(name, label, process.execPath, args);
}

async function peer(name: string, shape?: GpuShape, rows = 1, more: { compile?: boolean } = {}) {
  const device = flags.device === 'cpu' ? 'cpu' : 'cuda';
  const given = {
    ...{ device, dtype: device === 'cpu' ? 'float32' : 'bfloat16', quick, rows, ...more },
    ...(quick ? { length: 16, prompt: 16, steps: 4 } : { length: 256, prompt: 128, steps: 64 }),
    ...(shape ? { config: GPU_SHAPES[shape] } : {}),
  };
  const label = ['torch', name, ...(shape ? [shape, `${rows} rows`] : []), ...(more.compile ? ['compiled'] : [])];
  const flops = shape && stepFlops(GPU_SHAPES[shape], { rows, tokens: given.length, rank: 16 });
  await step(name, label.join(' '), flags.python, [beside('peer.py'), name, JSON.stringify(given)], flops);
}

/** A file next to this program. */
function beside(file: string): string {
  const path = join(import.meta.dirname, file);
  if (!existsSync(path)) throw new Error(`${path} is missing`);
  return path;
}

async function shell(label: string, script: string): Promise<void> {
  const { output } = await runLimited('sh', ['-c', script]);
  record(label, { output });
}

/** `flops`: of what takes the figure "seconds a step". */
async function step(name: string, label: string, program: string, args: readonly string[], flops?: number) {
  if (chosen && !chosen.includes(name)) return;
  const { status, output } = await runLimited(program, args);
  const last = output.trim().split('\n').at(-1) ?? '';
  try {
    if (status !== 0) throw new Error(reasonIn(output) ?? `ended with ${status}`);
    const figures = JSON.parse(last) as Figures;
    const time = figures['seconds a step'];
    record(label, {
      ...figures,
      ...(flops !== undefined && typeof time === 'number' ? { 'GFLOP/s': flops / time / 1e9 } : {}),
    });
  } catch (error) {
    record(label, { failed: (error as Error).message, output: output.slice(-3000) });
  }
}

/** The line in which a program says what went wrong: an exception's, or the limit's. */
function reasonIn(output: string): string | undefined {
  return output
    .split('\n')
    .findLast((line) => /^(\w*(Error|Exception)\b.*: |stopped after)/.test(line))
    ?.slice(0, 300);
}

function record(label: string, figures: Figures): void {
  results[label] = figures;
  console.log(
    `${label}: ${figures.output === undefined ? JSON.stringify(figures) : JSON.stringify(figures.failed ?? '')}`,
  );
  if (typeof figures.output === 'string') console.log(figures.output.replaceAll(/^/gm, '    '));
  writeFileSync(flags.output, `${JSON.stringify({ date: new Date().toISOString(), results }, null, 1)}\n`);
}

/** Both outputs of a program together, which is stopped at the time limit. */
function runLimited(program: string, args: readonly string[]): Promise<{ status: number | string; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const limit = setTimeout(() => {
      output += `\nstopped after ${flags.minutes} minutes`;
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), 5000).unref();
    }, Number(flags.minutes) * 60_000);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString();
      });
    }
    const finish = (status: number | string) => {
      clearTimeout(limit);
      resolve({ status, output });
    };
    child.once('error', (error) => {
      output += error.message;
      finish('an error');
    });
    child.once('close', (code, signal) => finish(code ?? signal ?? 'nothing'));
  });
}
