import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { isPrime } from './integers.js';

const count = (start: number, end: number): number => range(end - start + 1).filter((i) => isPrime(start + i)).length;

/** How many primes there are between two numbers. */
export const countPrimes = reasoningTask({
  name: 'count_primes',
  attributes: { digits: [1, 2, 3, 4], width: [8, 20, 60, 200] },
  make: (random, { digits, width }) => {
    const start = random.integer(10 ** (digits - 1), 10 ** digits - 1);
    return { start, end: start + random.integer(Math.ceil(width / 2), width) };
  },
  question: ({ start, end }) => `How many primes are there from ${start} to ${end}, both included?`,
  answer: ({ start, end }) => String(count(start, end)),
  score: ({ start, end }, answer) => isNumber(answer, count(start, end)),
});
