import { range } from '../answers.js';

export type Grid = readonly (readonly number[])[];

export const madeGrid = (rows: number, columns: number, draw: () => number): number[][] =>
  range(rows).map(() => range(columns).map(draw));

/** The cells beside a cell, inside the grid. */
export const beside = (grid: Grid, row: number, column: number): [number, number][] =>
  (
    [
      [row - 1, column],
      [row + 1, column],
      [row, column - 1],
      [row, column + 1],
    ] as [number, number][]
  ).filter(([r, c]) => grid[r]?.[c] !== undefined);

/** All cells where something holds. */
export const cellsWhere = (grid: Grid, is: (value: number) => boolean): [number, number][] =>
  grid.flatMap((row, r) => row.flatMap((value, c) => (is(value) ? [[r, c] as [number, number]] : [])));

/** Steps from the nearest of some cells to each, through cells that may be entered; −1 where none leads. */
export function distances(
  grid: Grid,
  from: readonly (readonly [number, number])[],
  enters: (value: number) => boolean,
): number[][] {
  const found = grid.map((row) => row.map(() => -1));
  let frontier = [...from];
  for (const [r, c] of from) found[r]![c] = 0;
  for (let steps = 1; frontier.length > 0; steps++) {
    const next: [number, number][] = [];
    for (const [r, c] of frontier) {
      for (const [y, x] of beside(grid, r, c)) {
        if (found[y]![x]! >= 0 || !enters(grid[y]![x]!)) continue;
        found[y]![x] = steps;
        next.push([y, x]);
      }
    }
    frontier = next;
  }
  return found;
}
