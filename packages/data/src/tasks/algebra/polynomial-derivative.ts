import { range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { isPolynomial, polynomialText } from './polynomials.js';

const derivative = (coefficients: readonly number[]): number[] =>
  coefficients.slice(0, -1).map((coefficient, i) => coefficient * (coefficients.length - 1 - i));

/** The derivative of a polynomial; terms may come in any order. */
export const polynomialDerivative = reasoningTask({
  name: 'polynomial_derivative',
  attributes: { degree: [1, 2, 4, 8], maxCoefficient: [5, 9, 30, 99] },
  make: (random, { degree, maxCoefficient }) => ({
    coefficients: [
      random.integer(1, maxCoefficient),
      ...range(degree).map(() => random.integer(-maxCoefficient, maxCoefficient)),
    ],
  }),
  question: ({ coefficients }) =>
    `What is the derivative of ${polynomialText(coefficients)} with respect to x? Write powers as x**2.`,
  answer: ({ coefficients }) => polynomialText(derivative(coefficients)),
  score: ({ coefficients }, answer) => isPolynomial(answer, derivative(coefficients)),
});
