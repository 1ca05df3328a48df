import { isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { assignments, evaluate, formulaText, randomFormula } from './formulas.js';

/** For how many assignments a formula is true. */
export const countModels = reasoningTask({
  name: 'count_models',
  attributes: { depth: [2, 3, 3, 4], variables: [2, 3, 4, 5] },
  make: (random, { depth, variables }) => ({ variables, formula: randomFormula(random, variables, depth) }),
  question: ({ variables, formula }) =>
    `For how many of the ${2 ** variables} assignments of true and false to its ${variables} variables, from A on, is ${formulaText(formula)} true?`,
  answer: ({ variables, formula }) => String(assignments(variables).filter((one) => evaluate(formula, one)).length),
  score: ({ variables, formula }, answer) =>
    isNumber(answer, assignments(variables).filter((one) => evaluate(formula, one)).length),
});
