import type { Random } from '@posttrain/interfaces/random';

/** A formula over variables that are numbered from 0. */
export type Formula =
  | number
  | readonly ['not', Formula]
  | readonly ['and' | 'or' | 'xor' | 'implies', Formula, Formula];

const BINARY = ['and', 'or', 'xor', 'implies'] as const;

export function randomFormula(random: Random, variables: number, depth: number): Formula {
  if (depth === 0) return random.integer(0, variables - 1);
  const operator = random.pick(['not', ...BINARY] as const);
  if (operator === 'not') return ['not', randomFormula(random, variables, depth - 1)];
  return [operator, randomFormula(random, variables, depth - 1), randomFormula(random, variables, depth - 1)];
}

export function evaluate(formula: Formula, values: readonly boolean[]): boolean {
  if (typeof formula === 'number') return values[formula]!;
  if (formula[0] === 'not') return !evaluate(formula[1], values);
  const [operator, left, right] = formula;
  const [a, b] = [evaluate(left, values), evaluate(right, values)];
  if (operator === 'and') return a && b;
  if (operator === 'or') return a || b;
  return operator === 'xor' ? a !== b : !a || b;
}

export const variableName = (variable: number): string => String.fromCharCode(65 + variable);

export function formulaText(formula: Formula): string {
  if (typeof formula === 'number') return variableName(formula);
  if (formula[0] === 'not') return `not ${formulaText(formula[1])}`;
  return `(${formulaText(formula[1])} ${formula[0]} ${formulaText(formula[2])})`;
}

/** All values of so many variables. */
export const assignments = (variables: number): boolean[][] =>
  Array.from({ length: 2 ** variables }, (_, bits) =>
    Array.from({ length: variables }, (_, i) => Math.floor(bits / 2 ** i) % 2 === 1),
  );
