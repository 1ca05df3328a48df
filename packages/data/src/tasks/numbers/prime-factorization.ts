import { integersOf } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { isPrime, primeFactors } from './integers.js';

/** The prime factors of a number, in any order. Factors that are not all prime, but have the product, score 0.3. */
export const primeFactorization = reasoningTask({
  name: 'prime_factorization',
  attributes: { digits: [2, 3, 5, 7] },
  make: (random, { digits }) => ({ number: random.integer(Math.max(2, 10 ** (digits - 1)), 10 ** digits - 1) }),
  question: ({ number }) => `Write ${number} as a product of primes, with × between them (12 is 2 × 2 × 3).`,
  answer: ({ number }) => primeFactors(number).join(' × '),
  score: ({ number }, answer) => {
    const factors = integersOf(answer.replaceAll(/[×x*]/g, ' ')) ?? [];
    if (factors.some((one) => one < 2) || factors.reduce((product, one) => product * one, 1) !== number) return 0;
    return factors.every(isPrime) ? 1 : 0.3;
  },
});
