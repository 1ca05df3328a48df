import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { letters } from './words.js';

function distance(a: string, b: string): number {
  let before = range(b.length + 1);
  for (const [i, x] of [...a].entries()) {
    const row = [i + 1];
    for (const [j, y] of [...b].entries())
      row.push(Math.min(row[j]! + 1, before[j + 1]! + 1, before[j]! + Number(x !== y)));
    before = row;
  }
  return before[b.length]!;
}

/** Levenshtein's distance of two texts. */
export const editDistance = reasoningTask({
  name: 'edit_distance',
  attributes: { length: [3, 5, 8, 14] },
  make: (random, { length }) => ({ first: letters(random, length, 4), second: letters(random, length, 4) }),
  question: ({ first, second }) =>
    `How many insertions, deletions and replacements of a letter does it take at least to make "${first}" into "${second}"?`,
  answer: ({ first, second }) => String(distance(first, second)),
  score: ({ first, second }, answer) => isNumber(answer, distance(first, second)),
  key: ({ first, second }) => [first, second].sort().join(),
});
