import { options as declare, type Given, integer } from '@posttrain/interfaces';
import type { Proposal, Proposer } from './proposer.js';

const promptLookupOptions = declare('promptLookup', {
  /** Most tokens to propose (transformers: `prompt_lookup_num_tokens`). Default 10. */
  tokens: integer({ default: 10, min: 1 }),
  /** Longest ending to look for. Default 2. */
  maxMatchingNgramSize: integer({ default: 2, min: 1 }),
});
/** Options of prompt lookup: which n-grams are looked for, and how many tokens proposed. */
export type PromptLookupOptions = Given<typeof promptLookupOptions>;

/**
 * Prompt lookup decoding (Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding; arXiv 2304.04487): text that
 * repeats itself is its own draft. Finds the longest ending of `tokens`, of at most `maxMatchingNgramSize`, that
 * occurs earlier, and proposes what followed its first occurrence: at most `tokens` tokens, none when there is no match.
 *
 * @param sequence prompt and completion so far
 */
export function promptLookup(sequence: readonly number[], options: PromptLookupOptions = {}): number[] {
  const { tokens, maxMatchingNgramSize } = promptLookupOptions.read(options);
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
