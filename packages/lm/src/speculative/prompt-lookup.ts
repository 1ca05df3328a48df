import { assertKnownOptions, PosttrainError, showValue } from '@posttrain/interfaces';
import type { Proposal, Proposer } from './proposer.js';

/** Options of prompt lookup: which n-grams are looked for, and how many tokens proposed. */
export interface PromptLookupOptions {
  /** Most tokens to propose (transformers: `prompt_lookup_num_tokens`). Default 10. */
  readonly tokens?: number;
  /** Longest ending to look for. Default 2. */
  readonly maxMatchingNgramSize?: number;
}

/**
 * Prompt lookup decoding (Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding; arXiv 2304.04487): text that
 * repeats itself is its own draft. Finds the longest ending of `tokens`, of at most `maxMatchingNgramSize`, that
 * occurs earlier, and proposes what followed its first occurrence: at most `tokens` tokens, none when there is no match.
 *
 * @param sequence prompt and completion so far
 */
export function promptLookup(sequence: readonly number[], options: PromptLookupOptions = {}): number[] {
  assertKnownOptions('promptLookup', options, ['tokens', 'maxMatchingNgramSize']);
  const { tokens = 10, maxMatchingNgramSize = 2 } = options;
  positive('tokens', tokens);
  positive('maxMatchingNgramSize', maxMatchingNgramSize);
  const end = sequence.length;
  for (let size = Math.min(maxMatchingNgramSize, end - 1); size > 0; size--) {
    for (let start = 0; start + size < end; start++) {
      if (!sameTokens(sequence, start, end - size, size)) continue;
      return sequence.slice(start + size, start + size + tokens);
    }
  }
  return [];
}

/** Prompt lookup as the draft of speculative decoding: needs no model. */
export const promptLookupProposer = (options: PromptLookupOptions): Proposer => ({
  propose: async (requests) =>
    requests.map(({ row, state, most }): Proposal => {
      return { tokens: promptLookup([...row.prompt, ...state.generated], options).slice(0, most) };
    }),
  release: () => undefined,
  close: () => undefined,
});

function sameTokens(sequence: readonly number[], a: number, b: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (sequence[a + i] !== sequence[b + i]) return false;
  return true;
}

function positive(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new PosttrainError('SPECULATIVE', `promptLookup: ${name} must be a positive integer, not ${showValue(value)}`);
}
