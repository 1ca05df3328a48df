import { boolean, commonSubsequences, type Given, oneOf, options, rougeWords } from '@posttrain/interfaces';
import { porterStem } from './porter-stemmer.js';
import { ngramCounts, overlap } from './words.js';

const rougeOptions = options(
  'rouge',
  {
    /** `rouge1`, `rouge2`: words and pairs of words. `rougeL`: the longest common subsequence. `rougeLsum`: of summaries, a sentence a line. */
    type: oneOf(['rouge1', 'rouge2', 'rougeL', 'rougeLsum'], {}),
    /** Compare stems of words of more than three letters (Porter's). Default false. */
    stem: boolean({ default: false }),
  },
  { bare: 'type' },
);
/** Options of `rouge`. */
export type RougeOptions = Given<typeof rougeOptions>;

/** Shares of what is common, 0 to 1. */
export interface Rouge {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/**
 * ROUGE of a text against its reference (Lin 2004), as rouge-score 0.1.2 computes it: words are runs of a–z and digits in lower case. ROUGE-L counts the longest
 * common subsequence; ROUGE-Lsum the words of each line of the reference that are in one with any line of the text, each as often as both texts have it.
 * Of a corpus it is the mean over texts; of several references, the one with the highest F1.
 *
 * @throws OptionError
 */
export function rouge(hypothesis: string, reference: string | readonly string[], given: RougeOptions): Rouge {
  const { type, stem } = rougeOptions.read(given);
  const scores = [reference].flat().map((text) => scoreOf(hypothesis, text, type, stem));
  return scores.reduce((best, score) => (score.f1 > best.f1 ? score : best), scores[0] ?? shares(0, 0, 0));
}

function scoreOf(hypothesis: string, reference: string, type: RougeOptions['type'], stem: boolean): Rouge {
  const words = (text: string): string[] => tokensOf(text, stem);
  if (type === 'rougeLsum') {
    const lines = (text: string) =>
      text
        .split('\n')
        .filter((line) => line !== '')
        .map(words);
    return summaryOf(lines(hypothesis), lines(reference));
  }
  const [said, wanted] = [words(hypothesis), words(reference)];
  if (type === 'rougeL') {
    return said.length === 0 || wanted.length === 0
      ? shares(0, 0, 0)
      : shares(commonSubsequences(wanted, said).at(-1)!.at(-1)!, said.length, wanted.length);
  }
  const n = type === 'rouge1' ? 1 : 2;
  const count = (list: readonly string[]) => Math.max(0, list.length - n + 1);
  return shares(overlap(ngramCounts(said, n), ngramCounts(wanted, n)), count(said), count(wanted));
}

function tokensOf(text: string, stem: boolean): string[] {
  const words = rougeWords(text);
  return stem ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : words;
}

function shares(common: number, said: number, wanted: number): Rouge {
  const [precision, recall] = [common / Math.max(said, 1), common / Math.max(wanted, 1)];
  return { precision, recall, f1: precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
}

/** Places of one longest common subsequence: of equal ones that of the latest places of `others`. */
function placesOf(some: readonly string[], others: readonly string[]): number[] {
  const table = commonSubsequences(some, others);
  const places: number[] = [];
  let [i, j] = [some.length, others.length];
  while (i > 0 && j > 0) {
    if (some[i - 1] === others[j - 1]) {
      places.push(i - 1);
      i--;
      j--;
    } else if (table[i]![j - 1]! > table[i - 1]![j]!) j--;
    else i--;
  }
  return places;
}

function summaryOf(said: readonly string[][], wanted: readonly string[][]): Rouge {
  const [saidCount, wantedCount] = [said.flat().length, wanted.flat().length];
  if (saidCount === 0 || wantedCount === 0) return shares(0, 0, 0);
  const [leftSaid, leftWanted] = [ngramCounts(said.flat(), 1), ngramCounts(wanted.flat(), 1)];
  let hits = 0;
  for (const line of wanted) {
    const places = new Set(said.flatMap((other) => placesOf(line, other)));
    for (const place of [...places].sort((a, b) => a - b)) {
      const word = line[place]!;
      const [a, b] = [leftSaid.get(word) ?? 0, leftWanted.get(word) ?? 0];
      if (a === 0 || b === 0) continue;
      hits++;
      leftSaid.set(word, a - 1);
      leftWanted.set(word, b - 1);
    }
  }
  return shares(hits, saidCount, wantedCount);
}
