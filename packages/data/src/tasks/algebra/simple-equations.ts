import { isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

/** One linear equation with a whole solution: a·x + b = c·x + d. */
export const simpleEquations = reasoningTask({
  name: 'simple_equations',
  attributes: { digits: [1, 1, 2, 3], maxCoefficient: [4, 9, 30, 99] },
  make: (random, { digits, maxCoefficient }) => {
    const x = random.integer(1 - 10 ** digits, 10 ** digits - 1);
    const a = random.integer(2, maxCoefficient);
    const c = random.integer(0, a - 1);
    const b = random.integer(-maxCoefficient, maxCoefficient);
    return { a, b, c, d: (a - c) * x + b };
  },
  question: ({ a, b, c, d }) => `Solve for x: ${a}*x + ${b} = ${c}*x + ${d}`,
  answer: ({ a, b, c, d }) => String((d - b) / (a - c) + 0),
  score: ({ a, b, c, d }, answer) => isNumber(answer.replace(/^x\s*=\s*/, ''), (d - b) / (a - c)),
});
