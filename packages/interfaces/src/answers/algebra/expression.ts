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

/** What the index of a sum or product over a range is called, whatever it is written as; a number behind it for sums in sums. */
export const INDEX = '#';

/** The formula with another name for one, also in the subscripts of others: `a_{k+1}` goes with `k`. */
export function renamed(of: Expression, from: string, to: string): Expression {
  return mapNames(of, (name) => {
    if (name === from) return { kind: 'name', name: to };
    const [letter, subscript] = name.split(/_(.*)/s) as [string, string?];
    return { kind: 'name', name: subscript === undefined ? name : `${letter}_${subscript.replaceAll(from, to)}` };
  });
}

/** The formula with something in the place of each name. */
export function mapNames(of: Expression, by: (name: string) => Expression): Expression {
  const each = (parts: readonly Expression[]) => parts.map((part) => mapNames(part, by));
  if (of.kind === 'number') return of;
  if (of.kind === 'name') return by(of.name);
  if (of.kind === 'sum') return { kind: 'sum', terms: each(of.terms) };
  if (of.kind === 'product') return { kind: 'product', factors: each(of.factors) };
  if (of.kind === 'power') return { kind: 'power', base: mapNames(of.base, by), exponent: mapNames(of.exponent, by) };
  return { kind: 'apply', name: of.name, arguments: each(of.arguments) };
}

/** The names in a formula, each once. */
export function namesOf(of: Expression): string[] {
  const names = new Set<string>();
  mapNames(of, (name) => {
    names.add(name);
    return { kind: 'name', name };
  });
  return [...names];
}
