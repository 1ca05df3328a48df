/**
 * Questions of a small world: five invented words, of which three say something good or bad, and the question is which of them are more. Each
 * domain has words of its own for that; the others say nothing, and where all five say nothing, there is no answer.
 */
import type { Random } from '../../pretrain-tiny/problem.js';

export const LABELS = ['positive', 'negative'] as const;
export const ABSTENTION = 'unknown';
export type Label = (typeof LABELS)[number] | typeof ABSTENTION;

/** Three domains, and questions without an answer. */
export const SETS = ['home', 'met', 'foreign', 'unanswerable'] as const;
export type SetName = (typeof SETS)[number];

export interface Question {
  readonly text: string;
  readonly label: Label;
}

/** The words of a world. */
export interface World {
  /** By domain: words that say something good, and words that say something bad. */
  readonly lexicon: Readonly<Record<Exclude<SetName, 'unanswerable'>, readonly [good: string[], bad: string[]]>>;
  /** Words that say nothing. */
  readonly neutral: readonly string[];
}

/** Words of either kind in a domain, and words that say nothing. */
export interface WorldSize {
  readonly home: number;
  readonly met: number;
  readonly foreign: number;
  readonly neutral: number;
}

/** What a model reads in the place of a word that it does not know. */
export const UNKNOWN = '?';

const TELLING = 3;
const LENGTH = 5;

export function shuffle<T>(items: readonly T[], random: Random): T[] {
  const list = [...items];
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

/** A world, by its seed: which of all words of four letters mean what. */
export function makeWorld(size: WorldSize, random: Random): World {
  const syllables = [...'bdfgkmrtvz'].flatMap((consonant) => [...'aeou'].map((vowel) => consonant + vowel));
  const all = shuffle(
    syllables.flatMap((first) => syllables.map((second) => first + second)),
    random,
  );
  const take = (count: number) => all.splice(0, count);
  const domain = (count: number): [string[], string[]] => [take(count), take(count)];
  const { home, met, foreign, neutral } = size;
  return {
    lexicon: { home: domain(home), met: domain(met), foreign: domain(foreign) },
    neutral: take(neutral),
  };
}

export const wordsOf = ({ lexicon, neutral }: World): string[] => [
  ...Object.values(lexicon).flatMap(([good, bad]) => [...good, ...bad]),
  ...neutral,
];

export function drawQuestion({ lexicon, neutral }: World, set: SetName, random: Random): Question {
  const some = (list: readonly string[]) => list[Math.floor(random() * list.length)]!;
  const silent = () => some(neutral);
  if (set === 'unanswerable') return { text: Array.from({ length: LENGTH }, silent).join(' '), label: ABSTENTION };
  const isBad = Array.from({ length: TELLING }, () => Number(random() < 0.5));
  const telling = isBad.map((bad) => some(lexicon[set][bad]!));
  const text = shuffle([...telling, ...Array.from({ length: LENGTH - TELLING }, silent)], random).join(' ');
  return { text, label: LABELS[Number(isBad.reduce((a, b) => a + b, 0) > TELLING / 2)]! };
}

/** The words that the small model knows: all of its home, and those that say nothing. */
export const knownToSmall = ({ lexicon, neutral }: World): ReadonlySet<string> =>
  new Set([...lexicon.home.flat(), ...neutral]);

/** Those that the large one knows: half of the small one's, and all of both other domains. */
export function knownToLarge({ lexicon, neutral }: World): ReadonlySet<string> {
  const half = (list: readonly string[]) => list.slice(0, Math.ceil(list.length / 2));
  return new Set([...lexicon.home.flatMap(half), ...half(neutral), ...lexicon.met.flat(), ...lexicon.foreign.flat()]);
}

const WORD = /\b(?:[bdfgkmrtvz][aeou]){2}\b/g;

/** A text as a model reads it that knows these words. */
export const readBy = (known: ReadonlySet<string>, text: string, forgets: () => boolean = () => false): string =>
  text.replace(WORD, (word) => (known.has(word) && !forgets() ? word : UNKNOWN));
