import { type Given, integer, number, options } from '@posttrain/interfaces';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';

const ngramOptions = options('ngramContamination', {
  /** Words of an n-gram. Default 13, as GPT-3's (arXiv 2005.14165, appendix C). */
  n: integer({ default: 13, min: 1 }),
  /** The share of an item's n-grams, found in the training texts, above which it is contaminated; 0: one is enough. Default 0; PaLM has 0.7 with n 8 (arXiv 2204.02311 §8). */
  threshold: number({ default: 0, min: 0, below: 1 }),
});
/** Options of `ngramContamination`. */
export type NgramContaminationOptions = Given<typeof ngramOptions>;

/** What of an evaluation set is in training texts. */
export interface NgramContamination {
  readonly items: readonly {
    /** Share of its n-grams that are in the training texts; `null` of an item without words. */
    readonly overlap: number | null;
    readonly isContaminated: boolean;
    /** The first n-gram that is in both. */
    readonly match?: string;
    /** The place of the first training text that has it. */
    readonly document?: number;
  }[];
  /** The share of items that are contaminated. */
  readonly share: MeanEstimate;
  /** Places of items that are not: what a clean score is over (`cleanGap` compares). */
  readonly clean: readonly number[];
}

/**
 * Which items of an evaluation set are in training texts, by n-grams of words (lower case, letters and digits only): an item with fewer than n words is looked for
 * as a whole. Training texts are read once, as a stream; only the items' n-grams are held.
 *
 * @param items the texts of an evaluation set: question and answer
 * @param documents training texts
 * @throws OptionError
 */
export async function ngramContamination(
  items: readonly string[],
  documents: Iterable<string> | AsyncIterable<string>,
  given: NgramContaminationOptions = {},
): Promise<NgramContamination> {
  const { n, threshold } = ngramOptions.read(given);
  const own = items.map((item) => {
    const words = wordsOf(item);
    return ngrams(words, Math.min(n, words.length));
  });
  const wanted = new Map<string, number>();
  const lengths = new Set<number>();
  for (const grams of own) {
    for (const gram of grams) wanted.set(gram, -1);
    if (grams.length > 0) lengths.add(grams[0]!.split(' ').length);
  }
  let index = 0;
  for await (const document of documents) {
    const words = wordsOf(document);
    for (const length of lengths) {
      for (const gram of ngrams(words, length)) if (wanted.get(gram) === -1) wanted.set(gram, index);
    }
    index++;
  }
  const found = own.map((grams) => {
    const seen = grams.filter((gram) => wanted.get(gram)! >= 0);
    const overlap = grams.length === 0 ? null : seen.length / grams.length;
    const [match] = seen;
    return {
      overlap,
      isContaminated: overlap !== null && overlap > threshold,
      ...(match !== undefined && { match, document: wanted.get(match)! }),
    };
  });
  return {
    items: found,
    share: meanWithStandardError(found.map(({ isContaminated }) => Number(isContaminated))),
    clean: found.flatMap(({ isContaminated }, i) => (isContaminated ? [] : [i])),
  };
}

const wordsOf = (text: string): string[] =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .match(/[\p{L}\p{N}]+/gu) ?? [];

function ngrams(words: readonly string[], n: number): string[] {
  if (n === 0) return [];
  return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(' '));
}
