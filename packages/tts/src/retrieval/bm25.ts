import { options as declare, type Given, number } from '@posttrain/interfaces';
import { type Passage, type Retriever, ranked } from './retriever.js';

const bm25Options = declare('bm25', {
  /** k_1, how soon more of a term stops to count. Default 1.5. */
  k1: number({ default: 1.5, min: 0 }),
  /** b, how much long passages are held back. Default 0.75. */
  b: number({ default: 0.75, min: 0, max: 1 }),
});
/** Options of `bm25`. */
export type Bm25Options = Given<typeof bm25Options> & {
  /** The terms of a text. Default: runs of letters and digits, in lower case. */
  readonly terms?: (text: string) => readonly string[];
};

const words = (text: string): readonly string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/**
 * BM25 as Lucene scores it (Robertson and Zaragoza 2009; Kamphuis et al. 2020): over the terms t of a query
 *
 *   Σ_t ln(1 + (N − n_t + ½) / (n_t + ½)) · f / (f + k_1 (1 − b + b |d| / avg |d|)),  f = how often t is in d
 *
 * with N passages, n_t of them with t. A term that the query has twice counts twice. Ties go to the earlier passage.
 */
export function bm25(
  passages: readonly Passage[],
  { terms = words, ...given }: Bm25Options = {},
): Retriever & {
  /** Of all passages, in their order. */
  scores(query: string): number[];
} {
  const { k1, b } = bm25Options.read(given);
  const counts = passages.map(({ text }) => {
    const found = new Map<string, number>();
    for (const term of terms(text)) found.set(term, (found.get(term) ?? 0) + 1);
    return found;
  });
  const lengths = counts.map((found) => [...found.values()].reduce((a, c) => a + c, 0));
  const mean = lengths.reduce((a, c) => a + c, 0) / Math.max(1, lengths.length);
  const holders = new Map<string, number>();
  for (const found of counts) for (const term of found.keys()) holders.set(term, (holders.get(term) ?? 0) + 1);
  const scores = (query: string): number[] => {
    const asked = terms(query).filter((term) => holders.has(term));
    const idf = asked.map((term) =>
      Math.log1p((passages.length - holders.get(term)! + 0.5) / (holders.get(term)! + 0.5)),
    );
    return counts.map((found, i) => {
      const damping = k1 * (1 - b + (b * lengths[i]!) / mean);
      return asked.reduce((sum, term, k) => {
        const frequency = found.get(term) ?? 0;
        return frequency === 0 ? sum : sum + (idf[k]! * frequency) / (frequency + damping);
      }, 0);
    });
  };
  return { name: 'bm25', scores, retrieve: async (query, k) => ranked(passages, scores(query), k) };
}
