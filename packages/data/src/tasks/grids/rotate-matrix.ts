import { gridOf, gridText, shareEqual } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { type Grid, madeGrid } from './cells.js';

const quarter = (grid: Grid): number[][] => grid.map((_, c) => grid.map((_, r) => grid[grid.length - 1 - r]![c]!));

function rotated(grid: Grid, times: number): Grid {
  let result = grid;
  for (let i = 0; i < times % 4; i++) result = quarter(result);
  return result;
}

/** A square matrix turned clockwise by quarters. The share of right cells is the score. */
export const rotateMatrix = reasoningTask({
  name: 'rotate_matrix',
  attributes: { size: [2, 3, 5, 8], turns: [1, 3, 5, 9] },
  make: (random, { size, turns }) => ({
    matrix: madeGrid(size, size, () => random.integer(0, 9)),
    turns: random.integer(1, turns),
  }),
  question: ({ matrix, turns }) => `Turn this matrix clockwise by ${turns * 90} degrees:\n${gridText(matrix)}`,
  answer: ({ matrix, turns }) => gridText(rotated(matrix, turns)),
  score: ({ matrix, turns }, answer) => shareEqual(gridOf(answer)?.flat() ?? null, rotated(matrix, turns).flat()),
});
