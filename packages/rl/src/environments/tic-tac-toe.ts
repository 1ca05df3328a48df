import type { TwoPlayerGame } from './two-player-game.js';

const LINES = [
  [0, 1, 2],
  [3, 4, 5],
  [6, 7, 8],
  [0, 3, 6],
  [1, 4, 7],
  [2, 5, 8],
  [0, 4, 8],
  [2, 4, 6],
] as const;

const hasLine = (board: string, mark: string): boolean =>
  LINES.some((line) => line.every((cell) => board[cell] === mark));
const marksOf = (board: string): number => [...board].filter((cell) => cell !== '.').length;

/** Noughts and crosses on three by three: a move is the number of a cell, from 1. With best play nobody wins. A position is its nine cells, as `x.o......`. */
export function ticTacToe(): TwoPlayerGame<string> {
  const lastMark = (board: string) => (marksOf(board) % 2 === 1 ? 'x' : 'o');
  return {
    name: 'tic-tac-toe',
    settings: {},
    start: '.........',
    moves: (board) =>
      hasLine(board, lastMark(board)) ? [] : [...board].flatMap((cell, i) => (cell === '.' ? [String(i + 1)] : [])),
    play(board, move) {
      const cell = Number(move) - 1;
      const mark = marksOf(board) % 2 === 0 ? 'x' : 'o';
      return `${board.slice(0, cell)}${mark}${board.slice(cell + 1)}`;
    },
    ended: (board) => (hasLine(board, lastMark(board)) ? -1 : 0),
    show: (board) =>
      `Three in a row win. You are ${marksOf(board) % 2 === 0 ? 'x' : 'o'}.\n${[0, 3, 6].map((i) => board.slice(i, i + 3)).join('\n')}\nSay the number of a free cell, from 1 to 9.`,
  };
}
