import { type Given, integer, listOf, options, text } from '@posttrain/interfaces';
import { TokenizerTrainingError } from '../errors.js';

/** Options that the trainers of merges share, by the names of the `tokenizers` library. */
export const mergesShape = {
  /** Tokens at most, with special tokens and characters. */
  vocabSize: integer({ default: 30_000, min: 1 }),
  /** How often a pair must occur to be joined. Default 0. */
  minFrequency: integer({ default: 0, min: 0 }),
  /** The first tokens, which no text is ever cut into. Default: none. */
  specialTokens: listOf(text({}), { default: [] as readonly string[] }),
  /** Keep this many characters, the most frequent. Default: all. */
  limitAlphabet: integer({ optional: true, min: 0 }),
  /** Characters that are there in any case; of a longer text the first. Default: none. */
  initialAlphabet: listOf(text({}), { default: [] as readonly string[] }),
  /** In front of every token that does not begin a word. Default: nothing. */
  continuingSubwordPrefix: text({ optional: true }),
  /** Behind every token that ends a word. Default: nothing. */
  endOfWordSuffix: text({ optional: true }),
  /** The most characters of a token. Default: no limit. */
  maxTokenLength: integer({ optional: true, min: 1 }),
};

const bpeOptions = options('trainBpe', mergesShape);
/** Options of `trainBpe`. */
export type TrainBpeOptions = Given<typeof bpeOptions>;

/** Tokens in the order of their ids, and the pairs that are joined, the first learnt first. */
export interface BpeVocabulary {
  readonly tokens: readonly string[];
  readonly merges: readonly (readonly [left: string, right: string])[];
}

/** A pair of ids as one number. */
const PAIR = 2 ** 24;

interface Candidate {
  readonly pair: number;
  count: number;
  /** The words that the pair came up in. */
  readonly words: ReadonlySet<number>;
}

/** A word as ids, and how many characters each stands for. */
interface Word {
  readonly ids: number[];
  readonly lengths: number[];
}

/**
 * Byte-pair encoding (arXiv 1508.07909, algorithm 1): beginning with characters, the most frequent pair of neighbours is joined, until
 * there are `vocabSize` tokens or no pair occurs `minFrequency` times. Of pairs that are equally frequent that of the smaller ids comes
 * first. Tokens are those of the `tokenizers` library; its order of characters with a prefix or suffix is by chance, here it is that
 * of the words.
 *
 * @param words how often each occurs: pieces between which nothing is joined
 * @throws OptionError; TokenizerTrainingError where there are no words
 */
export function trainBpe(words: ReadonlyMap<string, number>, given: TrainBpeOptions = {}): BpeVocabulary {
  const settings = bpeOptions.read(given);
  const { vocabSize, minFrequency, specialTokens, continuingSubwordPrefix: prefix, maxTokenLength } = settings;
  if (words.size === 0) throw new TokenizerTrainingError('there is no text to learn from.');
  const ids = new Map<string, number>();
  const tokens: string[] = [];
  const idOf = (token: string): number => {
    const known = ids.get(token);
    if (known !== undefined) return known;
    ids.set(token, tokens.length);
    return tokens.push(token) - 1;
  };
  for (const token of [...specialTokens, ...alphabetOf(words, settings)]) idOf(token);

  const counts = [...words.values()];
  const cut = [...words.keys()].map((word) => cutIntoCharacters(word, ids, idOf, settings));
  const longest = maxTokenLength ?? Number.POSITIVE_INFINITY;
  const pairCounts = new Map<number, number>();
  const found = new Map<number, Set<number>>();
  const note = (pair: number, word: number, change: number) => {
    pairCounts.set(pair, (pairCounts.get(pair) ?? 0) + change * counts[word]!);
    if (change < 0) return;
    const at = found.get(pair);
    if (at) at.add(word);
    else found.set(pair, new Set([word]));
  };
  cut.forEach((word, w) => {
    for (let i = 1; i < word.ids.length; i++) note(word.ids[i - 1]! * PAIR + word.ids[i]!, w, 1);
  });
  const queue = new CandidateQueue();
  const enqueue = () => {
    for (const [pair, at] of found) {
      const count = pairCounts.get(pair)!;
      if (count > 0) queue.push({ pair, count, words: at });
    }
    found.clear();
  };
  enqueue();

  /** By the pair; one that comes up again is learnt where it came up last. */
  const merges = new Map<number, readonly [string, string]>();
  while (tokens.length < vocabSize) {
    const best = queue.pop();
    if (!best) break;
    const count = pairCounts.get(best.pair)!;
    if (best.count !== count) {
      queue.push({ ...best, count });
      continue;
    }
    if (count < 1 || count < minFrequency) break;
    const [left, right] = [Math.floor(best.pair / PAIR), best.pair % PAIR];
    const [a, b] = [tokens[left]!, tokens[right]!];
    const joined = idOf(a + (prefix && b.startsWith(prefix) ? b.slice(prefix.length) : b));
    merges.delete(best.pair);
    merges.set(best.pair, [a, b]);
    for (const w of best.words)
      joinIn(cut[w]!, [left, right], joined, longest, (pair, change) => note(pair, w, change));
    enqueue();
  }
  return { tokens, merges: [...merges.values()] };
}

