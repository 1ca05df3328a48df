import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

/** The next number of a sequence whose n-th differences are constant, so that only one polynomial of the least degree goes through it. */
export const numberSequence = reasoningTask({
  name: 'number_sequence',
  attributes: { degree: [1, 1, 2, 3], maxValue: [5, 20, 20, 50] },
  make: (random, { degree, maxValue }) => {
    const edge = range(degree + 1).map(() => random.integer(-maxValue, maxValue));
    edge[degree] = edge[degree] === 0 ? 1 : edge[degree]!;
    const terms: number[] = [];
    for (let i = 0; i < degree + 4; i++) {
      terms.push(edge[0]!);
      for (let d = 0; d < degree; d++) edge[d]! += edge[d + 1]!;
    }
    return { degree, terms: terms.slice(0, -1), solution: terms.at(-1)! };
  },
  question: ({ degree, terms }) =>
    `The sequence ${terms.join(', ')} is a polynomial of degree ${degree} of its place. What is the next number?`,
  answer: ({ solution }) => String(solution),
  score: ({ solution }, answer) => isNumber(answer, solution),
});
