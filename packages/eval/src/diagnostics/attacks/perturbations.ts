import { createRandom, type Random } from '@posttrain/interfaces/random';

/** Letters beside each other on a QWERTY keyboard. */
const ROWS = ['qwertyuiop', 'asdfghjkl', 'zxcvbnm'];

/**
 * Changes of a text that leave its meaning, by which robustness is measured: `typos` puts a neighbouring key, `swap` turns two letters within a word round, `drop` leaves a letter out, each in a
 * share of the words of four letters or more (PromptBench, arXiv 2306.04528, has these at the level of letters); `upper` is upper case, `spaces` doubles spaces. Digits are never changed. Equal seeds give
 * equal texts.
 */
export const perturbations = {
  typos: (text: string, seed: number, share = 0.2) => inWords(text, seed, share, neighbouringKey),
  swap: (text: string, seed: number, share = 0.2) =>
    inWords(text, seed, share, (word, at) => word.slice(0, at) + word[at + 1] + word[at] + word.slice(at + 2)),
  drop: (text: string, seed: number, share = 0.2) =>
    inWords(text, seed, share, (word, at) => word.slice(0, at) + word.slice(at + 1)),
  upper: (text: string) => text.toUpperCase(),
  spaces: (text: string) => text.replaceAll(' ', '  '),
} as const satisfies Readonly<Record<string, (text: string, seed: number, share?: number) => string>>;

/** The name of one of them. */
export type PerturbationName = keyof typeof perturbations;

function inWords(
  text: string,
  seed: number,
  share: number,
  change: (word: string, at: number, random: Random) => string,
): string {
  const random = createRandom(seed, `perturbation ${text}`);
  return text.replaceAll(/[A-Za-z]{4,}/g, (word) =>
    // The first letter stays, and the last two places are letters.
    random.float() < share ? change(word, random.integer(1, word.length - 2), random) : word,
  );
}

function neighbouringKey(word: string, at: number, random: Random): string {
  const letter = word[at]!;
  const row = ROWS.find((keys) => keys.includes(letter.toLowerCase()))!;
  const place = row.indexOf(letter.toLowerCase());
  const near = [row[place - 1], row[place + 1]].filter((key) => key !== undefined);
  const key = near[random.integer(0, near.length - 1)]!;
  return word.slice(0, at) + (letter === letter.toLowerCase() ? key : key.toUpperCase()) + word.slice(at + 1);
}
