import { gridText, isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { cellsWhere, distances, type Grid, madeGrid } from './cells.js';

const largest = (grid: Grid): number =>
  Math.max(
    0,
    ...cellsWhere(grid, (value) => value === 1).map(
      (cell) =>
        distances(grid, [cell], (value) => value === 1)
          .flat()
          .filter((steps) => steps >= 0).length,
    ),
  );

/** The number of cells of the largest island. */
export const largestIsland = reasoningTask({
  name: 'largest_island',
  attributes: { size: [3, 5, 7, 10] },
  make: (random, { size }) => ({ grid: madeGrid(size, size, () => random.integer(0, 1)) }),
  question: ({ grid }) =>
    `1 is land, 0 water. Land that meets up, down, left or right is one island. How many cells has the largest?\n${gridText(grid)}`,
  answer: ({ grid }) => String(largest(grid)),
  score: ({ grid }, answer) => isNumber(answer, largest(grid)),
});
