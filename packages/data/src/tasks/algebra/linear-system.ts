import { integersOf, range, shareEqual } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

/** A system of linear equations with one, whole, solution. */
export const linearSystem = reasoningTask({
  name: 'linear_system',
  attributes: { unknowns: [2, 2, 3, 4], maxCoefficient: [3, 9, 9, 12] },
  make: (random, { unknowns, maxCoefficient }) => {
    const solution = range(unknowns).map(() => random.integer(-maxCoefficient, maxCoefficient));
    // A diagonal that outweighs its row is invertible.
    const rows = range(unknowns).map((i) => {
      const row = range(unknowns).map(() => random.integer(-maxCoefficient, maxCoefficient));
      row[i] = row.reduce((sum, one, j) => (j === i ? sum : sum + Math.abs(one)), random.integer(1, maxCoefficient));
      return row;
    });
    const right = rows.map((row) => row.reduce((sum, one, j) => sum + one * solution[j]!, 0));
    return { rows, right, solution };
  },
  question: ({ rows, right }) =>
    `Solve the system\n${rows.map((row, i) => `${row.map((one, j) => `${one}*x${j + 1}`).join(' + ')} = ${right[i]}`).join('\n')}\nand list x1, x2, … with commas.`,
  answer: ({ solution }) => solution.join(', '),
  score: ({ solution }, answer) => shareEqual(integersOf(answer), solution),
});
