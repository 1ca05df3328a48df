/**
 * Peak memory and processor time of long contexts on the CPU, against transformers, each measurement in a process of its own, in one run:
 *
 *   PYTHON=… npx tsx benchmarks/long-context.ts [--model 10m] [--lengths 4096,8192,16384,32768]
 *
 * PYTHON: an interpreter with torch and transformers; left out, ours alone. Random weights in float32, one thread a side. "score": a
 * log-probability for every token of one sequence; "generate": a prompt of so many tokens, and 8 greedy tokens behind it. Peaks are the
 * kernel's (VmHWM), less what the process took at its peak before, with the model loaded and a short sequence run. Linux only.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Key, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { decode, loadWeights, sequenceLogProbs } from '@posttrain/lm';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: '10m' },
    lengths: { type: 'string', default: '4096,8192,16384,32768' },
    what: { type: 'string', default: 'score,generate' },
  },
});
const peak = (): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;

/** MiB, and seconds of the processor. */
interface Measured {
  readonly before: number;
  readonly peak: number;
  readonly seconds: number;
}

async function own([folder, what, length]: readonly string[]): Promise<Measured> {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const model = await loadWeights(folder!);
  const { vocabSize } = model.network.config;
  const tokens = Array.from({ length: Number(length) }, (_, i) => (7 * i + Math.floor(i / 13)) % (vocabSize - 2));
  await sequenceLogProbs(model, [tokens.slice(0, 17)]);
  const [before, began] = [peak(), process.cpuUsage()];
  if (what === 'score') await sequenceLogProbs(model, [tokens]);
  else {
    const how = { temperature: 0, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1, isEnd: () => false };
    const rows = [{ prompt: tokens, maxTokens: 8, key: Key.fromSeed(0), ...how }];
    for await (const _ of decode(model.network, model.weights, rows));
  }
  const { user, system } = process.cpuUsage(began);
  return { before, peak: peak(), seconds: (user + system) / 1e6 };
}

if (positionals.length > 0) console.log(JSON.stringify(await own(positionals)));
else {
  const python = process.env.PYTHON;
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-long-context-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const lengths = flags.lengths.split(',').map(Number);
  const config = { ...MODEL_CONFIGS[flags.model as ModelName], max_position_embeddings: 2 * Math.max(...lengths) };
  await (await randomModel(config)).save(folder);
  const script = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const run = (command: string, args: readonly string[]): Measured =>
    JSON.parse(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  const rows: string[][] = [];
  for (const what of flags.what.split(',')) {
    for (const length of lengths) {
      const ours = run(process.execPath, ['--import', 'tsx', script('long-context.ts'), folder, what, String(length)]);
      const theirs = python ? run(python, [script('long-context.py'), folder, what, String(length)]) : undefined;
      const more = ({ before, peak }: Measured) => (peak - before).toFixed(0);
      const row = [what, String(length), more(ours), theirs ? more(theirs) : '-'];
      const times = [ours.seconds.toFixed(1), theirs ? theirs.seconds.toFixed(1) : '-', loadavg()[0]!.toFixed(1)];
      rows.push([...row, ...times]);
      console.error(rows.at(-1)!.join('  '));
    }
  }
  const headers = ['what', 'tokens', 'ours, MiB', 'transformers', 'ours, processor s', 'transformers', 'load'];
  console.log(renderMarkdown([headers, ...rows]));
}
