import { gridText, isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { cellsWhere, distances, type Grid, madeGrid } from './cells.js';

function minutes(matrix: Grid): number {
  const rotten = cellsWhere(matrix, (value) => value === 2);
  const reached = distances(matrix, rotten, (value) => value === 1);
  const times = cellsWhere(matrix, (value) => value === 1).map(([r, c]) => reached[r]![c]!);
  return times.includes(-1) ? -1 : Math.max(0, ...times);
}

/** How long until all fresh oranges have rotted, where what is rotten infects its neighbours; −1 where some never do. */
export const rottenOranges = reasoningTask({
  name: 'rotten_oranges',
  attributes: { size: [3, 5, 8, 12] },
  make: (random, { size }) => ({
    matrix: madeGrid(size, size, () => random.pick([0, 1, 1, 1, 1, 1, 1, 1, 2])),
  }),
  question: ({ matrix }) =>
    `0 is empty, 1 a fresh orange, 2 a rotten one. Every minute what is beside a rotten orange (up, down, left, right) rots. After how many minutes is none fresh, or -1 if some never rot?\n${gridText(matrix)}`,
  answer: ({ matrix }) => String(minutes(matrix)),
  score: ({ matrix }, answer) => isNumber(answer, minutes(matrix)),
});
