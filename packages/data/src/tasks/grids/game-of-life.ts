import { gridOf, gridText, range, shareEqual } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { type Grid, madeGrid } from './cells.js';

function next(grid: Grid): number[][] {
  const size = grid.length;
  const at = (r: number, c: number) => grid[(r + size) % size]![(c + size) % size]!;
  return grid.map((row, r) =>
    row.map((cell, c) => {
      const near = [-1, 0, 1].flatMap((dr) => [-1, 0, 1].map((dc) => at(r + dr, c + dc)));
      const alive = near.reduce((sum, one) => sum + one, 0) - cell;
      return Number(alive === 3 || (alive === 2 && cell === 1));
    }),
  );
}

const after = (board: Grid, steps: number): Grid => range(steps).reduce<Grid>(next, board);

/** Conway's Game of Life on a square whose edges meet. The share of right cells is the score. */
export const gameOfLife = reasoningTask({
  name: 'game_of_life',
  attributes: { size: [4, 5, 7, 10], steps: [1, 1, 2, 4] },
  make: (random, { size, steps }) => ({
    board: madeGrid(size, size, () => Number(random.integer(0, 2) === 0)),
    steps,
  }),
  question: ({ board, steps }) =>
    `What is this board of Conway's Game of Life after ${steps} steps? Its edges meet (left with right, top with bottom).\n${gridText(board)}`,
  answer: ({ board, steps }) => gridText(after(board, steps)),
  score: ({ board, steps }, answer) => shareEqual(gridOf(answer)?.flat() ?? null, after(board, steps).flat()),
});
