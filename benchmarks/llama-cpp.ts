/**
 * Greedy decoding of one row against llama.cpp, in turns in this process, on the same GGUF files with random weights:
 *
 *   npm install --prefix FOLDER node-llama-cpp
 *   PYTHON=… npx tsx benchmarks/llama-cpp.ts --llama-cpp FOLDER [--model 135m] [--repetitions 5] [--new-tokens 128] [--threads 2]
 *
 * PYTHON: an interpreter with the packages gguf, numpy and safetensors. Cases: F32; Q4_0 with products that round their
 * inputs to int8 block by block, as llama.cpp does, and with float32 inputs; both again with our output layer in int4 too (of
 * the same numbers: Q4_0 quantised once more as symmetric int4 gives its codes again). Ratios are the other's time by ours, so above 1
 * we are faster. `weights/s`: bytes of the weights that a token reads, times tokens a second.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { compile, Key, realize, setEngine, type Tensor, zeros } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM, decode, type LoadWeightsOptions } from '@posttrain/lm';
import { MODEL_CONFIGS, type ModelName, randomTokens } from './cases.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';

/** What is used of node-llama-cpp, which is no dependency of this repository. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
  readonly LlamaLogLevel: { readonly error: string };
}
interface LlamaModel {
  createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
}
interface LlamaSequence {
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number>;
  clearHistory(): Promise<void>;
}

const { values: flags } = parseArgs({
  options: {
    'llama-cpp': { type: 'string' },
    model: { type: 'string', default: '135m' },
    repetitions: { type: 'string', default: '5' },
    'new-tokens': { type: 'string', default: '128' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const python = process.env.PYTHON;
if (!flags['llama-cpp'] || !python) {
  console.error(
    'Give --llama-cpp FOLDER (npm install --prefix FOLDER node-llama-cpp) and PYTHON (with gguf, safetensors).',
  );
  process.exit(1);
}
const [repetitions, newTokens, threads] = [flags.repetitions, flags['new-tokens'], flags.threads].map(Number) as [
  number,
  number,
  number,
];
const PROMPT_TOKENS = 64;
/** Calls before anything is timed: after some hundred passes our float32 weights are packed. */
const WARM_UP = 3;
/** Worker threads of both sides go on spinning for a moment after their work. */
const REST_MILLISECONDS = 200;

