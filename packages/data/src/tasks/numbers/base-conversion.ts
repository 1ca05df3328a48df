import { reasoningTask } from '../reasoning-task.js';

/** A number from one base to another. Digits above 9 are letters, in either case. */
export const baseConversion = reasoningTask({
  name: 'base_conversion',
  attributes: { digits: [1, 3, 5, 7], base: [4, 9, 16, 36] },
  make: (random, { digits, base }) => {
    const from = random.integer(2, base);
    const to = random.integer(2, base - 1);
    return { value: random.integer(10 ** (digits - 1), 10 ** digits - 1), from, to: to < from ? to : to + 1 };
  },
  question: ({ value, from, to }) =>
    `Write the number ${value.toString(from)} of base ${from} in base ${to}, with letters from a for digits above 9.`,
  answer: ({ value, to }) => value.toString(to),
  score: ({ value, to }, answer) => answer.toLowerCase().replace(/^0[xbo]/, '') === value.toString(to),
});
