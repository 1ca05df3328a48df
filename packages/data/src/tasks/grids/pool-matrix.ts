import { gridOf, gridText, range, shareEqual } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { type Grid, madeGrid } from './cells.js';

const pooled = (matrix: Grid, size: number): number[][] =>
  range(Math.ceil(matrix.length / size)).map((r) =>
    range(Math.ceil(matrix[0]!.length / size)).map((c) =>
      Math.max(...matrix.slice(r * size, (r + 1) * size).flatMap((row) => row.slice(c * size, (c + 1) * size))),
    ),
  );

/** Max pooling by squares that do not overlap; at the edge they are smaller. The share of right cells is the score. */
export const poolMatrix = reasoningTask({
  name: 'pool_matrix',
  attributes: { rows: [2, 4, 7, 12], pool: [2, 2, 3, 4] },
  make: (random, { rows, pool }) => ({
    matrix: madeGrid(rows, random.integer(rows, rows + 2), () => random.integer(0, 9)),
    pool,
  }),
  question: ({ matrix, pool }) =>
    `Take the maximum of each ${pool} by ${pool} square of this matrix (squares do not overlap, and are smaller at the edge):\n${gridText(matrix)}`,
  answer: ({ matrix, pool }) => gridText(pooled(matrix, pool)),
  score: ({ matrix, pool }, answer) => shareEqual(gridOf(answer)?.flat() ?? null, pooled(matrix, pool).flat()),
});
