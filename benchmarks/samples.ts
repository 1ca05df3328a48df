/**
 * What the prompt costs when n samples of it are drawn, as against one: the time until every sample has its first token,
 * and until every one has its second (by then the prompt's memory is shared and the last, half-full block copied).
 *
 * usage: npx tsx benchmarks/samples.ts [--model 10m|135m] [--tokens 512] [--samples 16] [--repetitions 7] [--threads 2]
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Key, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { decode } from '@posttrain/lm';
import { MODEL_CONFIGS, type ModelName, randomTokens } from './cases.js';
import { median } from './compare.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: '135m' },
    tokens: { type: 'string', default: '512' },
    samples: { type: 'string', default: '16' },
    repetitions: { type: 'string', default: '7' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const [samples, repetitions] = [Number(flags.samples), Number(flags.repetitions)];
setEngine(onnxruntimeEngine({ threads: Number(flags.threads) }));
const model = await randomModel(MODEL_CONFIGS[flags.model as ModelName]);

/** No two calls have a prompt in common, which would be in the cache. */
const prompts = randomTokens(4 * repetitions + 8, Number(flags.tokens), model.network.config.vocabSize).values();

/** Milliseconds until all of `n` samples have so many tokens. */
async function timed(n: number, maxTokens: number): Promise<number> {
  const prompt = prompts.next().value!;
  const rows = Array.from({ length: n }, (_, i) => ({
    prompt,
    maxTokens,
    key: Key.fromSeed(i),
    isEnd: () => false,
    logProbs: false,
    ...{ temperature: 1, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 },
  }));
  const start = performance.now();
  for await (const _ of decode(model.network, model.weights, rows));
  return performance.now() - start;
}

const rows: string[][] = [];
for (const maxTokens of [1, 2]) {
  await timed(1, maxTokens);
  await timed(samples, maxTokens);
  const pairs: [number, number][] = [];
  for (let i = 0; i < repetitions; i++) pairs.push([await timed(1, maxTokens), await timed(samples, maxTokens)]);
  const [one, many] = [0, 1].map((side) => Math.min(...pairs.map((pair) => pair[side]!))) as [number, number];
  rows.push([
    maxTokens === 1 ? 'first token' : 'second token',
    `${one.toFixed(0)} ms`,
    `${many.toFixed(0)} ms`,
    median(pairs.map(([a, b]) => b / a)).toFixed(2),
    (many / one).toFixed(2),
  ]);
}
console.log(`${flags.model}, prompt of ${flags.tokens} tokens, ${flags.threads} threads, ${repetitions} pairs\n`);
console.log(renderMarkdown([['until every sample has its', 'n = 1', `n = ${samples}`, 'ratio', 'of minima'], ...rows]));
