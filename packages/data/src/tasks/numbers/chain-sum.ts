import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

/** Sums and differences of whole numbers, from left to right. */
export const chainSum = reasoningTask({
  name: 'chain_sum',
  attributes: { terms: [2, 4, 8, 16], digits: [1, 2, 4, 6] },
  make: (random, { terms, digits }) => ({
    terms: range(terms).map((i) => {
      const value = random.integer(10 ** (digits - 1), 10 ** digits - 1);
      return i > 0 && random.integer(0, 1) === 1 ? -value : value;
    }),
  }),
  question: ({ terms }) =>
    `What is ${terms.map((term, i) => (i === 0 ? term : term < 0 ? `- ${-term}` : `+ ${term}`)).join(' ')}?`,
  answer: ({ terms }) => String(terms.reduce((sum, term) => sum + term, 0)),
  score: ({ terms }, answer) =>
    isNumber(
      answer,
      terms.reduce((sum, term) => sum + term, 0),
    ),
  key: ({ terms }) => terms.toSorted((a, b) => a - b).join(),
});
