import { boolean, type Given, options } from '@posttrain/interfaces';
import { referencesOf, wordsOf } from './words.js';

const terOptions = options('ter', {
  /** Default false: "The" is "the". */
  caseSensitive: boolean({ default: false }),
  /** Punctuation apart, entities read, lines joined. Default false. */
  normalized: boolean({ default: false }),
  /** Leave out `. , ? : ; ! " ( )`. Default false. */
  withoutPunctuation: boolean({ default: false }),
});
/** Options of `ter`. */
export type TerOptions = Given<typeof terOptions>;

/** Translation edit rate: lower is better. */
export interface Ter {
  /** 100 · edits / words of the references; above 100 where more is wrong than there is. */
  readonly score: number;
  readonly edits: number;
  /** Mean over the references of a text, summed over texts. */
  readonly referenceLength: number;
  /** How it was computed, as sacrebleu writes it, without its version. */
  readonly signature: string;
}

/** Longest run of words that a shift moves, and how far. */
const LONGEST_SHIFT = 10;
const FURTHEST_SHIFT = 50;
const MOST_CANDIDATES = 1000;
/** Cells beside the diagonal that are looked at. */
const BEAM = 25;

/**
 * Translation edit rate of a corpus (Snover et al. 2006), as sacrebleu 2 computes it: the fewest words to insert, delete, replace, and runs of words to shift, found greedily
 * with Tercom's limits, over the mean length of the references. Of several references the one with the fewest edits counts. Asian scripts are not split.
 *
 * @throws OptionError; EvaluationError `UNPAIRED`, `NO_REFERENCE`
 */
