import { gridText, integersOf, shareEqual } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { type Grid, madeGrid } from './cells.js';

function spiral(grid: Grid): number[] {
  const [first, ...rest] = grid;
  if (first === undefined || first.length === 0) return [];
  const width = first.length;
  // What is left, turned a quarter to the left: its right column is on top.
  const turned = Array.from({ length: rest.length === 0 ? 0 : width }, (_, i) =>
    rest.map((row) => row[width - 1 - i]!),
  );
  return [...first, ...spiral(turned)];
}

/** The numbers of a matrix along a spiral to its middle. The share of right places is the score. */
export const spiralMatrix = reasoningTask({
  name: 'spiral_matrix',
  attributes: { size: [2, 3, 5, 8] },
  make: (random, { size }) => ({ matrix: madeGrid(size, size, () => random.integer(0, 9)) }),
  question: ({ matrix }) =>
    `List the numbers of this matrix in a clockwise spiral from the top left to the middle, with spaces:\n${gridText(matrix)}`,
  answer: ({ matrix }) => spiral(matrix).join(' '),
  score: ({ matrix }, answer) => shareEqual(integersOf(answer), spiral(matrix)),
});
