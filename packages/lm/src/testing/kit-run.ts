import assert from 'node:assert/strict';
import { Key } from '@posttrain/core-tensor';
import { type ScheduledToken, Scheduler } from '../batching/scheduler.js';
import { parseModelConfig } from '../config/index.js';
import { CausalLM } from '../model/causal-lm.js';
import { ModelRunner } from '../runner/model-runner.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import type { Proposer } from '../speculative/proposer.js';
import type { ProposerRun } from '../speculative/speculative-decoding.js';
import { Tokenizer } from '../tokenizer/index.js';

/** Works on token ids only. */
const tokenizer = new Tokenizer({
  tokenizer: { version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } },
});

export const KIT_CONTEXT = 64;

/** A model of width 16 with random weights, large enough to have opinions. */
export function kitModel(vocabSize: number, seed: number): Promise<CausalLM> {
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: vocabSize, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1 },
    ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: KIT_CONTEXT },
    ...{ bos_token_id: null, eos_token_id: null, initializer_range: 0.4, tie_word_embeddings: false },
  });
  return CausalLM.initialize({ config, tokenizer, name: 'kit' }, seed);
}

/** A row of the kit; greedy unless it says otherwise, and ended by `maxTokens` only. */
export const kitRow = (
  prompt: readonly number[],
  maxTokens: number,
  seed = 0,
  overrides: Partial<DecodeRow> = {},
): DecodeRow => ({
  ...{ prompt, maxTokens, temperature: 0, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 },
  ...{ key: Key.fromSeed(seed), isEnd: () => false, logProbs: false, ...overrides },
});

/** The tokens of rows that are generated together, and that nothing of them is left in the cache. */
export async function runRows(
  model: CausalLM,
  rows: readonly DecodeRow[],
  {
    proposer: make,
    maxBatch = 64,
  }: { readonly proposer?: (run: ProposerRun) => Proposer; readonly maxBatch?: number } = {},
): Promise<ScheduledToken[][]> {
  const runner = new ModelRunner(model, { cacheTokens: 8192, packWeights: false });
  const made = make?.({ model, cacheTokens: runner.capacity });
  const failures: unknown[] = [];
  const proposer = made && reporting(made, (error) => failures.push(error));
  const scheduler = new Scheduler(runner, proposer ? { maxBatch, proposer } : { maxBatch });
  const events = rows.map((): ScheduledToken[] => []);
  for (const row of rows) scheduler.add(row);
  while (scheduler.size > 0) {
    for (const event of await scheduler.step()) {
      if (event.error !== undefined) throw event.error;
      events[event.id]!.push(event);
    }
  }
  scheduler.close();
  proposer?.close();
  if (failures.length > 0) throw failures[0];
  assert.equal(runner.freeTokens, runner.capacity, 'the cache still holds something');
  return events;
}

/** The proposer, whose errors are told: rows go on without one that has failed, so that nothing else would show it. */
const reporting = (proposer: Proposer, tell: (error: unknown) => void): Proposer => ({
  needsHidden: proposer.needsHidden ?? false,
  propose: (requests) =>
    proposer.propose(requests).catch((error: unknown) => {
      tell(error);
      throw error;
    }),
  verified: (id, run) => proposer.verified?.(id, run),
  release: (id) => proposer.release(id),
  close: () => proposer.close(),
});

export const tokensOf = (events: readonly (readonly ScheduledToken[])[]): number[][] =>
  events.map((list) => list.map(({ token }) => token));

/**
 * Fails where counts are unlikely for their probabilities: chi-square against its 99.99 % point (Wilson and Hilferty's
 * approximation), outcomes of which fewer than 8 are to be expected counted together.
 */
export function assertDistribution(counts: readonly number[], probabilities: readonly number[], what: string): void {
  const total = counts.reduce((a, b) => a + b, 0);
  const cells: [count: number, mean: number][] = [];
  let rare: [number, number] = [0, 0];
  for (const [i, p] of probabilities.entries()) {
    const mean = total * p;
    if (mean >= 8) cells.push([counts[i]!, mean]);
    else rare = [rare[0] + counts[i]!, rare[1] + mean];
  }
  if (rare[1] >= 1) cells.push(rare);
  else assert.ok(rare[0] <= 8, `${what}: outcomes that hardly ever come came ${rare[0]} times`);
  const statistic = cells.reduce((sum, [count, mean]) => sum + (count - mean) ** 2 / mean, 0);
  const degrees = Math.max(1, cells.length - 1);
  const limit = degrees * (1 - 2 / (9 * degrees) + 3.719 * Math.sqrt(2 / (9 * degrees))) ** 3;
  assert.ok(
    statistic < limit,
    `${what}: chi-square is ${statistic.toFixed(1)}, and should be below ${limit.toFixed(1)}`,
  );
}
