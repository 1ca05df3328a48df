import { levenshtein } from '../../text/levenshtein.js';
import { isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { letters } from './words.js';

/** Levenshtein's distance of two texts. */
export const editDistance = reasoningTask({
  name: 'edit_distance',
  attributes: { length: [3, 5, 8, 14] },
  make: (random, { length }) => ({ first: letters(random, length, 4), second: letters(random, length, 4) }),
  question: ({ first, second }) =>
    `How many insertions, deletions and replacements of a letter does it take at least to make "${first}" into "${second}"?`,
  answer: ({ first, second }) => String(levenshtein(first, second)),
  score: ({ first, second }, answer) => isNumber(answer, levenshtein(first, second)),
  key: ({ first, second }) => [first, second].sort().join(),
});
