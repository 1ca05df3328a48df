import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { gcdOf } from './integers.js';

const lcmOf = (a: number, b: number): number => (a / gcdOf(a, b)) * b;

/** The least common multiple of some whole numbers. */
export const lcm = reasoningTask({
  name: 'lcm',
  attributes: { numbers: [2, 2, 3, 4], digits: [1, 2, 2, 3] },
  make: (random, { numbers, digits }) => ({ numbers: range(numbers).map(() => random.integer(2, 10 ** digits - 1)) }),
  question: ({ numbers }) => `What is the least common multiple of ${numbers.join(', ')}?`,
  answer: ({ numbers }) => String(numbers.reduce(lcmOf)),
  score: ({ numbers }, answer) => isNumber(answer, numbers.reduce(lcmOf)),
  key: ({ numbers }) => numbers.toSorted((a, b) => a - b).join(),
});
