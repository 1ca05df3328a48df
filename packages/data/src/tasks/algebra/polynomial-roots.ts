import { integersOf, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { polynomialText } from './polynomials.js';

/** The whole roots of a polynomial that has no others, each once. The share of them that is found, less what is wrong, is the score. */
export const polynomialRoots = reasoningTask({
  name: 'polynomial_roots',
  attributes: { degree: [1, 2, 3, 4], maxRoot: [5, 9, 12, 20] },
  make: (random, { degree, maxRoot }) => {
    const all = range(2 * maxRoot + 1).map((i) => i - maxRoot);
    const roots = random.shuffled(all).slice(0, degree);
    let coefficients = [1];
    for (const root of roots) {
      coefficients = [...coefficients, 0].map((one, i) => one - root * (coefficients[i - 1] ?? 0));
    }
    return { coefficients: coefficients.map((one) => one + 0), solution: roots.toSorted((a, b) => a - b) };
  },
  question: ({ coefficients }) =>
    `Solve ${polynomialText(coefficients)} = 0 for x. All solutions are whole; list them with commas.`,
  answer: ({ solution }) => solution.join(', '),
  score: ({ coefficients, solution }, answer) => {
    const found = integersOf(answer) ?? [];
    const isRoot = (x: number) => coefficients.reduce((sum, one) => sum * x + one, 0) === 0;
    const right = new Set(found.filter(isRoot)).size;
    return Math.max(0, right - (found.length - right)) / solution.length;
  },
});
