import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CausalLM,
  type DecodeRow,
  loadWeights,
  ModelRunner,
  type Proposer,
  type ScheduledToken,
  Scheduler,
  Tokenizer,
  type Weights,
} from '../../src/index.js';
import { SpeculativeDecoding } from '../../src/speculative/speculative-decoding.js';
import { modelFolder, rowOf, tokenizerFolder } from '../support.js';

beforeAll(() => setEngine(referenceEngine()));

interface AssistedGolden {
  readonly assisted: {
    readonly model: string;
    readonly scaled: string[];
    readonly factor: number;
    readonly schedule: 'constant' | 'heuristic';
    readonly tokens: number;
    readonly rows: { readonly prompt: number[]; readonly ids: number[]; readonly rounds: [number, number][] }[];
  }[];
}
const path = join(import.meta.dirname, '../../../../goldens/speculative/expected.json');
const golden: AssistedGolden = JSON.parse(readFileSync(path, 'utf8'));

/** The same weights with some of them times a factor. */
async function scaled(weights: Weights, names: readonly string[], factor: number): Promise<Weights> {
  const others = names.map(async (name) => {
    const { shape } = weights[name]!;
    const numbers = await weights[name]!.toArray();
    return [
      name,
      tensor(
        Float32Array.from(numbers, (x) => x * factor),
        shape,
      ),
    ] as const;
  });
  return { ...weights, ...Object.fromEntries(await Promise.all(others)) };
}

/** All tokens of rows, and the proposals that were made for each. */
async function run(model: CausalLM, rows: readonly DecodeRow[], speculation?: SpeculativeDecoding, maxBatch = 64) {
  const runner = new ModelRunner(model, { cacheTokens: 4096 });
  const inner = speculation?.begin(runner.capacity);
  const rounds = rows.map((): [number, number][] => []);
  const proposer: Proposer | undefined = inner && {
    ...inner,
    verified(id, verified) {
      rounds[id]!.push([verified.proposed, verified.accepted]);
      inner.verified!(id, verified);
    },
  };
  const scheduler = new Scheduler(runner, proposer ? { maxBatch, proposer } : { maxBatch });
  const events = rows.map((): ScheduledToken[] => []);
  for (const row of rows) scheduler.add(row);
  while (scheduler.size > 0) for (const token of await scheduler.step()) events[token.id]!.push(token);
  scheduler.close();
  proposer?.close();
  expect(runner.freeTokens).toBe(runner.capacity);
  const tokens = events.map((list) => list.map(({ token }) => token));
  const finishes = events.map((list) => list.map(({ finish }) => finish));
  return { events, tokens, finishes, rounds };
}

/** A model over a tokenizer that its tokens need not come from. */
const withTokenizer = async (folder: string): Promise<CausalLM> => {
  const { config, weights, network } = await loadWeights(folder);
  const tokenizer = await Tokenizer.load(tokenizerFolder('byte-level-bpe'));
  return new CausalLM({ config: { ...config, vocabSize: 10_000 }, weights, tokenizer, name: folder }, network);
};

describe('the rounds of transformers', () => {
  it.each(golden.assisted)('$model, $schedule', async (one) => {
    const target = await withTokenizer(modelFolder(one.model));
    const draft = target.withWeights(await scaled(target.weights, one.scaled, one.factor), 'draft');
    const { tokens, schedule } = one;
    const rows = one.rows.map(({ prompt }) => rowOf(prompt, 24));
    const result = await run(target, rows, new SpeculativeDecoding(target, { draft, tokens, schedule }));
    expect(result.tokens).toEqual(one.rows.map(({ ids }) => ids));
    expect(result.rounds).toEqual(one.rows.map(({ rounds }) => rounds));
  });
});
