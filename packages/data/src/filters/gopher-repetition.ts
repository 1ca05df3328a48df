import { custom, type Given, options } from '@posttrain/interfaces';
import { lengthOf, strip } from '@posttrain/interfaces/python';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { englishWords } from '../text/english-words.js';
import { countDuplicates } from './duplicates.js';
import { columnOption, textFilter, threshold, wordsOption } from './text-filter.js';

type Limits = readonly (readonly [n: number, share: number])[];
const limits = (value: Limits) =>
  custom<Limits>()(
    'a list of [n, greatest share]',
    (given) =>
      Array.isArray(given) &&
      given.every(
        (pair) => Array.isArray(pair) && Number.isInteger(pair[0]) && pair[0] > 0 && Number.isFinite(pair[1]),
      ),
    { default: value },
  );

const gopherRepetitionOptions = options('gopherRepetition', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** Greatest share of lines that were there before. Default 0.3. */
  dupLineFrac: threshold(0.3),
  /** Greatest share of such paragraphs. Default 0.3. */
  dupParaFrac: threshold(0.3),
  /** Greatest share of characters in such lines. Default 0.2. */
  dupLineCharFrac: threshold(0.2),
  /** Greatest share of characters in such paragraphs. Default 0.2. */
  dupParaCharFrac: threshold(0.2),
  /** Of the most frequent n-gram of words the greatest share of characters. Default 2: 0.2, 3: 0.18, 4: 0.16. */
  topNGrams: limits([
    [2, 0.2],
    [3, 0.18],
    [4, 0.16],
  ]),
  /** Of n-grams that were there before the greatest share of characters. Default from 5: 0.15 to 10: 0.1. */
  dupNGrams: limits([
    [5, 0.15],
    [6, 0.14],
    [7, 0.13],
    [8, 0.12],
    [9, 0.11],
    [10, 0.1],
  ]),
  /** Words of a text. Default: `englishWords`. */
  words: wordsOption,
});
/** Options of `gopherRepetition`. */
export type GopherRepetitionOptions = Given<typeof gopherRepetitionOptions>;

/**
 * Gopher's rules against documents that repeat themselves (arXiv 2112.11446 §A.1.1, table A1), with datatrove's options, defaults, order and
 * reasons: repeated paragraphs (apart by empty lines) and lines, by number and by characters; characters of the most frequent n-gram; characters of
 * n-grams that were there before, without overlaps. Shares are of all characters of the text.
 *
 * @throws OptionError; RowError where the text is none
 */
export function gopherRepetition<R extends object = Row>(
  given: GopherRepetitionOptions = {},
): DataStep<R> & { readonly passes: true } {
  const settings = gopherRepetitionOptions.read(given);
  const wordsOf = settings.words ?? englishWords;
  const version = JSON.stringify(gopherRepetitionOptions.settings(given));
  return textFilter('gopher repetition', version, settings.text, (text) => {
    const reason = repeats(text);
    return reason === undefined ? true : { drop: reason };
  });

  function repeats(text: string): string | undefined {
    if (text === '') return 'empty';
    const characters = lengthOf(text);
    const paragraphs = strip(text).split(/\n{2,}/u);
    const repeated = countDuplicates(paragraphs);
    if (isAbove(repeated.parts / paragraphs.length, settings.dupParaFrac)) return 'dup_para_frac';
    if (isAbove(repeated.characters / characters, settings.dupParaCharFrac)) return 'dup_para_char_frac';
    const lines = text.split(/\n+/u);
    const again = countDuplicates(lines);
    if (isAbove(again.parts / lines.length, settings.dupLineFrac)) return 'dup_line_frac';
    if (isAbove(again.characters / characters, settings.dupLineCharFrac)) return 'dup_line_char_frac';

    const { ids, lengths } = numbered(wordsOf(text));
    for (const [n, most] of settings.topNGrams) {
      if (ids.length >= n && topCharacters(ids, lengths, n) / characters > most) return `top_${n}_gram`;
    }
    for (const [n, most] of settings.dupNGrams) {
      if (repeatedCharacters(ids, lengths, n) / characters > most) return `duplicated_${n}_n_grams`;
    }
    return undefined;
  }
}

const isAbove = (value: number, limit: number | null) => limit !== null && value > limit;

/** Words as numbers, so that n-grams are compared without building their texts, and their lengths in characters. */
function numbered(words: readonly string[]): { readonly ids: Int32Array; readonly lengths: Int32Array } {
  const known = new Map<string, number>();
  const ids = new Int32Array(words.length);
  const lengths = new Int32Array(words.length);
  for (const [i, word] of words.entries()) {
    let id = known.get(word);
    if (id === undefined) {
      id = known.size;
      known.set(word, id);
    }
    ids[i] = id;
    lengths[i] = lengthOf(word);
  }
  return { ids, lengths };
}

/** Characters of the most frequent n-gram, spaces between its words included, times how often it is there; of equally frequent ones the first. */
function topCharacters(ids: Int32Array, lengths: Int32Array, n: number): number {
  const counts = new Map<string, { count: number; readonly length: number }>();
  let best = { count: 0, length: 0 };
  for (let start = 0; start + n <= ids.length; start++) {
    const gram = key(ids, start, n);
    const entry = counts.get(gram);
    if (entry !== undefined) entry.count++;
    else counts.set(gram, { count: 1, length: charactersOf(lengths, start, n) + n - 1 });
  }
  // Counter.most_common takes the one that was met first of equally frequent ones; a Map keeps that order.
  for (const entry of counts.values()) if (entry.count > best.count) best = entry;
  return best.length * best.count;
}

/** Characters of n-grams that were there before; behind one the search goes on after its last word. */
function repeatedCharacters(ids: Int32Array, lengths: Int32Array, n: number): number {
  const seen = new Set<string>();
  let characters = 0;
  for (let start = 0; start + n <= ids.length; ) {
    const gram = key(ids, start, n);
    if (seen.has(gram)) {
      characters += charactersOf(lengths, start, n);
      start += n;
    } else {
      seen.add(gram);
      start++;
    }
  }
  return characters;
}

/** Words' numbers as characters of a string, two units to a number: a key that a Map hashes quickly. */
function key(ids: Int32Array, start: number, n: number): string {
  let text = '';
  for (let i = start; i < start + n; i++) text += String.fromCharCode(ids[i]! & 0xffff, ids[i]! >>> 16);
  return text;
}

function charactersOf(lengths: Int32Array, start: number, n: number): number {
  let sum = 0;
  for (let i = start; i < start + n; i++) sum += lengths[i]!;
  return sum;
}
