/**
 * What a cache of lowered graphs (`graphCache`) saves the second process: training steps in new processes without one, with an empty one and with a full
 * one. Seconds of processor time of the process (user and system, all threads), which other programs change less than time does; wall time beside it.
 *
 * usage: npx tsx benchmarks/second-process.ts [--task sft|full] [--model 10m|135m] [--processes 3] [--threads 2]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compileSeconds, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { MODEL_CONFIGS, type ModelName, randomTokens } from './cases.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';
import { fullTrainer, loraTrainer, trainerStep } from './steps.js';

const COLUMNS = ['compiling, wall', 'first, processor', 'later, processor', 'first, wall', 'later, wall'] as const;

const { values: flags } = parseArgs({
  options: {
    task: { type: 'string', default: 'sft' },
    model: { type: 'string', default: '135m' },
    processes: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(availableParallelism()) },
    child: { type: 'string' },
  },
});
if (!['sft', 'full'].includes(flags.task)) throw new Error(`--task: there is no "${flags.task}"; there are sft, full`);

if (flags.child !== undefined) console.log(JSON.stringify(await measure(flags.child)));
else {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-graphs-'));
  const rounds = Array.from({ length: Number(flags.processes) }, () => {
    rmSync(folder, { recursive: true, force: true });
    return ['', folder, folder].map(inNewProcess);
  });
  rmSync(folder, { recursive: true, force: true });
  const rows = ['no cache', 'empty cache', 'full cache'].map((name, kind) => [
    name,
    ...COLUMNS.map((_, i) => Math.min(...rounds.map((round) => round[kind]![i]!)).toFixed(2)),
  ]);
  console.log(
    `${flags.task} ${flags.model}, 4 × 256 tokens, ${flags.threads} threads, smallest of ${flags.processes} processes, seconds`,
  );
  console.log(renderMarkdown([['process', ...COLUMNS], ...rows]));
}

function inNewProcess(folder: string): number[] {
  const args = [...process.execArgv, process.argv[1]!, ...process.argv.slice(2), '--child', folder];
  const { status, stdout } = spawnSync(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error('a measured process failed; its message is above');
  return JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as number[];
}

async function measure(folder: string): Promise<number[]> {
  const config = MODEL_CONFIGS[flags.model as ModelName];
  setEngine(onnxruntimeEngine({ threads: Number(flags.threads), graphCache: folder === '' ? false : folder }));
  const model = await randomModel(config);
  await Promise.all(Object.values(model.weights).map((weight) => weight.data()));
  const { trainer } = flags.task === 'sft' ? await loraTrainer(model, 16) : { trainer: await fullTrainer(model) };
  const step = trainerStep(trainer, { learningRate: 1e-4, rows: randomTokens(4, 256, config.vocab_size) });
  const timed = async () => {
    const [wall, before] = [performance.now(), process.cpuUsage()];
    await step();
    const { user, system } = process.cpuUsage(before);
    return { processor: (user + system) / 1e6, wall: (performance.now() - wall) / 1e3 };
  };
  const compiled = compileSeconds();
  const first = await timed();
  const compiling = compileSeconds() - compiled;
  const later = [await timed(), await timed()];
  const least = (of: 'processor' | 'wall') => Math.min(...later.map((one) => one[of]));
  return [compiling, first.processor, least('processor'), first.wall, least('wall')];
}
