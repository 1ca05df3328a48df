import type { Random } from '@posttrain/interfaces/random';

/** Words for puzzles about letters. */
const WORDS =
  'apple river stone cloud garden winter silver orange planet forest bridge candle desert engine flower guitar hammer island jacket kitten ladder market needle office pepper rabbit school tunnel valley window yellow zipper anchor basket carpet dragon eleven finger'.split(
    ' ',
  );

export const someWords = (random: Random, count: number): string[] =>
  Array.from({ length: count }, () => random.pick(WORDS));

/** Letters of the first so many of the alphabet. */
export const letters = (random: Random, count: number, alphabet: number): string =>
  Array.from({ length: count }, () => String.fromCharCode(97 + random.integer(0, alphabet - 1))).join('');
