import { range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { isPolynomial, polynomialText } from './polynomials.js';

function product(a: readonly number[], b: readonly number[]): number[] {
  const result = range(a.length + b.length - 1).map(() => 0);
  for (const [i, x] of a.entries()) for (const [j, y] of b.entries()) result[i + j]! += x * y;
  return result;
}

/** The product of two polynomials, multiplied out; terms may come in any order. */
export const polynomialMultiplication = reasoningTask({
  name: 'polynomial_multiplication',
  attributes: { degree: [1, 2, 3, 5], maxCoefficient: [3, 9, 20, 99] },
  make: (random, { degree, maxCoefficient }) => {
    const draw = () => [
      random.integer(1, maxCoefficient),
      ...range(degree).map(() => random.integer(-maxCoefficient, maxCoefficient)),
    ];
    return { left: draw(), right: draw() };
  },
  question: ({ left, right }) =>
    `Multiply out: (${polynomialText(left)})*(${polynomialText(right)}). Write powers as x**2.`,
  answer: ({ left, right }) => polynomialText(product(left, right)),
  score: ({ left, right }, answer) => isPolynomial(answer, product(left, right)),
});
