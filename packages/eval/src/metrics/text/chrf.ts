import { boolean, type Given, integer, number, options } from '@posttrain/interfaces';
import { ngramCounts, overlap, referencesOf, wordsOf } from './words.js';

const chrfOptions = options('chrf', {
  /** Longest n-grams of characters. Default 6. */
  characterOrder: integer({ default: 6, min: 1 }),
  /** Longest n-grams of words: 0 is chrF, 2 is chrF++. Default 0. */
  wordOrder: integer({ default: 0, min: 0 }),
  /** How many times recall counts for more than precision. Default 2. */
  beta: number({ default: 2, min: 0 }),
  /** Default false. */
  lowercase: boolean({ default: false }),
  /** Count white space as characters. Default false. */
  whitespace: boolean({ default: false }),
});
/** Options of `chrf`. */
export type ChrfOptions = Given<typeof chrfOptions>;

/** chrF. */
export interface Chrf {
  /** 0 to 100. */
  readonly score: number;
  /** How it was computed, as sacrebleu writes it, without its version. */
  readonly signature: string;
}

interface Order {
  readonly hypothesis: number;
  readonly reference: number;
  readonly match: number;
}

/**
 * chrF of a corpus (Popović 2015; chrF++ 2017), as sacrebleu 2 computes it: with P and R the shares of n-grams of characters (and words) that hypothesis and
 * reference have in common, summed over the corpus and averaged over orders that both have,
 *
 *   100 · (1 + β²) P R / (β² P + R)
 *
 * Of several references the one counts that is best for its text.
 *
 * @throws OptionError; EvaluationError `UNPAIRED`, `NO_REFERENCE`
 */
export function chrf(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  given: ChrfOptions = {},
): Chrf {
  const { characterOrder, wordOrder, beta, lowercase, whitespace } = chrfOptions.read(given);
  const all = referencesOf('chrf', hypotheses, references);
  const counts = (text: string): Map<string, number>[] => {
    const cased = lowercase ? text.toLowerCase() : text;
    const characters = [...(whitespace ? cased : cased.replace(/\s+/gu, ''))];
    const words = wordOrder === 0 ? [] : wordsOf(cased).flatMap(withoutPunctuation);
    return [
      ...Array.from({ length: characterOrder }, (_, n) => ngramCounts(characters, n + 1)),
      ...Array.from({ length: wordOrder }, (_, n) => ngramCounts(words, n + 1)),
    ];
  };
  let sum: Order[] | undefined;
  hypotheses.forEach((hypothesis, i) => {
    const own = counts(hypothesis);
    let best: Order[] = [];
    let most = -1;
    for (const reference of all[i]!) {
      const orders = counts(reference).map((theirs, n) => ({
        hypothesis: theirs.size === 0 ? 0 : sizeOf(own[n]!),
        reference: sizeOf(theirs),
        match: overlap(own[n]!, theirs),
      }));
      const score = fScore(orders, beta);
      if (score > most) [best, most] = [orders, score];
    }
    sum = best.map((order, n) => ({
      hypothesis: order.hypothesis + (sum?.[n]?.hypothesis ?? 0),
      reference: order.reference + (sum?.[n]?.reference ?? 0),
      match: order.match + (sum?.[n]?.match ?? 0),
    }));
  });
  const sizes = new Set(all.map((list) => list.length));
  const nrefs = sizes.size === 1 ? [...sizes][0] : 'var';
  const [letters, space] = [lowercase ? 'lc' : 'mixed', whitespace ? 'yes' : 'no'];
  const signature = `nrefs:${nrefs}|case:${letters}|eff:yes|nc:${characterOrder}|nw:${wordOrder}|space:${space}`;
  return { score: 100 * fScore(sum ?? [], beta), signature };
}

const sizeOf = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((sum, x) => sum + x, 0);

function fScore(orders: readonly Order[], beta: number): number {
  const known = orders.filter(({ hypothesis, reference }) => hypothesis > 0 && reference > 0);
  if (known.length === 0) return 0;
  const meanOf = (of: (order: Order) => number) => known.reduce((sum, order) => sum + of(order), 0) / known.length;
  const precision = meanOf(({ match, hypothesis }) => match / hypothesis);
  const recall = meanOf(({ match, reference }) => match / reference);
  if (precision + recall === 0) return 0;
  const weight = beta * beta;
  return ((1 + weight) * precision * recall) / (weight * precision + recall);
}

const PUNCTUATION = /[!-/:-@[-`{-~]/;

/** One sign at the end of a word, or else at its beginning, is a word. */
function withoutPunctuation(word: string): string[] {
  const signs = [...word];
  if (signs.length === 1) return [word];
  if (PUNCTUATION.test(signs.at(-1)!)) return [signs.slice(0, -1).join(''), signs.at(-1)!];
  return PUNCTUATION.test(signs[0]!) ? [signs[0]!, signs.slice(1).join('')] : [word];
}
