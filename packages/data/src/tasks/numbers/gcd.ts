import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { gcdOf } from './integers.js';

/** The greatest common divisor of some whole numbers. */
export const gcd = reasoningTask({
  name: 'gcd',
  attributes: { numbers: [2, 2, 3, 4], digits: [1, 2, 4, 6] },
  make: (random, { numbers, digits }) => {
    const common = random.integer(1, 10 ** Math.ceil(digits / 2));
    return { numbers: range(numbers).map(() => common * random.integer(1, 10 ** Math.ceil(digits / 2))) };
  },
  question: ({ numbers }) => `What is the greatest common divisor of ${numbers.join(', ')}?`,
  answer: ({ numbers }) => String(numbers.reduce(gcdOf)),
  score: ({ numbers }, answer) => isNumber(answer, numbers.reduce(gcdOf)),
  key: ({ numbers }) => numbers.toSorted((a, b) => a - b).join(),
});
