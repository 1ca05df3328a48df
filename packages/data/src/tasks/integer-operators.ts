/** The operators that keep whole numbers whole. */
export const INTEGER_OPERATORS = ['+', '-', '*'] as const;
export type IntegerOperator = (typeof INTEGER_OPERATORS)[number];

export function operate(left: number, operator: IntegerOperator, right: number): number {
  if (operator === '*') return left * right;
  return operator === '+' ? left + right : left - right;
}
