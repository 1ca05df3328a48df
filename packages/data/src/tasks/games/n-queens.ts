import { range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

const attacks = (a: readonly [number, number], b: readonly [number, number]): boolean =>
  a[0] === b[0] || a[1] === b[1] || Math.abs(a[0] - b[0]) === Math.abs(a[1] - b[1]);

/** Queens of a board of n rows, by their columns, from a random order; `null` where none is left. */
function place(columns: readonly number[], order: readonly number[]): number[] | null {
  if (columns.length === order.length) return [...columns];
  for (const column of order) {
    const queen = [columns.length, column] as const;
    if (columns.some((one, row) => attacks([row, one], queen))) continue;
    const found = place([...columns, column], order);
    if (found !== null) return found;
  }
  return null;
}

/** A board with some queens, to be filled with one in every row so that none attacks another; any such board is right. */
export const nQueens = reasoningTask({
  name: 'n_queens',
  attributes: { size: [4, 5, 6, 8], removed: [1, 2, 4, 7] },
  make: (random, { size, removed }) => {
    let columns: number[] | null = null;
    while (columns === null) {
      const first = random.integer(0, size - 1);
      columns = place([first], random.shuffled(range(size)));
    }
    const solution = columns;
    const hidden = new Set(random.shuffled(range(size)).slice(0, removed));
    const board = (shown: (row: number) => boolean): string[] =>
      solution.map((column, row) =>
        range(size)
          .map((c) => (c === column && shown(row) ? 'Q' : '_'))
          .join(' '),
      );
    return { puzzle: board((row) => !hidden.has(row)), solution: board(() => true) };
  },
  question: ({ puzzle }) =>
    `Put queens (Q) on empty squares (_) so that there is one in every row and none attacks another. Keep those that are there, and answer with the whole board:\n${puzzle.join('\n')}`,
  answer: ({ solution }) => solution.join('\n'),
  score: ({ puzzle }, answer) => {
    const board = answer.split('\n').map((line) => line.trim().split(/\s+/));
    if (board.length !== puzzle.length || board.some((row) => row.length !== puzzle.length)) return 0;
    const given = puzzle.map((line) => line.split(' '));
    if (board.some((row, r) => row.some((cell, c) => !/^[Q_]$/.test(cell) || (given[r]![c] === 'Q' && cell !== 'Q'))))
      return 0;
    const queens = board.flatMap((row, r) => row.flatMap((cell, c) => (cell === 'Q' ? [[r, c] as const] : [])));
    return queens.length === board.length && queens.every((a, i) => queens.every((b, j) => i === j || !attacks(a, b)));
  },
});
