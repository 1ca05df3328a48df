import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Key, referenceEngine, setEngine } from '@posttrain/core-tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CausalLM, decode, saveGguf } from '../../src/index.js';
import { rowOf } from '../support.js';
import { goldenFile, withRouters } from './support.js';

/** What is used of node-llama-cpp, which is no dependency of this repository. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}
interface LlamaModel {
  tokenize(text: string, specialTokens: boolean): number[];
  createContext(options: object): Promise<{ getSequence(): LlamaSequence; dispose(): Promise<void> }>;
  dispose(): Promise<void>;
}
interface LlamaSequence {
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number>;
}

/** No dependency of this repository: installed where this test runs. */
const PACKAGE = 'node-llama-cpp';
const VERSION = '3.22.1';
const NEW_TOKENS = 8;
const MODELS = [
  ...['llama', 'llama3-rope', 'llama-bias-linear-rope', 'qwen2', 'qwen3', 'gpt2', 'gemma2', 'gemma3-text'],
  ...['phi3', 'olmo2', 'mixtral', 'qwen3-moe', 'smollm2', 'bpe-q4_0', 'spm-q8_0', 'k-quants'],
];
const PROMPT = 'the th th';

let folder: string;
let llama: Awaited<ReturnType<NodeLlamaCpp['getLlama']>> | undefined;
let whyNot = '';

/** The packages that carry llama.cpp, of the registry, without their scripts; POSTTRAIN_LLAMA_CPP: a folder that has them. */
beforeAll(async () => {
  setEngine(referenceEngine());
  folder = await mkdtemp(join(tmpdir(), 'posttrain-llama-cpp-'));
  const given = process.env.POSTTRAIN_LLAMA_CPP;
  const packages = [`${PACKAGE}@${VERSION}`, `@node-llama-cpp/${process.platform}-${process.arch}@${VERSION}`];
  try {
    if (!given) {
      await writeFile(join(folder, 'package.json'), '{}');
      const flags = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];
      execFileSync('npm', ['install', '--prefix', folder, ...flags, ...packages], { stdio: 'pipe', timeout: 600_000 });
    }
    const require = createRequire(join(resolve(given ?? folder), 'package.json'));
    const { getLlama } = (await import(pathToFileURL(require.resolve(PACKAGE)).href)) as NodeLlamaCpp;
    llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' });
  } catch (error) {
    whyNot = `llama.cpp is not to be had: ${(error as Error).message.slice(0, 200)}`;
  }
}, 900_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** llama.cpp leaves the window of Phi-3 out. */
async function comparable(name: string): Promise<CausalLM> {
  const model = withRouters(await CausalLM.load(goldenFile(name)));
  const { config } = model;
  return config.modelType === 'phi3'
    ? new CausalLM({ ...model, config: { ...config, slidingWindow: undefined } })
    : model;
}

async function ownTokens(model: CausalLM, prompt: readonly number[]): Promise<number[]> {
  const tokens: number[] = [];
  const row = { ...rowOf(prompt, NEW_TOKENS), temperature: 0, key: Key.fromSeed(0), isEnd: () => false };
  for await (const { token } of decode(model.network, model.weights, [row])) tokens.push(token);
  return tokens;
}

describe.each(MODELS)('%s as we write it', (name) => {
  it.each(['F32', 'F16', 'Q8_0', 'Q4_0', 'Q4_K'] as const)('in %s is a model to llama.cpp', async (type) => {
    if (!llama) return console.warn(`left out: ${whyNot}`);
    const path = join(folder, `written-${name}-${type}.gguf`);
    await saveGguf(await comparable(name), path, { type, name: 'written' });
    const model = await CausalLM.load(path);
    const theirs = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
    try {
      const prompt = model.tokenizer.encode(PROMPT, { addSpecialTokens: false });
      expect(theirs.tokenize(PROMPT, false)).toEqual(prompt);
      const cache = { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' };
      const context = await theirs.createContext({ contextSize: 64, threads: 1, ...cache });
      const tokens: number[] = [];
      for await (const token of context.getSequence().evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        tokens.push(token);
        if (tokens.length === NEW_TOKENS) break;
      }
      // Products with quantised weights round their inputs there: near ties fall otherwise.
      if (type === 'F32') expect(tokens).toEqual(await ownTokens(model, prompt));
      else expect(tokens.length).toBeGreaterThan(0);
      await context.dispose();
    } finally {
      await theirs.dispose();
      await rm(path);
    }
  });
});
