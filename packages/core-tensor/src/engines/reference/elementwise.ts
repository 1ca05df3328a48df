import type { OpName } from '../../graph/node.js';

/** Abramowitz and Stegun 7.1.6 near zero, the continued fraction of erfc elsewhere: full double precision. */
export function erf(x: number): number {
  const magnitude = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (magnitude > 6) return Math.sign(x);
  if (magnitude < 2.5) {
    let term = magnitude;
    let sum = magnitude;
    for (let n = 0; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
      term *= (2 * magnitude * magnitude) / (2 * n + 3);
      sum += term;
    }
    return (Math.sign(x) * 2 * sum * Math.exp(-magnitude * magnitude)) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 80; k >= 1; k--) fraction = k / 2 / (magnitude + fraction);
  return Math.sign(x) * (1 - Math.exp(-magnitude * magnitude) / ((magnitude + fraction) * Math.sqrt(Math.PI)));
}

export const unaryFunctions: Partial<Record<OpName, (x: number) => number>> = {
  neg: (x) => -x,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  reciprocal: (x) => 1 / x,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  erf,
  sigmoid: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  not: (x) => (x ? 0 : 1),
  isNaN: (x) => (Number.isNaN(x) ? 1 : 0),
};

/** `exact` says that the operands are 32-bit integers, whose product must wrap and not lose low bits. */
export const binaryFunctions: Partial<Record<OpName, (a: number, b: number, exact: boolean) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b, exact) => (exact ? Math.imul(a, b) : a * b),
  div: (a, b) => a / b,
  // IEEE 754 and C, unlike JavaScript: 1 to any power is 1, and so is -1 to an infinite one.
  pow: (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b),
  maximum: (a, b) => (Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b)),
  minimum: (a, b) => (Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.min(a, b)),
  mod: (a, b) => ((a % b) + b) % b,
  equal: (a, b) => (a === b ? 1 : 0),
  less: (a, b) => (a < b ? 1 : 0),
  lessEqual: (a, b) => (a <= b ? 1 : 0),
  and: (a, b) => (a && b ? 1 : 0),
  or: (a, b) => (a || b ? 1 : 0),
};
