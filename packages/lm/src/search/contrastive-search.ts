import { type Given, integer, number, options } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER } from '../model/adapter.js';
import { adapterOption } from '../model/adapter-option.js';
import type { CachedSequence } from '../runner/extend-inputs.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { logSoftmax } from '../sampling/log-softmax.js';
import { forget } from './hypotheses.js';
import { Largest } from './largest.js';
import { checkedPrompts, NoContinuationError, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

const contrastiveSearchOptions = options('contrastiveSearch', {
  /** k: candidates of every step. 1 is greedy decoding. */
  topK: integer({ min: 1 }),
  /** α ∈ [0, 1]: how much the degeneration penalty counts. 0 is greedy decoding. */
  penaltyAlpha: number({ min: 0, max: 1 }),
  /** Default: none. */
  adapter: adapterOption,
});
/** Options of contrastive search (arXiv 2202.06417), by transformers' names in camel case. */
export type ContrastiveSearchOptions = Given<typeof contrastiveSearchOptions>;

/** Prompt tokens whose hidden states are read in one go: their logits exist at the same time. */
const PROMPT_PIECE = 64;

/** One prompt and what it has become. */
interface Row extends SearchPrompt {
  sequence: CachedSequence;
  /** Hidden states of all tokens so far, scaled to length 1. */
  readonly states: Float64Array[];
  /** log p of every next token under the model. */
  next: Float64Array;
  readonly tokens: number[];
  readonly logProbs: number[];
  score: number;
  finishReason: SearchHypothesis['finishReason'] | undefined;
}

interface Candidate {
  readonly sequence: CachedSequence;
  readonly token: number;
  readonly probability: number;
}

/** A candidate that has been computed. */
interface Grown extends Candidate {
  readonly state: Float64Array;
  readonly next: Float64Array;
}

/**
 * Contrastive search (arXiv 2202.06417): of the k most likely tokens V, the one that is likely and unlike what there is,
 *
 *   argmax_{v ∈ V} (1 - α) p(v | y_<t) - α max_{j<t} cos(h_v, h_j)
 *
 * with h the final hidden states, the prompt's among them. Deterministic; one hypothesis per prompt, its score the sum of
 * the chosen values. Candidates of all prompts are computed in one pass.
 *
 * @throws OutOfBlocksError when the runner's cache cannot hold the candidates; nothing is kept in it then
 */
export async function contrastiveSearch(
  runner: ModelRunner,
  prompts: readonly SearchPrompt[],
  given: ContrastiveSearchOptions,
): Promise<SearchHypothesis[]> {
  const { topK, penaltyAlpha: alpha, adapter = NO_ADAPTER } = contrastiveSearchOptions.read(given);
  const held = new Set<CachedSequence>();
  const hold = (sequence: CachedSequence): CachedSequence => {
    held.add(sequence);
    return sequence;
  };
  try {
    const rows = checkedPrompts(runner.network, prompts, adapter).map((prompt) => newRow(prompt, hold(runner.start())));
    await readPrompts(runner, rows, adapter);
    for (;;) {
      for (const row of rows) if (row.isCancelled?.()) row.finishReason ??= 'abort';
      const open = rows.filter(({ finishReason }) => finishReason === undefined);
      if (open.length === 0) break;
      const candidates = open.map((row) =>
        mostLikely(row, topK).map(({ value, item: token }, i): Candidate => {
          const sequence = i === 0 ? row.sequence : hold(runner.fork(row.sequence));
          return { sequence, token, probability: Math.exp(value) };
        }),
      );
      const grown = await grow(runner, candidates.flat(), adapter);
      for (const [i, row] of open.entries()) {
        const own = grown.splice(0, candidates[i]!.length);
        const chosen = choose(row, own, alpha);
        for (const { sequence } of own) {
          if (sequence === chosen.sequence) continue;
          held.delete(sequence);
          forget(runner, sequence);
        }
      }
    }
    return rows.map(({ tokens, logProbs, score, finishReason }) => {
      return { tokens, logProbs, score, finishReason: finishReason! };
    });
  } finally {
    for (const sequence of held) runner.release(sequence);
  }
}

const newRow = (prompt: SearchPrompt, sequence: CachedSequence): Row => ({
  ...prompt,
  sequence,
  states: [],
  next: new Float64Array(),
  tokens: [],
  logProbs: [],
  score: 0,
  finishReason: undefined,
});

/** Computes the prompts, a piece of each at a time. */
async function readPrompts(runner: ModelRunner, rows: readonly Row[], adapter: Adapter): Promise<void> {
  const longest = Math.max(0, ...rows.map(({ prompt }) => prompt.length));
  for (let from = 0; from < longest; from += PROMPT_PIECE) {
    const reading = rows.filter(({ prompt }) => prompt.length > from);
    const inputs = reading.map(({ sequence, prompt }) => {
      return { sequence, tokens: prompt.slice(from, from + PROMPT_PIECE), adapter };
    });
    const results = await runner.extend(inputs, { logits: 'all', hidden: true });
    for (const [i, row] of reading.entries()) {
      const { logits, hidden } = results[i]!;
      for (const state of hidden!) row.states.push(unit(state));
      row.next = logSoftmax(logits.at(-1)!);
    }
  }
}

async function grow(runner: ModelRunner, candidates: readonly Candidate[], adapter: Adapter): Promise<Grown[]> {
  const inputs = candidates.map(({ sequence, token }) => ({ sequence, tokens: [token], adapter }));
  const results = await runner.extend(inputs, { hidden: true });
  return results.map(({ logits, hidden }, i) => {
    return { ...candidates[i]!, next: logSoftmax(logits[0]!), state: unit(hidden![0]!) };
  });
}

/** Goes on with the best of the candidates, of which there is at least one. */
function choose(row: Row, candidates: readonly Grown[], alpha: number): Grown {
  const values = candidates.map(({ state, probability }) => {
    const likeness = row.states.reduce((most, other) => Math.max(most, dot(state, other)), -1);
    return (1 - alpha) * probability - alpha * likeness;
  });
  const value = Math.max(...values);
  const chosen = candidates[values.indexOf(value)]!;
  const { token } = chosen;
  row.logProbs.push(row.next[token]!);
  row.tokens.push(token);
  row.score += value;
  row.states.push(chosen.state);
  row.next = chosen.next;
  row.sequence = chosen.sequence;
  if (row.endTokens.has(token) || row.isFinished?.(row.tokens)) row.finishReason = 'stop';
  else if (row.tokens.length >= row.maxTokens) row.finishReason = 'length';
  return chosen;
}

/** The `count` most likely next tokens after `process`, with their log p. */
function mostLikely({ next, process, tokens }: Row, count: number) {
  let logProbs = next;
  if (process) {
    const scores = next.slice();
    process(scores, tokens);
    logProbs = logSoftmax(scores);
  }
  const best = new Largest<number>(count);
  for (let token = 0; token < logProbs.length; token++) {
    if (logProbs[token]! > best.least) best.add(logProbs[token]!, token);
  }
  if (best.items.length === 0) throw new NoContinuationError();
  return best.items;
}

function unit(state: Float32Array): Float64Array {
  const exact = Float64Array.from(state);
  const length = Math.sqrt(dot(exact, exact));
  return length === 0 ? exact : exact.map((x) => x / length);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
