/** `+ - * /` over non-negative integers, with parentheses. Parsed by hand: no text is ever run as code. */

export const OPERATORS = ['+', '-', '*', '/'] as const;
/** An operator of an arithmetic expression. */
export type Operator = (typeof OPERATORS)[number];

/** An arithmetic expression over whole numbers. */
export type Expression =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'operation'; readonly operator: Operator; readonly left: Expression; readonly right: Expression };

/** An expression as it was read from text. */
export type ParsedExpression =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly reason: string };

/** An exact fraction; the denominator is positive and not reduced. */
export interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const MAX_LENGTH = 200;

class SyntaxProblem extends Error {}

/**
 * Parses an expression with the usual precedence, operators of one level from left to right. Spaces are allowed
 * between tokens; signs, decimals, leading zeros, exponents and implied products are not. At most 200 characters.
 */
export function parseExpression(text: string): ParsedExpression {
  if (text.length > MAX_LENGTH) return { ok: false, reason: `the expression is longer than ${MAX_LENGTH} characters` };
  let at = 0;

  const peek = (): string => {
    while (text[at] === ' ') at++;
    return text[at] ?? '';
  };
  const fail = (wanted: string): never => {
    const found = peek() === '' ? 'the end' : JSON.stringify(peek());
    throw new SyntaxProblem(`expected ${wanted} at position ${at + 1}, found ${found}`);
  };

  const primary = (): Expression => {
    if (peek() === '(') {
      at++;
      const inner = level(1);
      if (peek() !== ')') fail('")"');
      at++;
      return inner;
    }
    peek();
    const digits = /^(0|[1-9]\d{0,14})(?!\d)/.exec(text.slice(at))?.[0] ?? fail('a number or "("');
    at += digits.length;
    return { kind: 'number', value: Number(digits) };
  };

  const level = (minimum: 1 | 2): Expression => {
    const operand = (): Expression => (minimum === 1 ? level(2) : primary());
    let left = operand();
    for (let operator = peek(); isOperator(operator) && precedence(operator) === minimum; operator = peek()) {
      at++;
      left = { kind: 'operation', operator, left, right: operand() };
    }
    return left;
  };

  try {
    const expression = level(1);
    if (peek() !== '') fail('an operator or the end');
    return { ok: true, expression };
  } catch (error) {
    if (error instanceof SyntaxProblem) return { ok: false, reason: error.message };
    throw error;
  }
}

/** The exact value; `null` when it divides by zero. */
export function evaluateExpression(expression: Expression): Fraction | null {
  if (expression.kind === 'number') return { numerator: BigInt(expression.value), denominator: 1n };
  const left = evaluateExpression(expression.left);
  const right = evaluateExpression(expression.right);
  if (left === null || right === null) return null;
  const { numerator: a, denominator: b } = left;
  const { numerator: c, denominator: d } = right;
  switch (expression.operator) {
    case '+':
      return { numerator: a * d + c * b, denominator: b * d };
    case '-':
      return { numerator: a * d - c * b, denominator: b * d };
    case '*':
      return { numerator: a * c, denominator: b * d };
    case '/':
      if (c === 0n) return null;
      return c > 0n ? { numerator: a * d, denominator: b * c } : { numerator: -a * d, denominator: -b * c };
  }
}

/** The expression as text without spaces, with parentheses only where the value needs them. */
export function renderExpression(expression: Expression): string {
  if (expression.kind === 'number') return String(expression.value);
  const { operator, left, right } = expression;
  const own = precedence(operator);
  const leftLevel = left.kind === 'number' ? 3 : precedence(left.operator);
  const rightLevel = right.kind === 'number' ? 3 : precedence(right.operator);
  const rightNeeds = rightLevel < own || (rightLevel === own && (operator === '-' || operator === '/'));
  return wrap(renderExpression(left), leftLevel < own) + operator + wrap(renderExpression(right), rightNeeds);
}

/** The numbers of an expression, from left to right. */
export function numbersOf(expression: Expression): number[] {
  if (expression.kind === 'number') return [expression.value];
  return [...numbersOf(expression.left), ...numbersOf(expression.right)];
}

/** The operators of an expression, in the order they are applied. */
export function operatorsOf(expression: Expression): Operator[] {
  if (expression.kind === 'number') return [];
  return [...operatorsOf(expression.left), ...operatorsOf(expression.right), expression.operator];
}

function wrap(text: string, needed: boolean): string {
  return needed ? `(${text})` : text;
}

function precedence(operator: Operator): 1 | 2 {
  return operator === '+' || operator === '-' ? 1 : 2;
}

function isOperator(text: string): text is Operator {
  return (OPERATORS as readonly string[]).includes(text);
}
