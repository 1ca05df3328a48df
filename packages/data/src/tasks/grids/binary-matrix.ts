import { gridOf, gridText, shareEqual } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { cellsWhere, distances, type Grid, madeGrid } from './cells.js';

const toZero = (matrix: Grid): number[][] =>
  distances(
    matrix,
    cellsWhere(matrix, (value) => value === 0),
    () => true,
  );

/** For every cell the way to the nearest 0. The share of right cells is the score. */
export const binaryMatrix = reasoningTask({
  name: 'binary_matrix',
  attributes: { size: [3, 4, 6, 10] },
  make: (random, { size }) => {
    const matrix = madeGrid(size, size, () => Number(random.integer(0, 3) > 0));
    matrix[random.integer(0, size - 1)]![random.integer(0, size - 1)] = 0;
    return { matrix };
  },
  question: ({ matrix }) =>
    `For every cell, how many steps up, down, left or right is the nearest 0? Answer with a matrix of the same form:\n${gridText(matrix)}`,
  answer: ({ matrix }) => gridText(toZero(matrix)),
  score: ({ matrix }, answer) => shareEqual(gridOf(answer)?.flat() ?? null, toZero(matrix).flat()),
});
