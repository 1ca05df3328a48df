import { range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { evaluate, type Formula, formulaText, randomFormula, variableName } from './formulas.js';

/** The value of a formula for given values of its variables. */
export const circuitLogic = reasoningTask({
  name: 'circuit_logic',
  attributes: { depth: [2, 3, 4, 6], variables: [2, 3, 4, 6] },
  make: (random, { depth, variables }) => ({
    formula: randomFormula(random, variables, depth),
    values: range(variables).map(() => random.integer(0, 1) === 1),
  }),
  question: ({ formula, values }) =>
    `${values.map((value, i) => `${variableName(i)} = ${Number(value)}`).join(', ')}. What is ${formulaText(formula as Formula)}, 0 or 1?`,
  answer: ({ formula, values }) => String(Number(evaluate(formula, values))),
});
