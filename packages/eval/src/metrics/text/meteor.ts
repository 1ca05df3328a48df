import { custom, type Given, number, options } from '@posttrain/interfaces';
import { porterStem } from './porter-stemmer.js';

const meteorOptions = options('meteor', {
  /** α: how much recall counts against precision, 0 to 1. Default 0.9. */
  alpha: number({ default: 0.9, min: 0, max: 1 }),
  /** β: how fast the penalty grows with fragmentation. Default 3. */
  beta: number({ default: 3, min: 0 }),
  /** γ: the largest penalty, 0 to 1. Default 0.5. */
  gamma: number({ default: 0.5, min: 0, max: 1 }),
  /** Words that mean the same as a word (all lemmas of its synsets, of a WordNet that you have), for the third stage. It is asked for stems, as NLTK asks. Default: there is none. */
  synonyms: custom<(word: string) => Iterable<string>>()(
    'a function of a word that gives its synonyms',
    (value) => typeof value === 'function',
    { optional: true },
  ),
});
/** Options of `meteor`. */
export type MeteorOptions = Given<typeof meteorOptions>;

/**
 * METEOR of a text against its reference (Banerjee and Lavie 2005; parameters of Lavie and Agarwal 2007), as NLTK computes it: words are matched that are equal, then whose
 * Porter stems are, then that are synonyms, each stage from the ends of both texts; with P and R the shares of words that are matched, in c runs of m words,
 *
 *   P R / (α P + (1 − α) R) · (1 − γ (c / m)^β)
 *
 * Between white space, in lower case. Of several references the best counts. The aligner of the original is Meteor 1.5's, with paraphrases and other parameters; its
 * numbers are not these.
 *
 * @throws OptionError
 */
export function meteor(hypothesis: string, reference: string | readonly string[], given: MeteorOptions = {}): number {
  const { alpha, beta, gamma, synonyms } = meteorOptions.read(given);
  const words = (text: string): string[] =>
    text
      .toLowerCase()
      .split(/\s+/u)
      .filter((word) => word !== '');
  const said = words(hypothesis);
  const scores = [reference].flat().map((text) => {
    const wanted = words(text);
    const matches = align(said, wanted, synonyms);
    if (matches.length === 0) return 0;
    const [precision, recall] = [matches.length / said.length, matches.length / wanted.length];
    const chunks = matches.filter(
      ([i, j], at) => at === 0 || matches[at - 1]![0] !== i - 1 || matches[at - 1]![1] !== j - 1,
    );
    const mean = (precision * recall) / (alpha * precision + (1 - alpha) * recall);
    return mean * (1 - gamma * (chunks.length / matches.length) ** beta);
  });
  return Math.max(0, ...scores);
}

/** Matched places of both texts, in the order of the first. */
function align(
  said: readonly string[],
  wanted: readonly string[],
  synonyms: ((word: string) => Iterable<string>) | undefined,
): (readonly [said: number, wanted: number])[] {
  let [left, right] = [said.map((_, i) => i), wanted.map((_, j) => j)];
  const matches: (readonly [number, number])[] = [];
  const stage = (isMatch: (i: number) => (j: number) => boolean): void => {
    for (const i of [...left].reverse()) {
      const matchesOf = isMatch(i);
      const j = right.findLast(matchesOf);
      if (j === undefined) continue;
      matches.push([i, j]);
      left = left.filter((other) => other !== i);
      right = right.filter((other) => other !== j);
    }
  };
  stage((i) => (j) => said[i] === wanted[j]);
  const [saidStems, wantedStems] = [said.map(porterStem), wanted.map(porterStem)];
  stage((i) => (j) => saidStems[i] === wantedStems[j]);
  if (synonyms) {
    stage((i) => {
      const same = new Set([...synonyms(saidStems[i]!), saidStems[i]!]);
      return (j) => same.has(wantedStems[j]!);
    });
  }
  return matches.sort((a, b) => a[0] - b[0]);
}
