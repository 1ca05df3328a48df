import { reasoningTask } from '../reasoning-task.js';
import { cellsWhere, distances, madeGrid } from './cells.js';

const MOVES = { up: [-1, 0], down: [1, 0], left: [0, -1], right: [0, 1] } as const;
const SYMBOLS = ['O', 'X', '*', '#'];
type Move = keyof typeof MOVES;

function shortest(grid: readonly (readonly number[])[]): Move[] | null {
  const goal = cellsWhere(grid, (value) => value === 3)[0]!;
  const left = distances(grid, [goal], (value) => value !== 1);
  let [r, c] = cellsWhere(grid, (value) => value === 2)[0]!;
  if (left[r]![c]! < 0) return null;
  const path: Move[] = [];
  while (left[r]![c]! > 0) {
    const step = (Object.keys(MOVES) as Move[]).find(
      (move) => left[r + MOVES[move][0]]?.[c + MOVES[move][1]] === left[r]![c]! - 1,
    )!;
    path.push(step);
    [r, c] = [r + MOVES[step][0], c + MOVES[step][1]];
  }
  return path;
}

/** A shortest way through a grid, as moves; any shortest one is right. A way that is longer scores 0.5. */
export const shortestPath = reasoningTask({
  name: 'shortest_path',
  attributes: { size: [3, 4, 6, 10] },
  make: (random, { size }) => {
    const grid = madeGrid(size, size, () => Number(random.integer(0, 3) === 0));
    const [start, goal] = random.shuffled(Array.from({ length: size * size }, (_, i) => i));
    grid[Math.floor(start! / size)]![start! % size] = 2;
    grid[Math.floor(goal! / size)]![goal! % size] = 3;
    return { grid };
  },
  question: ({ grid }) =>
    `Find a shortest way from * to # through O (X is a wall), as moves up, down, left and right with spaces; if there is none, answer: infeasible.\n${grid.map((row) => row.map((cell) => SYMBOLS[cell]).join(' ')).join('\n')}`,
  answer: ({ grid }) => shortest(grid)?.join(' ') ?? 'infeasible',
  score: ({ grid }, answer) => {
    const best = shortest(grid);
    const moves = answer.toLowerCase().split(/[\s,]+/);
    if (best === null || !moves.every((move) => Object.hasOwn(MOVES, move))) return 0;
    let [r, c] = cellsWhere(grid, (value) => value === 2)[0]!;
    for (const move of moves as Move[]) {
      [r, c] = [r + MOVES[move][0], c + MOVES[move][1]];
      if ((grid[r]?.[c] ?? 1) === 1) return 0;
    }
    if (grid[r]![c] !== 3) return 0;
    return moves.length === best.length ? 1 : 0.5;
  },
});
