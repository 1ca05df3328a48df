/**
 * Where the time of our steps goes, by ONNX Runtime's own profile: for every node the smallest of its times over the
 * repetitions, summed by kind of node. On a noisy machine these sums repeat where wall times do not.
 *
 * usage: npx tsx benchmarks/profile.ts [--task sft|full|overhead|generate] [--model 10m|135m] [--repetitions 5] [--threads 2]
 *   [--batch 4] [--tokens 256] [--top 30] [--new-tokens 16]
 *
 * For each compiled graph, in milliseconds a run: nodes by op, then by op and shape, products with their rate.
 * generate: `--batch` prompts (16) of `--tokens` (64), and `--new-tokens` for each.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Engine, type Executable, Key, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { decode } from '@posttrain/lm';
import { MODEL_CONFIGS, type ModelName, randomTokens } from './cases.js';
import { stepFlops } from './flops.js';
import { type NodeKind, nodeKinds, type ProfileEvent } from './node-profile.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';
import { fullTrainer, loraTrainer, trainerStep, wholeStep } from './steps.js';

const { values: flags } = parseArgs({
  options: {
    task: { type: 'string', default: 'sft' },
    model: { type: 'string', default: '135m' },
    repetitions: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(availableParallelism()) },
    batch: { type: 'string' },
    tokens: { type: 'string' },
    'new-tokens': { type: 'string', default: '16' },
    top: { type: 'string', default: '30' },
  },
});
/** Ops that are shown; those after them are never worth a look. */
const OPS = 16;

const usual = flags.task === 'generate' ? { batch: '16', tokens: '64' } : { batch: '4', tokens: '256' };
const { batch, tokens } = {
  batch: Number(flags.batch ?? usual.batch),
  tokens: Number(flags.tokens ?? usual.tokens),
};
const repetitions = Number(flags.repetitions);
const config = MODEL_CONFIGS[flags.task === 'overhead' ? 'tiny' : (flags.model as ModelName)];
const folder = mkdtempSync(join(tmpdir(), 'posttrain-profile-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Profiles are written when graphs are disposed of, so every graph is, at the end. */
function collecting(inner: Engine): { engine: Engine; dispose(): Promise<void> } {
  const open = new Set<Executable>();
  const compile: Engine['compile'] = async (graph, options) => {
    const executable = await inner.compile(graph, options);
    const collected = {
      run: (inputs: Parameters<Executable['run']>[0]) => executable.run(inputs),
      dispose: async () => {
        if (open.delete(collected)) await executable.dispose();
      },
    };
    open.add(collected);
    return collected;
  };
  const dispose = async () => {
    for (const executable of open) await executable.dispose();
  };
  return { engine: Object.assign(Object.create(inner) as Engine, { compile }), dispose };
}

const threads = Number(flags.threads);
const profiled = collecting(onnxruntimeEngine({ threads, profile: join(folder, 'graph') }));
// A model computes on the engine that was set when it was made.
setEngine(profiled.engine);
const model = await randomModel(config);
// Of the random numbers that filled the model, and of reading it, nothing is to be seen.
await Promise.all(Object.values(model.weights).map((weight) => weight.data()));
await profiled.dispose();
for (const file of readdirSync(folder)) rmSync(join(folder, file));

const times: { seconds: number; processorSeconds: number }[] = [];
const step = await stepOf(flags.task);
for (let i = -1; i < repetitions; i++) {
  const before = process.cpuUsage();
  const start = performance.now();
  await step();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  if (i >= 0) times.push({ seconds, processorSeconds: (user + system) / 1e6 });
}
await profiled.dispose();

const least = (key: 'seconds' | 'processorSeconds') => Math.min(...times.map((time) => time[key])).toFixed(3);
const flops = { sft: 16, full: undefined };
const counted =
  flags.task in flops
    ? `; ${(stepFlops(config, { rows: batch, tokens, rank: flops[flags.task as keyof typeof flops] }) / 1e9).toFixed(1)} GFLOP needed`
    : '';
console.log(
  `${flags.task} ${config === MODEL_CONFIGS.tiny ? 'tiny' : flags.model}: smallest of ${repetitions}: ${least('seconds')} s wall, ${least('processorSeconds')} s of processor time, ${threads} threads${counted}`,
);
for (const file of readdirSync(folder)) {
  const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as ProfileEvent[];
  const { kinds, runs } = nodeKinds(events);
  const total = kinds.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  if (runs <= 1 || total < 0.05) continue;
  const done = kinds.reduce((sum, { gigaflops }) => sum + gigaflops, 0);
  const nodes = kinds.reduce((sum, { nodes: count }) => sum + count, 0);
  console.log(
    `\na graph of ${nodes} nodes, ${runs} runs: ${total.toFixed(1)} ms, ${done.toFixed(1)} GFLOP in products (${((done / total) * 1000).toFixed(0)} GFLOP/s over everything)\n`,
  );
  const row = ({ name, nodes: count, milliseconds, gigaflops }: NodeKind) => [
    name,
    String(count),
    milliseconds.toFixed(2),
    `${((100 * milliseconds) / total).toFixed(1)}%`,
    gigaflops > 0 ? ((gigaflops / milliseconds) * 1000).toFixed(0) : '',
  ];
  const shown = [...byOp(kinds).slice(0, OPS), ...kinds.slice(0, Number(flags.top))];
  console.log(renderMarkdown([['nodes', 'count', 'ms', 'share', 'GFLOP/s'], ...shown.map(row)]));
}

/** The kinds added up by op, largest first. */
function byOp(kinds: readonly NodeKind[]): NodeKind[] {
  const sums = new Map<string, NodeKind>();
  for (const kind of kinds) {
    const name = `all ${kind.op}`;
    const { nodes, milliseconds, gigaflops } = sums.get(name) ?? { nodes: 0, milliseconds: 0, gigaflops: 0 };
    sums.set(name, {
      name,
      op: kind.op,
      nodes: nodes + kind.nodes,
      milliseconds: milliseconds + kind.milliseconds,
      gigaflops: gigaflops + kind.gigaflops,
    });
  }
  return [...sums.values()].sort((a, b) => b.milliseconds - a.milliseconds);
}

async function stepOf(task: string): Promise<() => Promise<unknown>> {
  const settings = { learningRate: 1e-4, rows: randomTokens(batch, tokens, config.vocab_size) };
  switch (task) {
    case 'sft':
      return trainerStep((await loraTrainer(model, 16)).trainer, settings);
    case 'full':
      return trainerStep(await fullTrainer(model), settings);
    case 'overhead':
      return wholeStep(model, { ...settings, rows: randomTokens(1, 16, config.vocab_size) });
    case 'generate': {
      const rows = randomTokens(batch, tokens, config.vocab_size).map((prompt) => ({
        prompt,
        maxTokens: Number(flags['new-tokens']),
        key: Key.fromSeed(0),
        isEnd: () => false,
        ...{ temperature: 0, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 },
      }));
      return async () => {
        for await (const _ of decode(model.network, model.weights, rows));
      };
    }
    default:
      throw new Error(`--task: there is no "${task}"; there are sft, full, overhead, generate`);
  }
}
