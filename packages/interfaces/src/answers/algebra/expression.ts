import type { Rational } from '../rational.js';

/** A formula as a tree: what is written, before anything is computed. */
export type Expression =
  | { readonly kind: 'number'; readonly value: Rational }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'sum'; readonly terms: readonly Expression[] }
  | { readonly kind: 'product'; readonly factors: readonly Expression[] }
  | { readonly kind: 'power'; readonly base: Expression; readonly exponent: Expression }
  /** `log` has its base as a second argument where it is written. */
  | { readonly kind: 'apply'; readonly name: string; readonly arguments: readonly Expression[] };

export const MINUS_ONE: Expression = { kind: 'number', value: { numerator: -1n, denominator: 1n } };
export const HALF: Expression = { kind: 'number', value: { numerator: 1n, denominator: 2n } };

export const negated = (of: Expression): Expression => ({ kind: 'product', factors: [MINUS_ONE, of] });
export const inverted = (of: Expression): Expression => ({ kind: 'power', base: of, exponent: MINUS_ONE });
