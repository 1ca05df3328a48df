import { type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import { EvaluationError } from '../../errors.js';
import { ngramCounts, referencesOf, wordsOf } from './words.js';

const ciderOptions = options('cider', {
  /** `d`: CIDEr-D, which clips counts and punishes other lengths, what captioning reports as CIDEr. `plain`: the cosine as it is. Default `d`. */
  variant: oneOf(['d', 'plain'], { default: 'd' }),
  /** Longest n-grams. Default 4. */
  maxOrder: integer({ default: 4, min: 1 }),
  /** σ of the penalty of lengths, of CIDEr-D. Default 6. */
  sigma: number({ default: 6, above: 0 }),
});
/** Options of `cider`. */
export type CiderOptions = Given<typeof ciderOptions>;

/** Consensus of captions. */
export interface Cider {
  /** The mean over texts: 0 to 10. */
  readonly score: number;
  readonly scores: readonly number[];
}

interface Vector {
  readonly weights: readonly ReadonlyMap<string, number>[];
  readonly norms: readonly number[];
  readonly length: number;
}

/**
 * CIDEr of texts with several references each (Vedantam et al., arXiv 1411.5726): 10 · mean over n and references of cos(g(c), g(s)), where g weighs each n-gram by how
 * often it occurs and by ln(texts / texts with a reference that has it). CIDEr-D takes min(g(c), g(s)) · g(s) above, and e^(−(l_c − l_s)² / 2σ²) for lengths. As
 * pycocoevalcap computes it, lengths are numbers of pairs of words. Words are what stands between white space: tokenize, lower-case and stem before.
 * With one text every weight is 0.
 *
 * @throws OptionError; EvaluationError `UNPAIRED`, `NO_REFERENCE`, `TOO_FEW_TEXTS` for less than 2
 */
export function cider(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  given: CiderOptions = {},
): Cider {
  const { variant, maxOrder, sigma } = ciderOptions.read(given);
  const wanted = referencesOf('cider', hypotheses, references).map((list) =>
    list.map((text) => countsOf(text, maxOrder)),
  );
  if (hypotheses.length < 2) {
    const why = 'with one, every n-gram is in every text and weighs nothing';
    throw new EvaluationError('TOO_FEW_TEXTS', `cider needs 2 texts or more, but got ${hypotheses.length}: ${why}.`);
  }
  const documents = Array.from({ length: maxOrder }, (_, n) => {
    const frequency = new Map<string, number>();
    for (const list of wanted) {
      for (const key of new Set(list.flatMap((counts) => [...counts[n]!.keys()]))) {
        frequency.set(key, (frequency.get(key) ?? 0) + 1);
      }
    }
    return frequency;
  });
  const texts = Math.log(hypotheses.length);
  const vectorOf = (counts: readonly ReadonlyMap<string, number>[]): Vector => {
    const weights = counts.map((grams, n) => {
      const entries = [...grams].map(
        ([key, count]) => [key, count * (texts - Math.log(Math.max(1, documents[n]!.get(key) ?? 0)))] as const,
      );
      return new Map(entries);
    });
    const norms = weights.map((weighed) => Math.sqrt([...weighed.values()].reduce((sum, x) => sum + x * x, 0)));
    return { weights, norms, length: [...(counts[1] ?? counts[0]!).values()].reduce((sum, x) => sum + x, 0) };
  };
  const similarity = (said: Vector, reference: Vector): number => {
    const penalty = variant === 'd' ? Math.exp(-((said.length - reference.length) ** 2) / (2 * sigma * sigma)) : 1;
    const orders = said.weights.map((weighed, n) => {
      const theirs = reference.weights[n]!;
      let product = 0;
      for (const [key, weight] of weighed) {
        const other = theirs.get(key) ?? 0;
        product += (variant === 'd' ? Math.min(weight, other) : weight) * other;
      }
      const norm = said.norms[n]! * reference.norms[n]!;
      return (norm === 0 ? product : product / norm) * penalty;
    });
    return orders.reduce((sum, x) => sum + x, 0) / maxOrder;
  };
  const scores = hypotheses.map((text, i) => {
    const said = vectorOf(countsOf(text, maxOrder));
    const each = wanted[i]!.map((counts) => similarity(said, vectorOf(counts)));
    return (10 * each.reduce((sum, x) => sum + x, 0)) / each.length;
  });
  return { score: scores.reduce((sum, x) => sum + x, 0) / scores.length, scores };
}

const countsOf = (text: string, maxOrder: number): Map<string, number>[] => {
  const words = wordsOf(text);
  return Array.from({ length: maxOrder }, (_, n) => ngramCounts(words, n + 1));
};