type Alphabet = Pick<ReturnType<typeof bpeOptions.read>, 'limitAlphabet' | 'initialAlphabet'>;

/** The characters of all words, in the order of code points; the rarest are left out first. */
function alphabetOf(words: ReadonlyMap<string, number>, { limitAlphabet, initialAlphabet }: Alphabet): string[] {
  const counts = new Map<string, number>();
  for (const [word, count] of words) {
    for (const character of word) counts.set(character, (counts.get(character) ?? 0) + count);
  }
  for (const given of initialAlphabet) {
    const [character] = given;
    if (character !== undefined) counts.set(character, Number.POSITIVE_INFINITY);
  }
  const byFrequency = [...counts].sort(([, a], [, b]) => (a === b ? 0 : b - a)).map(([character]) => character);
  const kept = byFrequency.slice(0, limitAlphabet ?? byFrequency.length);
  return kept.sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
}

type Affixes = Pick<ReturnType<typeof bpeOptions.read>, 'continuingSubwordPrefix' | 'endOfWordSuffix'>;

/** The ids of a word's characters; those that are not in the alphabet are left out. */
function cutIntoCharacters(
  word: string,
  alphabet: ReadonlyMap<string, number>,
  idOf: (token: string) => number,
  { continuingSubwordPrefix = '', endOfWordSuffix = '' }: Affixes,
): Word {
  const characters = Array.from(word);
  const ids = characters.flatMap((character, i) => {
    if (!alphabet.has(character)) return [];
    return idOf(
      (i > 0 ? continuingSubwordPrefix : '') + character + (i === characters.length - 1 ? endOfWordSuffix : ''),
    );
  });
  return { ids, lengths: ids.map(() => 1) };
}

/** Joins a pair everywhere in a word, and tells which pairs are there no more, and which are new. */
function joinIn(
  { ids, lengths }: Word,
  [left, right]: readonly [number, number],
  joined: number,
  longest: number,
  changed: (pair: number, change: 1 | -1) => void,
): void {
  for (let i = 0; i + 1 < ids.length; i++) {
    if (ids[i] !== left || ids[i + 1] !== right) continue;
    const length = lengths[i]! + lengths[i + 1]!;
    if (i > 0) {
      changed(ids[i - 1]! * PAIR + left, -1);
      if (lengths[i - 1]! + length < longest) changed(ids[i - 1]! * PAIR + joined, 1);
    }
    ids.splice(i, 2, joined);
    lengths.splice(i, 2, length);
    if (i + 1 < ids.length) {
      changed(right * PAIR + ids[i + 1]!, -1);
      if (lengths[i + 1]! + length < longest) changed(joined * PAIR + ids[i + 1]!, 1);
    }
  }
}

/** A heap: the most frequent pair first, of equal ones that of the smaller ids. */
class CandidateQueue {
  readonly #heap: Candidate[] = [];

  push(candidate: Candidate): void {
    const heap = this.#heap;
    let i = heap.push(candidate) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(candidate, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = candidate;
  }

  pop(): Candidate | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last!)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last!;
    return first;
  }
}

const isBefore = (a: Candidate, b: Candidate): boolean => a.count > b.count || (a.count === b.count && a.pair < b.pair);
