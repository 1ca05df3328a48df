import { gridText } from '../answers.js';
import { madeGrid } from '../grids/cells.js';
import { reasoningTask } from '../reasoning-task.js';
import { filledIn, withHoles } from './latin.js';

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

/** A grid with the sums of its rows and columns, and the numbers that are missing in it; any grid that fits is right. */
export const survo = reasoningTask({
  name: 'survo',
  attributes: { size: [2, 3, 4, 5], empty: [2, 4, 7, 12] },
  make: (random, { size, empty }) => {
    const inner = madeGrid(size, size, () => random.integer(1, 9));
    const rows = inner.map((row) => [...row, sum(row)]);
    const solution = [...rows, rows[0]!.map((_, c) => sum(rows.map((row) => row[c]!)))];
    const holes = withHoles(random, inner, empty);
    const puzzle = solution.map((row, r) => row.map((one, c) => (holes[r]?.[c] === 0 ? 0 : one)));
    const missing = inner.flatMap((row, r) => row.filter((_, c) => holes[r]![c] === 0));
    return { puzzle, candidates: random.shuffled(missing), solution };
  },
  question: ({ puzzle, candidates }) =>
    `The last number of every row and column is the sum of the others. Put the numbers ${candidates.join(', ')}, each once, in the place of the zeros, and answer with the whole grid:\n${gridText(puzzle)}`,
  answer: ({ solution }) => gridText(solution),
  score: ({ puzzle, candidates }, answer) => {
    const grid = filledIn(puzzle, answer);
    if (grid === null) return 0;
    const used = puzzle.flatMap((row, r) => row.flatMap((one, c) => (one === 0 ? [grid[r]![c]!] : [])));
    const isSum = (line: readonly number[]) => sum(line.slice(0, -1)) === line.at(-1);
    const columns = grid[0]!.map((_, c) => grid.map((row) => row[c]!));
    return used.toSorted().join() === candidates.toSorted().join() && grid.every(isSum) && columns.every(isSum);
  },
});
