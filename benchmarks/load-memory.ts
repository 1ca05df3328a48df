/**
 * Peak memory of loading a model and of one pass over it, against transformers, each in a process of its own, in one run:
 *
 *   PYTHON=… npx tsx benchmarks/load-memory.ts [--model 135m]
 *
 * PYTHON: an interpreter with torch and transformers. Random weights, saved as float32 and as bfloat16; both sides load them as float32. Peaks are
 * the kernel's (VmHWM), less what the process took at its peak before it loaded. Linux only.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadWeights, sequenceLogProbs } from '@posttrain/lm';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';

const { values: flags } = parseArgs({
  options: { model: { type: 'string', default: '135m' }, side: { type: 'string' } },
});
const TOKENS = Array.from({ length: 64 }, (_, i) => i + 5);
const peak = (): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;

/** MiB. */
interface Peaks {
  readonly before: number;
  readonly loaded: number;
  readonly pass: number;
}

async function own(folder: string): Promise<Peaks> {
  const before = peak();
  const model = await loadWeights(folder);
  const loaded = peak();
  await sequenceLogProbs(model, [TOKENS]);
  return { before, loaded, pass: peak() };
}

if (flags.side) console.log(JSON.stringify(await own(flags.side)));
else {
  const python = process.env.PYTHON;
  if (!python) throw new Error('Give PYTHON: an interpreter with torch and transformers.');
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-load-memory-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const model = await randomModel(MODEL_CONFIGS[flags.model as ModelName]);
  const rows: string[][] = [];
  for (const dtype of ['float32', 'bfloat16'] as const) {
    const path = join(folder, dtype);
    await model.save(path, { dtype });
    const run = (command: string, args: readonly string[]): Peaks =>
      JSON.parse(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    const script = (name: string) => fileURLToPath(new URL(name, import.meta.url));
    const ours = run('npx', ['tsx', script('load-memory.ts'), '--side', path]);
    const theirs = run(python, [script('load-memory.py'), path]);
    const more = ({ before, loaded, pass }: Peaks) => [loaded - before, pass - before].map((x) => x.toFixed(0));
    const weights = (model.storage.bytes / 2 ** 20).toFixed(0);
    const ratio = ((theirs.pass - theirs.before) / (ours.pass - ours.before)).toFixed(2);
    rows.push([dtype, weights, ...more(ours), ...more(theirs), ratio, ours.pass.toFixed(0), theirs.pass.toFixed(0)]);
  }
  const headers = [
    'stored as',
    'weights, MiB',
    'ours: loading',
    'and a pass',
    'transformers: loading',
    'and a pass',
    'ratio',
    'whole: ours',
    'theirs',
  ];
  console.log(renderMarkdown([headers, ...rows]));
}
