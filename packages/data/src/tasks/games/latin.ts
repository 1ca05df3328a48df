import type { Random } from '@posttrain/interfaces/random';
import { gridOf, range } from '../answers.js';

/** A Latin square whose rows are drawn in blocks, so that its boxes of `height` rows and `width` columns have all numbers too. */
export function randomLatin(random: Random, height: number, width: number): number[][] {
  const size = height * width;
  const names = random.shuffled(range(size).map((i) => i + 1));
  const mixed = (blocks: number, each: number): number[] =>
    random.shuffled(range(blocks)).flatMap((block) => random.shuffled(range(each)).map((i) => block * each + i));
  const rows = mixed(width, height);
  const columns = mixed(height, width);
  return rows.map((row) =>
    columns.map((column) => names[((row % height) * width + Math.floor(row / height) + column) % size]!),
  );
}

/** The cells left over when so many are removed: 0 in their place. */
export function withHoles(random: Random, grid: readonly (readonly number[])[], holes: number): number[][] {
  const cells = random.shuffled(range(grid.length * grid[0]!.length)).slice(0, holes);
  return grid.map((row, r) => row.map((value, c) => (cells.includes(r * row.length + c) ? 0 : value)));
}

/** The grid of an answer, where it keeps what the puzzle gives; else `null`. */
export function filledIn(puzzle: readonly (readonly number[])[], answer: string): number[][] | null {
  const grid = gridOf(answer);
  const keeps =
    grid?.length === puzzle.length &&
    puzzle.every((row, r) => grid[r]!.length === row.length && row.every((one, c) => one === 0 || grid[r]![c] === one));
  return keeps ? grid : null;
}

/** Whether some numbers are 1 to n, each once. */
export const isComplete = (numbers: readonly number[]): boolean =>
  numbers.toSorted((a, b) => a - b).every((one, i) => one === i + 1);

/** Whether all rows and columns are complete. */
export const isLatin = (grid: readonly (readonly number[])[]): boolean =>
  grid.every(isComplete) && grid.every((_, c) => isComplete(grid.map((row) => row[c]!)));