const config = MODEL_CONFIGS[flags.model as ModelName];
const folder = mkdtempSync(join(tmpdir(), 'posttrain-llama-cpp-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
setEngine(onnxruntimeEngine({ threads }));
const files = { F32: join(folder, 'f32.gguf'), Q4_0: join(folder, 'q4_0.gguf') } as const;
await (await randomModel(config)).save(join(folder, 'model'));
execFileSync(python, [join(import.meta.dirname, 'gguf-model.py'), join(folder, 'model'), files.F32, files.Q4_0], {
  stdio: 'inherit',
});

/** Seconds of a whole call, seconds from its first token to its last, and its tokens. */
interface Run {
  readonly whole: number;
  readonly decoding: number;
  readonly tokens: readonly number[];
}

async function timed(tokens: AsyncIterable<number>): Promise<Run> {
  const start = performance.now();
  const got: number[] = [];
  let first = 0;
  for await (const token of tokens) {
    if (got.length === 0) first = performance.now();
    got.push(token);
    if (got.length === newTokens) break;
  }
  const end = performance.now();
  return { whole: (end - start) / 1000, decoding: (end - first) / 1000, tokens: got };
}

async function* ownTokens(model: CausalLM, prompt: readonly number[]): AsyncGenerator<number> {
  const greedy = { temperature: 0, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 };
  const row = { prompt, maxTokens: newTokens, key: Key.fromSeed(0), isEnd: () => false, ...greedy };
  for await (const { token } of decode(model.network, model.weights, [row])) yield token;
}

const require = createRequire(join(resolve(flags['llama-cpp']), 'package.json'));
const llamaModule = (await import(pathToFileURL(require.resolve('node-llama-cpp')).href)) as NodeLlamaCpp;
const llama = await llamaModule.getLlama({ gpu: false, build: 'never', logLevel: 'error' });

async function llamaSequence(file: string): Promise<LlamaSequence> {
  const loaded = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  const contextSize = PROMPT_TOKENS + newTokens + 16;
  // The default is float16; ours is float32.
  const cache = { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' };
  const context = await loaded.createContext({ contextSize, threads: { ideal: threads, min: threads }, ...cache });
  return context.getSequence();
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);

/** Bytes a second that the threads read of memory, at their best: sums of 512 MiB. */
async function readBandwidth(): Promise<number> {
  const numbers = zeros([512, 2 ** 18]);
  await realize([numbers]);
  const sum = compile((x: Tensor) => x.sum([1]));
  const seconds: number[] = [];
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    await sum(numbers);
    seconds.push((performance.now() - start) / 1000);
  }
  await numbers.dispose();
  return (4 * numbers.size) / Math.min(...seconds);
}

const HEADERS = [
  'file',
  'our inputs',
  'our output layer',
  'tokens/s, best [median]',
  'llama.cpp',
  'ratio of whole calls [of bests]',
  'of decoding [of bests]',
  'MiB a token, ours / theirs',
  'weights/s, ours / theirs',
  'tokens alike',
  'load',
];
type Quantization = Exclude<LoadWeightsOptions['quantization'], undefined | 'keep'>;
const WITH_HEAD = { method: 'int4', symmetric: true, head: true } as const;
const CASES: readonly { readonly file: keyof typeof files; readonly quantization?: Quantization }[] = [
  { file: 'F32' },
  { file: 'Q4_0', quantization: { method: 'keep', activations: 'int8' } },
  { file: 'Q4_0', quantization: { method: 'keep', activations: 'float32' } },
  { file: 'Q4_0', quantization: { ...WITH_HEAD, activations: 'int8' } },
  { file: 'Q4_0', quantization: { ...WITH_HEAD, activations: 'float32' } },
];
/** Numbers of the embedding, which is the output layer too unless that has codes of its own. */
const embedding = config.vocab_size * config.hidden_size;
const [prompt] = randomTokens(1, PROMPT_TOKENS, config.vocab_size);
const rows: string[][] = [];
for (const { file, quantization } of CASES) {
  const model = await CausalLM.load(files[file], quantization ? { quantization } : {});
  const sequence = await llamaSequence(files[file]);
  const own: Run[] = [];
  const peer: Run[] = [];
  for (let i = -WARM_UP; i < repetitions; i++) {
    const tokens = prompt!.map((token) => (token + i + WARM_UP) % config.vocab_size);
    const ours = await timed(ownTokens(model, tokens));
    await sleep(REST_MILLISECONDS);
    await sequence.clearHistory();
    const theirs = await timed(sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true }));
    await sleep(REST_MILLISECONDS);
    if (i < 0) continue;
    own.push(ours);
    peer.push(theirs);
  }
  const hasCodes = model.network.modules.get('lm_head')?.quantization !== undefined;
  const codesOfHead = hasCodes ? embedding * (4 / 8 + 4 / 32) : 0;
  // An embedding that is not the output layer too is only looked up.
  const layers = model.storage.bytes - codesOfHead - 4 * embedding;
  const bytes = layers + (hasCodes ? codesOfHead : 4 * embedding);
  // llama.cpp's embedding is its head too: Q8_0, 34 bytes for 32 numbers.
  const peerBytes = layers + (file === 'F32' ? 4 : 34 / 32) * embedding;
  const of = (runs: readonly Run[], key: 'whole' | 'decoding') => runs.map((run) => run[key]);
  const ratio = (key: 'whole' | 'decoding') => {
    const pairs = own.map((run, i) => peer[i]![key] / run[key]);
    const best = Math.min(...of(peer, key)) / Math.min(...of(own, key));
    return `${median(pairs).toFixed(2)} [${best.toFixed(2)}]`;
  };
  const rate = (runs: readonly Run[]) => {
    const seconds = of(runs, 'whole');
    return `${(newTokens / Math.min(...seconds)).toFixed(1)} [${(newTokens / median(seconds)).toFixed(1)}]`;
  };
  const speed = (runs: readonly Run[], size: number) =>
    ((size * (newTokens - 1)) / Math.min(...of(runs, 'decoding')) / 1e9).toFixed(1);
  const alike = own.map((run, i) => {
    const at = run.tokens.findIndex((token, n) => token !== peer[i]!.tokens[n]);
    return at < 0 ? newTokens : at;
  });
  const row = [
    file,
    quantization && 'activations' in quantization ? `${quantization.activations}` : '-',
    hasCodes ? 'int4' : 'float32',
    rate(own),
    rate(peer),
    ratio('whole'),
    ratio('decoding'),
    `${megabytes(bytes)} / ${megabytes(peerBytes)}`,
    `${speed(own, bytes)} / ${speed(peer, peerBytes)} GB/s`,
    `${median(alike)} of ${newTokens}`,
    loadavg()[0]!.toFixed(1),
  ];
  console.error(row.join(' | '));
  rows.push(row);
}
console.log(
  `${flags.model}, one row, ${PROMPT_TOKENS} + ${newTokens} tokens, greedy, ${threads} threads, ${repetitions} pairs; memory is read at ${((await readBandwidth()) / 1e9).toFixed(1)} GB/s\n`,
);
console.log(renderMarkdown([HEADERS, ...rows]));
process.exit(0);
