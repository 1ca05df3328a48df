import type { Expression } from './expression.js';
import type { NormalForm } from './normal-form.js';

/** A formula, read: `literal` where it is written as one number. */
export interface Value {
  readonly kind: 'value';
  readonly expression: Expression;
  readonly form: NormalForm;
  readonly literal: boolean;
}

/** An end of an interval: `null` is infinite. */
export interface Bound {
  readonly value: Value | null;
  readonly closed: boolean;
}

/** What an answer is, beside a text. */
export type Answer =
  | Value
  /** In any order, each once: `{1, 2}`, `1, 2`, `1 or 2`, `±1`. */
  | {
      readonly kind: 'set';
      readonly items: readonly Answer[];
      /** `a = 1, b = 2`: what the names are given, in the order in which it is written. */
      readonly given?: readonly Answer[];
    }
  /** In order, in its brackets: a point, a vector, or an interval of two. */
  | { readonly kind: 'tuple'; readonly open: string; readonly close: string; readonly items: readonly Answer[] }
  /** A union of intervals (and of single points) of the real line. */
  | { readonly kind: 'intervals'; readonly parts: readonly { readonly low: Bound; readonly high: Bound }[] }
  /** Sides of an equation, or of inequalities: `operators[i]` stands between sides i and i + 1. */
  | { readonly kind: 'relation'; readonly sides: readonly Value[]; readonly operators: readonly string[] }
  | { readonly kind: 'matrix'; readonly rows: readonly (readonly Answer[])[] }
  /** What is no mathematics, or none that is read. */
  | { readonly kind: 'text'; readonly text: string };
