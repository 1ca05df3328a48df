/** Rows that several studies have, and the types of what a study gives. */
import { createRandom } from '@posttrain/interfaces/random';
import type { RowSource } from '@posttrain/training';

/** Numbers by arm and name. */
export type Arms = Readonly<Record<string, Readonly<Record<string, number>>>>;
/** How long the arms are trained, as a part of what the study has: below 1 for a test. */
export type Scale = (steps: number) => number;

/** Texts of a language of twelve words (letters), each drawn by a table of the one before it: of two that may follow, the first with probability `sure`. */
export function language(name: string, seed: number, sure = 0.75) {
  const own = createRandom(seed, 'language', name);
  const next = Array.from({ length: 12 }, () => [own.integer(0, 11), own.integer(0, 11)] as const);
  return (count: number, draw: string): { text: string; prompt: string; completion: string }[] => {
    const random = createRandom(seed, name, draw);
    return Array.from({ length: count }, () => {
      const words = [random.integer(0, 11)];
      while (words.length < 24) words.push(next[words.at(-1)!]![random.float() < sure ? 0 : 1]!);
      const letters = words.map((word) => String.fromCharCode(97 + word));
      const text = letters.join(' ');
      // The first two words are the question of the others.
      return { text, prompt: letters.slice(0, 2).join(' '), completion: ` ${letters.slice(2).join(' ')}` };
    });
  };
}

/** Rows in the order in which they stand, 16 an update. */
export const inOrder = <Row extends object>(rows: readonly Row[]): RowSource<Row> => {
  let next = 0;
  return {
    name: 'in order',
    next: ({ count }) => Array.from({ length: count }, () => ({ row: rows[next++ % rows.length]! })),
    state: () => next,
    load: (state) => {
      next = state as number;
    },
  };
};

/** Letters of two kinds, of which some are rare in the pool and none in the test; prompts are a letter and a digit. */
export function lettersOfKinds(seed: number) {
  const random = createRandom(seed, 'kinds');
  const kinds = Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? 'x' : 'y'));
  const letters = random.shuffled([...'abcdefghijklmnopqrstuvwx']);
  // The i-th letter comes with a chance of about 1/(i + 1).
  const zipf = () => Math.min(23, Math.floor(Math.exp(random.float() * Math.log(25)) - 1));
  return {
    kindOf: (prompt: string) => kinds[letters.indexOf(prompt[0]!)]!,
    pool: Array.from({ length: 240 }, () => `${letters[zipf()]}${random.integer(0, 9)}:`),
    held: letters.flatMap((letter) => [`${letter}3:`, `${letter}7:`]),
  };
}

/** The indices of the highest scores; equal ones in an order of the seed's. */
export const highest = (scores: readonly number[], count: number, seed: number, round: number): number[] => {
  const jitter = createRandom(seed, 'tie', round);
  return scores
    .map((score, i) => ({ i, score: score + 1e-9 * jitter.float() }))
    .sort((a, b) => b.score - a.score)
    .slice(0, count)
    .map(({ i }) => i);
};
