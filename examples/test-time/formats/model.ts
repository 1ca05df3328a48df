import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tensor } from '@posttrain/core-tensor';
import { adamW } from '@posttrain/core-tensor/optim';
import { CausalLM, ChatTemplate, Tokenizer } from '@posttrain/lm';
import { negativeLogLikelihood, Trainer, type TrainingRow } from '@posttrain/training';
import { tokenizerFiles } from '../../pretrain-tiny/write-tokenizer.js';
import type { Said } from './author.js';

/** How it is trained. */
export interface TuneOptions {
  readonly steps: number;
  readonly seed: number;
  /** Default 1024. */
  readonly tokensPerStep?: number;
  /** At its peak. Default 1e-3. */
  readonly learningRate?: number;
  readonly onStep?: (step: number, loss: number, accuracy: number) => void;
}

const LONGEST = 512;
const PACKED = 256;
/** Letters and signs of a piece of text that is worth a token. */
const SHORTEST_PHRASE = 8;
const base = join(import.meta.dirname, '..', '..', 'pretrain-tiny', 'model');

/** The tokenizer of ../../pretrain-tiny with a token more for each of these texts. */
export async function phraseTokenizer(phrases: readonly string[], folder: string): Promise<Tokenizer> {
  const files = tokenizerFiles();
  const json = files['tokenizer.json'] as { added_tokens: { id: number }[]; model: { vocab: object } };
  const first = Object.keys(json.model.vocab).length;
  const added = phrases.map((content, i) => ({
    ...{ id: first + i, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false },
  }));
  mkdirSync(folder, { recursive: true });
  const all = { ...files, 'tokenizer.json': { ...json, added_tokens: [...json.added_tokens, ...added] } };
  for (const [name, content] of Object.entries(all)) writeFileSync(join(folder, name), JSON.stringify(content));
  return Tokenizer.load(folder);
}

/**
 * That tokenizer for pieces of text between numbers and signs that the rows have often: an instruction is one token, so that rows are short, and
 * the model reads formats and not English.
 */
async function formatTokenizer(rows: readonly Said[], folder: string): Promise<Tokenizer> {
  const counts = new Map<string, number>();
  for (const { prompt, prefix, completion } of rows) {
    for (const [piece] of `${prompt}\0${prefix}\0${completion}`.matchAll(/[^0-9\n+\-=[\]\0]+/g)) {
      if (piece.length >= SHORTEST_PHRASE) counts.set(piece, (counts.get(piece) ?? 0) + 1);
    }
  }
  const phrases = [...counts]
    .filter(([, count]) => count >= rows.length / 2000)
    .map(([piece]) => piece)
    .sort();
  return phraseTokenizer(phrases, folder);
}

const EMBEDDING = 'model.embed_tokens.weight';

/** The model of ../../pretrain-tiny with the tokens of the rows: each begins as the mean of its characters. */
export async function formatBase(rows: readonly Said[], folder: string): Promise<CausalLM> {
  const old = await CausalLM.load(base);
  const tokenizer = await formatTokenizer(rows, folder);
  const { hiddenSize: width } = old.config;
  const known = Float32Array.from(await old.weights[EMBEDDING]!.data(), Number);
  const embedding = new Float32Array(tokenizer.vocabSize * width);
  embedding.set(known);
  for (let id = known.length / width; id < tokenizer.vocabSize; id++) {
    const characters = old.tokenizer.encode(tokenizer.idToToken(id)!);
    for (const character of characters) {
      for (let k = 0; k < width; k++) embedding[id * width + k]! += known[character * width + k]! / characters.length;
    }
  }
  const config = { ...old.config, vocabSize: tokenizer.vocabSize, maxPositionEmbeddings: LONGEST };
  const weights = { ...old.weights, [EMBEDDING]: tensor(embedding, [tokenizer.vocabSize, width]) };
  return new CausalLM({
    config,
    weights,
    tokenizer,
    chatTemplate: await ChatTemplate.load(tokenizer),
    name: 'formats',
  });
}

/** Tokens of a row, as the generator would read and write them, and how many of them at its end are learned. */
function tokensOf(tokenizer: Tokenizer, { prompt, prefix, completion, ended }: Said) {
  const read = [...tokenizer.encode(`<|user|>${prompt}<|end|><|assistant|>${prefix}`)];
  const written = [...tokenizer.encode(completion + (ended ? '<|end|>' : ''))];
  return { tokens: [...read, ...written], learned: written.length };
}

/** Rows packed into sequences, endlessly, from one on; what was read has no weight. */
function* packed(
  tokenizer: Tokenizer,
  rows: readonly Said[],
  first: number,
): Generator<{ row: TrainingRow; learned: number }, never> {
  let [tokens, weights, lengths, learned] = [[] as number[], [] as number[], [] as number[], 0];
  for (let i = first; ; i = (i + 1) % rows.length) {
    const row = tokensOf(tokenizer, rows[i]!);
    if (row.tokens.length > PACKED) continue;
    if (tokens.length + row.tokens.length > PACKED) {
      yield { row: { tokens, weights: weights.slice(1), lengths }, learned };
      [tokens, weights, lengths, learned] = [[], [], [], 0];
    }
    tokens.push(...row.tokens);
    weights.push(...row.tokens.map((_, at) => Number(at >= row.tokens.length - row.learned)));
    lengths.push(row.tokens.length);
    learned += row.learned;
  }
}

/** Trains all parameters from where they are on the rows: warm-up, then the peak, then down over the last 40 %. */
export async function trainOn(model: CausalLM, rows: readonly Said[], options: TuneOptions): Promise<CausalLM> {
  const { steps, seed, tokensPerStep = 1024, learningRate: peak = 1e-3, onStep } = options;
  const trainer = await Trainer.create(model, {
    optimizer: adamW({ beta2: 0.98, weightDecay: 0 }),
    maxTokensPerPass: tokensPerStep,
  });
  const stream = packed(model.tokenizer, rows, (7919 * seed) % rows.length);
  for (let step = 0; step < steps; step++) {
    const batch = Array.from({ length: tokensPerStep / PACKED }, () => stream.next().value);
    const total = batch.reduce((sum, { learned }) => sum + learned, 0);
    const weighed = batch.map(({ row }) => ({ ...row, weights: Float32Array.from(row.weights, (x) => x / total) }));
    const { loss, metrics } = await trainer.forwardBackward(weighed, negativeLogLikelihood);
    const warm = Math.min(1, (step + 1) / 20);
    const decay = Math.max(0.02, Math.min(1, (steps - step) / (0.4 * steps)));
    await trainer.optimStep({ learningRate: peak * warm * decay });
    onStep?.(step, loss, metrics.mean_token_accuracy ?? 0);
  }
  return trainer.model;
}

/** The model in the folder, or what `make` makes, which is then in the folder. */
export async function cached(folder: string, make: () => Promise<CausalLM>): Promise<CausalLM> {
  if (existsSync(folder)) return CausalLM.load(folder);
  const model = await make();
  rmSync(`${folder}.tmp`, { recursive: true, force: true });
  await model.save(`${folder}.tmp`);
  renameSync(`${folder}.tmp`, folder);
  return model;
}