export function ter(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  given: TerOptions = {},
): Ter {
  const { caseSensitive, normalized, withoutPunctuation } = terOptions.read(given);
  const all = referencesOf('ter', hypotheses, references);
  const tokens = (text: string): string[] => {
    let line = text.replace(/\s+$/u, '');
    if (!caseSensitive) line = line.toLowerCase();
    if (normalized) line = normalize(line);
    if (withoutPunctuation) line = line.replace(/[.,?:;!"()]/g, '');
    return wordsOf(line);
  };
  let [edits, referenceLength] = [0, 0];
  hypotheses.forEach((hypothesis, i) => {
    const own = tokens(hypothesis);
    const wanted = all[i]!.map(tokens);
    edits += Math.min(...wanted.map((words) => editsBetween(own, words)));
    referenceLength += wanted.reduce((sum, words) => sum + words.length, 0) / wanted.length;
  });
  const rate = referenceLength > 0 ? edits / referenceLength : edits > 0 ? 1 : 0;
  const sizes = new Set(all.map((list) => list.length));
  const nrefs = sizes.size === 1 ? [...sizes][0] : 'var';
  const [letters, norm, punct] = [
    caseSensitive ? 'mixed' : 'lc',
    normalized ? 'yes' : 'no',
    withoutPunctuation ? 'no' : 'yes',
  ];
  const signature = `nrefs:${nrefs}|case:${letters}|tok:tercom|norm:${norm}|punct:${punct}|asian:no`;
  return { score: 100 * rate, edits, referenceLength, signature };
}

function normalize(text: string): string {
  let line = text.replace(/\n-/g, '').replace(/\n/g, ' ');
  const entities = { '&quot;': '"', '&amp;': '&', '&lt;': '<', '&gt;': '>' };
  for (const [entity, sign] of Object.entries(entities)) line = line.replaceAll(entity, sign);
  return ` ${line} `
    .replace(/([{-~[-` -&(-+:-@/])/g, ' $1 ')
    .replace(/'s(?= |$)/g, " 's")
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/g, '$1 $2 ');
}

/** Shifts as long as they pay, then what remains to be edited. */
function editsBetween(hypothesis: readonly string[], reference: readonly string[]): number {
  if (reference.length === 0) return hypothesis.length;
  let words = hypothesis;
  let shifts = 0;
  let checked = 0;
  for (;;) {
    const found = bestShift(words, reference, checked);
    checked = found.checked;
    if (checked >= MOST_CANDIDATES || found.gain <= 0) break;
    shifts++;
    words = found.words;
  }
  return shifts + editDistance(words, reference).distance;
}

interface Shift {
  readonly gain: number;
  readonly words: readonly string[];
  readonly checked: number;
}

/** The shift that saves most; of equal ones the longest, then the first of the hypothesis, then the one that goes least far to the right. */
function bestShift(words: readonly string[], reference: readonly string[], before: number): Shift {
  const { distance, aligned, hypothesisWrong, referenceWrong } = editDistance(words, reference);
  let checked = before;
  let best: { key: readonly number[]; words: readonly string[] } | undefined;
  const isWrong = (wrong: readonly boolean[], start: number, length: number): boolean =>
    wrong.slice(start, start + length).includes(true);
  search: for (let start = 0; start < words.length; start++) {
    for (let at = 0; at < reference.length; at++) {
      if (Math.abs(at - start) > FURTHEST_SHIFT) continue;
      for (
        let length = 1;
        length <= LONGEST_SHIFT &&
        start + length <= words.length &&
        at + length <= reference.length &&
        words[start + length - 1] === reference[at + length - 1];
        length++
      ) {
        // Only what is wrong where it stands, and wanted where it goes.
        if (!isWrong(hypothesisWrong, start, length) || !isWrong(referenceWrong, at, length)) continue;
        const there = aligned[at]!;
        if (there >= start && there < start + length) continue;
        let previous = -1;
        for (let offset = -1; offset < length; offset++) {
          const target = at + offset === -1 ? 0 : aligned[at + offset]! + 1;
          if (target === previous) continue;
          previous = target;
          const moved = shifted(words, start, length, target);
          const key = [distance - editDistance(moved, reference).distance, length, -start, -target];
          checked++;
          if (!best || isAbove(key, moved, best)) best = { key, words: moved };
        }
        if (checked >= MOST_CANDIDATES) break search;
      }
    }
  }
  return { gain: best?.key[0] ?? 0, words: best?.words ?? words, checked };
}

function isAbove(
  key: readonly number[],
  moved: readonly string[],
  best: { readonly key: readonly number[]; readonly words: readonly string[] },
): boolean {
  const at = key.findIndex((value, i) => value !== best.key[i]);
  if (at >= 0) return key[at]! > best.key[at]!;
  const word = moved.findIndex((value, i) => value !== best.words[i]);
  return word >= 0 && moved[word]! > best.words[word]!;
}

function shifted(words: readonly string[], start: number, length: number, target: number): readonly string[] {
  const run = words.slice(start, start + length);
  if (target < start)
    return [...words.slice(0, target), ...run, ...words.slice(target, start), ...words.slice(start + length)];
  // Behind itself: so many words of what follows come first.
  const end = target > start + length ? target : target + length;
  return [...words.slice(0, start), ...words.slice(start + length, end), ...run, ...words.slice(end)];
}

const NOTHING = 0;
const REPLACE = 1;
const DELETE = 2;
const INSERT = 3;

interface Edits {
  readonly distance: number;
  /** By word of the reference, the word of the hypothesis that stands for it, or the last one before. */
  readonly aligned: readonly number[];
  readonly hypothesisWrong: readonly boolean[];
  readonly referenceWrong: readonly boolean[];
}

/** Levenshtein's distance near the diagonal; of equal ways it goes by replacement, then deletion, then insertion. */
function editDistance(hypothesis: readonly string[], reference: readonly string[]): Edits {
  const [rows, columns] = [hypothesis.length, reference.length];
  const ratio = rows > 0 ? columns / rows : 1;
  const beam = BEAM < ratio / 2 ? Math.ceil(ratio / 2 + BEAM) : BEAM;
  const width = columns + 1;
  const cost = new Float64Array((rows + 1) * width).fill(Number.POSITIVE_INFINITY);
  const way = new Uint8Array((rows + 1) * width);
  for (let j = 0; j <= columns; j++) {
    cost[j] = j;
    way[j] = INSERT;
  }
  for (let i = 1; i <= rows; i++) {
    const diagonal = Math.floor(i * ratio);
    const end = i === rows ? columns + 1 : Math.min(columns + 1, diagonal + beam);
    for (let j = Math.max(0, diagonal - beam); j < end; j++) {
      const cell = i * width + j;
      const consider = (value: number, how: number): void => {
        if (value < cost[cell]!) {
          cost[cell] = value;
          way[cell] = how;
        }
      };
      if (j > 0) {
        const same = hypothesis[i - 1] === reference[j - 1];
        consider(cost[cell - width - 1]! + (same ? 0 : 1), same ? NOTHING : REPLACE);
      }
      consider(cost[cell - width]! + 1, DELETE);
      if (j > 0) consider(cost[cell - 1]! + 1, INSERT);
    }
  }
  const aligned = new Array<number>(columns).fill(-1);
  const hypothesisWrong = new Array<boolean>(rows).fill(false);
  const referenceWrong = new Array<boolean>(columns).fill(false);
  let [i, j] = [rows, columns];
  while (i > 0 || j > 0) {
    const how = way[i * width + j]!;
    if (how !== INSERT) i--;
    if (how !== DELETE) {
      j--;
      aligned[j] = how === INSERT ? i - 1 : i;
    }
    if (how === NOTHING) continue;
    if (how !== INSERT) hypothesisWrong[i] = true;
    if (how !== DELETE) referenceWrong[j] = true;
  }
  return { distance: cost[rows * width + columns]!, aligned, hypothesisWrong, referenceWrong };
}
