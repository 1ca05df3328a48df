import { gridText, isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { type Grid, madeGrid } from './cells.js';

function least(grid: Grid): number {
  const sums: number[][] = [];
  for (const [r, row] of grid.entries()) {
    sums.push([]);
    for (const [c, value] of row.entries()) {
      const before = Math.min(
        sums[r - 1]?.[c] ?? Number.POSITIVE_INFINITY,
        sums[r]![c - 1] ?? Number.POSITIVE_INFINITY,
      );
      sums[r]!.push(value + (r + c === 0 ? 0 : before));
    }
  }
  return sums.at(-1)!.at(-1)!;
}

/** The least sum along a way from the top left to the bottom right that goes right and down only. */
export const minPathSum = reasoningTask({
  name: 'min_path_sum',
  attributes: { size: [2, 3, 5, 8] },
  make: (random, { size }) => ({ grid: madeGrid(size, size, () => random.integer(0, 9)) }),
  question: ({ grid }) =>
    `Go from the top left to the bottom right of this grid, moving right or down only. What is the least sum of the numbers on the way, both ends included?\n${gridText(grid)}`,
  answer: ({ grid }) => String(least(grid)),
  score: ({ grid }, answer) => isNumber(answer, least(grid)),
});
