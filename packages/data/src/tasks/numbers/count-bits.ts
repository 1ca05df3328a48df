import { isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

const bitsOf = (number: number): number => [...number.toString(2)].filter((bit) => bit === '1').length;

/** How many ones a number has in binary. */
export const countBits = reasoningTask({
  name: 'count_bits',
  attributes: { digits: [1, 3, 6, 9] },
  make: (random, { digits }) => ({ number: random.integer(10 ** (digits - 1), 10 ** digits - 1) }),
  question: ({ number }) => `How many bits that are 1 does ${number} have in binary?`,
  answer: ({ number }) => String(bitsOf(number)),
  score: ({ number }, answer) => isNumber(answer, bitsOf(number)),
});
