import { reasoningTask } from '../reasoning-task.js';
import { gcdOf } from './integers.js';

/** A fraction in lowest terms. A fraction of the same value that is not in lowest terms scores 0. */
export const fractionSimplification = reasoningTask({
  name: 'fraction_simplification',
  attributes: { digits: [1, 2, 3, 4] },
  make: (random, { digits }) => {
    const factor = random.integer(2, 10 ** digits - 1);
    const draw = () => random.integer(1, 10 ** digits - 1);
    return { numerator: draw() * factor, denominator: draw() * factor };
  },
  question: ({ numerator, denominator }) => `Write ${numerator}/${denominator} in lowest terms, as a/b.`,
  answer: ({ numerator, denominator }) => {
    const common = gcdOf(numerator, denominator);
    return `${numerator / common}/${denominator / common}`;
  },
  score: ({ numerator, denominator }, answer) => {
    const [, a, b] = /^(\d{1,15})\s*\/\s*(\d{1,15})$/.exec(answer) ?? [];
    const common = gcdOf(numerator, denominator);
    return Number(a) === numerator / common && Number(b) === denominator / common;
  },
});
