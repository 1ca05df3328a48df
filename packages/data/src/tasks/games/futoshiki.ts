import { gridText, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { filledIn, isLatin, randomLatin, withHoles } from './latin.js';

/** A Latin square with signs between neighbours; where several squares fit, any is right. */
export const futoshiki = reasoningTask({
  name: 'futoshiki',
  attributes: { size: [3, 4, 5, 6], empty: [3, 7, 14, 24] },
  make: (random, { size, empty }) => {
    const solution = randomLatin(random, 1, size);
    const pairs = range(size).flatMap((r) => range(size - 1).map((c) => [r, c]));
    const less = random
      .shuffled(pairs)
      .slice(0, size)
      .map(([r, c]) => {
        const [left, right] = [
          [r!, c!],
          [r!, c! + 1],
        ];
        return solution[r!]![c!]! < solution[r!]![c! + 1]! ? [left, right] : [right, left];
      });
    return { puzzle: withHoles(random, solution, empty), less, solution };
  },
  question: ({ puzzle, less }) =>
    `Fill in the zeros so that every row and column has the numbers 1 to ${puzzle.length}, and ${less.map(([a, b]) => `row ${a![0]! + 1} column ${a![1]! + 1} is less than row ${b![0]! + 1} column ${b![1]! + 1}`).join(', ')}. Answer with the whole grid:\n${gridText(puzzle)}`,
  answer: ({ solution }) => gridText(solution),
  score: ({ puzzle, less }, answer) => {
    const grid = filledIn(puzzle, answer);
    const at = (cell: readonly number[]) => grid![cell[0]!]![cell[1]!]!;
    return grid !== null && isLatin(grid) && less.every(([a, b]) => at(a!) < at(b!));
  },
});
