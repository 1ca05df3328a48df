import type { IntegerOperator } from './integer-operators.js';

/**
 * The digit columns of one operation, lowest first, as written by hand: `57+68` -> `7+8=15,5+6+1=12`,
 * `103-8` -> `13-8=5,10-1=9,1-1=0` (a 10 is borrowed where a column would be negative, and a 1 paid in the next),
 * `57*8` -> `7*8=56,5*8+5=45`. The left operand may be negative, the right may not; a difference that is negative is
 * worked out the other way round. A product needs a right operand of one digit and a left one that is not negative.
 */
export function columnWork(left: number, operator: IntegerOperator, right: number): string {
  if (operator === '*') return multiplyColumns(digitsOf(left), right);
  const size = Math.abs(left);
  const adds = left < 0 === (operator === '-');
  if (adds) return addColumns(digitsOf(size), digitsOf(right));
  return subtractColumns(digitsOf(Math.max(size, right)), digitsOf(Math.min(size, right)));
}

function addColumns(a: readonly number[], b: readonly number[]): string {
  let carry = 0;
  return columns(Math.max(a.length, b.length), (i) => {
    const parts = [a[i], b[i], carry === 0 ? undefined : carry].filter((digit) => digit !== undefined);
    const sum = parts.reduce((total, digit) => total + digit, 0);
    carry = sum >= 10 ? 1 : 0;
    return `${parts.join('+')}=${sum}`;
  });
}

function subtractColumns(a: readonly number[], b: readonly number[]): string {
  let borrow = 0;
  return columns(a.length, (i) => {
    const paid = [b[i], borrow === 0 ? undefined : borrow].filter((digit) => digit !== undefined);
    const taken = paid.reduce((total, digit) => total + digit, 0);
    borrow = a[i]! < taken ? 1 : 0;
    const top = a[i]! + 10 * borrow;
    return `${[top, ...paid].join('-')}=${top - taken}`;
  });
}

function multiplyColumns(a: readonly number[], digit: number): string {
  let carry = 0;
  return columns(a.length, (i) => {
    const added = carry === 0 ? '' : `+${carry}`;
    const product = a[i]! * digit + carry;
    carry = Math.floor(product / 10);
    return `${a[i]}*${digit}${added}=${product}`;
  });
}

function columns(count: number, column: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => column(i)).join(',');
}

function digitsOf(value: number): number[] {
  return [...String(value)].map(Number).reverse();
}
