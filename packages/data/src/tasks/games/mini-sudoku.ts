import { gridText, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { filledIn, isComplete, isLatin, randomLatin, withHoles } from './latin.js';

/** A 4 by 4 Sudoku; where several boards fit, any is right. */
export const miniSudoku = reasoningTask({
  name: 'mini_sudoku',
  attributes: { empty: [3, 6, 9, 12] },
  make: (random, { empty }) => {
    const solution = randomLatin(random, 2, 2);
    return { puzzle: withHoles(random, solution, empty), solution };
  },
  question: ({ puzzle }) =>
    `Fill in the zeros so that every row, column and 2 by 2 box has the numbers 1 to 4. Answer with the whole grid:\n${gridText(puzzle)}`,
  answer: ({ solution }) => gridText(solution),
  score: ({ puzzle }, answer) => {
    const grid = filledIn(puzzle, answer);
    if (grid === null || !isLatin(grid)) return 0;
    return range(4).every((box) => {
      const [r, c] = [2 * Math.floor(box / 2), 2 * (box % 2)];
      return isComplete([grid[r]![c]!, grid[r]![c + 1]!, grid[r + 1]![c]!, grid[r + 1]![c + 1]!]);
    });
  },
});
