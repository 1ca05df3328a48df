import { gridOf, gridText } from '../answers.js';
import { madeGrid } from '../grids/cells.js';
import { reasoningTask } from '../reasoning-task.js';

const sums = (grid: readonly (readonly number[])[]): number[] =>
  grid.map((row) => row.reduce((total, one, c) => total + one * (c + 1), 0));
const turned = (grid: readonly (readonly number[])[]): number[][] => grid[0]!.map((_, c) => grid.map((row) => row[c]!));

/** A grid of 0 and 1 where a 1 counts its place in its row, and in its column, from given sums; any grid that has them is right. */
export const kakurasu = reasoningTask({
  name: 'kakurasu',
  attributes: { size: [2, 3, 4, 6] },
  make: (random, { size }) => {
    const solution = madeGrid(size, size, () => random.integer(0, 1));
    return { rows: sums(solution), columns: sums(turned(solution)), solution };
  },
  question: ({ rows, columns }) =>
    `Fill a ${rows.length} by ${columns.length} grid with 0 and 1. A 1 in column c counts c in the sum of its row, a 1 in row r counts r in the sum of its column. The rows' sums are ${rows.join(', ')}, the columns' are ${columns.join(', ')}.`,
  answer: ({ solution }) => gridText(solution),
  score: ({ rows, columns }, answer) => {
    const grid = gridOf(answer);
    const fits =
      grid?.length === rows.length &&
      grid.every((row) => row.length === columns.length && row.every((one) => one === 0 || one === 1));
    return fits && sums(grid).join() === rows.join() && sums(turned(grid)).join() === columns.join();
  },
});
