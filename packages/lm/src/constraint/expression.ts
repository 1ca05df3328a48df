import { PosttrainError } from '@posttrain/interfaces';

/** Code points as inclusive ranges, rising and apart from each other. */
export type CodePoints = readonly (readonly [low: number, high: number])[];

/** What texts look like: a regular expression whose parts may be rules of a grammar. */
export type Expression =
  | { readonly type: 'characters'; readonly ranges: CodePoints }
  | { readonly type: 'sequence'; readonly items: readonly Expression[] }
  | { readonly type: 'choice'; readonly options: readonly Expression[] }
  | { readonly type: 'repeat'; readonly item: Expression; readonly min: number; readonly max: number }
  /** One of these texts: what a choice of literals is, for thousands of them or megabytes. */
  | { readonly type: 'words'; readonly texts: readonly string[] }
  | { readonly type: 'rule'; readonly name: string };

/** A context-free grammar. */
export interface Grammar {
  readonly rules: ReadonlyMap<string, Expression>;
  readonly root: string;
}

/** A constraint that cannot be read, or that no text satisfies. */
export class InvalidConstraintError extends PosttrainError {
  constructor(message: string) {
    super('INVALID_CONSTRAINT', `constraint: ${message}`);
  }
}

export const LARGEST_CODE_POINT = 0x10ffff;
export const EMPTY: Expression = { type: 'sequence', items: [] };
export const NOTHING: Expression = { type: 'choice', options: [] };

export const characters = (ranges: CodePoints): Expression => ({ type: 'characters', ranges: unionOf(ranges) });
export const sequence = (...items: readonly Expression[]): Expression => ({ type: 'sequence', items });
export const choice = (...options: readonly Expression[]): Expression => ({ type: 'choice', options });
export const words = (texts: readonly string[]): Expression => ({ type: 'words', texts });
export const optional = (item: Expression): Expression => choice(EMPTY, item);
export const rule = (name: string): Expression => ({ type: 'rule', name });

/** `item` between `min` and `max` times; Infinity for any number. */
export const repeat = (item: Expression, min: number, max: number): Expression => ({ type: 'repeat', item, min, max });

export const literal = (text: string): Expression =>
  sequence(...Array.from(text, (character) => characters([[character.codePointAt(0)!, character.codePointAt(0)!]])));

/** The same set, sorted and merged. */
export function unionOf(ranges: CodePoints): CodePoints {
  if (ranges.length < 2) return ranges;
  const merged: [number, number][] = [];
  for (const [low, high] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else merged.push([low, high]);
  }
  return merged;
}

export function complementOf(ranges: CodePoints): CodePoints {
  const rest: [number, number][] = [];
  let next = 0;
  for (const [low, high] of unionOf(ranges)) {
    if (low > next) rest.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= LARGEST_CODE_POINT) rest.push([next, LARGEST_CODE_POINT]);
  return rest;
}

export const intersectionOf = (a: CodePoints, b: CodePoints): CodePoints =>
  complementOf([...complementOf(a), ...complementOf(b)]);
