import { shareEqual, wordsOf } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { someWords } from './words.js';

const sorted = (words: readonly string[], isRising: boolean): string[] =>
  words.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0) * (isRising ? 1 : -1));

/** Words in the order of their code points, rising or falling. The share of right places is the score. */
export const wordSorting = reasoningTask({
  name: 'word_sorting',
  attributes: { words: [3, 5, 8, 16] },
  make: (random, { words }) => ({
    words: someWords(random, words).map((word) =>
      random.integer(0, 1) === 0 ? word : word[0]!.toUpperCase() + word.slice(1),
    ),
    isRising: random.integer(0, 1) === 0,
  }),
  question: ({ words, isRising }) =>
    `Sort these words ${isRising ? 'ascending' : 'descending'} by their characters' code points (A before a), with commas: ${words.join(', ')}`,
  answer: ({ words, isRising }) => sorted(words, isRising).join(', '),
  score: ({ words, isRising }, answer) => shareEqual(wordsOf(answer), sorted(words, isRising)),
  key: ({ words, isRising }) => `${sorted(words, true)} ${isRising}`,
});
