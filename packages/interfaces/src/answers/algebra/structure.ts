import { readNumber } from '../number.js';
import type { Answer, Value } from './answer.js';
import type { Expression } from './expression.js';
import { absolute, affine, asIntervals, interval } from './intervals.js';
import { matrixFormula, rowsOf } from './matrix.js';
import { normalForm, variablesOf } from './normal-form.js';
import { parseExpression } from './parse-expression.js';
import { split } from './split.js';

const LONGEST = 1000;
const MOST_ITEMS = 200;
const DEEPEST = 6;
const MATRIX = /^(?:[[(]\s*)?\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}(?:\s*[\])])?$/s;

/** Reads a spelling of `normalizeAnswer`. */
export function parseAnswer(spelling: string): Answer {
  return read(spelling, 0) ?? { kind: 'text', text: spelling };
}

function read(given: string, depth: number): Answer | null {
  const text = given.trim();
  if (text === '' || text.length > LONGEST || depth > DEEPEST) return null;
  return (
    signs(text, depth) ??
    matrix(text, depth) ??
    union(text, depth) ??
    list(text, depth) ??
    relation(text) ??
    bracketed(text, depth) ??
    value(text)
  );
}

function value(text: string): Value | null {
  const expression = parseExpression(text);
  const form = expression && normalForm(expression);
  return form ? { kind: 'value', expression: expression!, form, literal: readNumber(text) !== null } : null;
}

/** `1 ± √2` is two numbers, wherever it stands. */
function signs(text: string, depth: number): Answer | null {
  if (!/[±∓]|\\mp/.test(text)) return null;
  const plain = text.replace(/\\mp\s?/g, '∓');
  // One sign of several formulas: each has its own two.
  if (split(plain, separatorAt).length > 1 || /^\\?\{/.test(plain))
    return list(plain, depth) ?? bracketed(plain, depth);
  const [upper, lower] = [plain.replace(/±/g, '+').replace(/∓/g, '-'), plain.replace(/±/g, '-').replace(/∓/g, '+')];
  const items = [read(upper.replace(/^\+/, ''), depth + 1), read(lower.replace(/^\+/, ''), depth + 1)];
  return items.every((item) => item !== null) ? setOf(items) : null;
}

function matrix(text: string, depth: number): Answer | null {
  const found = MATRIX.exec(text);
  // A determinant is a number.
  if (found && /^[vV]/.test(found[1]!)) return null;
  if (!found || found[2]!.includes('\\begin')) return computedMatrix(text);
  const rows = rowsOf(found[2]!).map((row) => row.map((cell) => read(cell, depth + 1)));
  const isWhole =
    rows.length > 0 && rows.every((row) => row.length === rows[0]!.length && row.every((cell) => cell !== null));
  return isWhole ? { kind: 'matrix', rows: rows as Answer[][] } : null;
}

/** A sum or product of matrices, with what its cells come to: not what is written. */
function computedMatrix(text: string): Answer | null {
  const rows = matrixFormula(text)?.map((row) =>
    row.map((expression): Value | null => {
      const form = normalForm(expression);
      return form && { kind: 'value', expression, form, literal: false };
    }),
  );
  return rows?.every((row) => row.every((cell) => cell !== null)) ? { kind: 'matrix', rows: rows as Value[][] } : null;
}

function union(text: string, depth: number): Answer | null {
  const pieces = split(text, (at) => /^(?:∪|\\cup(?![a-zA-Z]))/.exec(text.slice(at, at + 6))?.[0].length ?? 0);
  if (pieces.length < 2) return null;
  const parts = pieces.map((piece) => read(piece, depth + 1)).map((piece) => piece && asIntervals(piece));
  if (parts.some((part) => part === null)) {
    const sets = pieces.map((piece) => read(piece, depth + 1));
    return sets.every((one) => one?.kind === 'set')
      ? setOf(sets.flatMap((one) => (one?.kind === 'set' ? one.items : [])))
      : null;
  }
  return { kind: 'intervals', parts: parts.flatMap((part) => part!) };
}

const SEPARATOR = /^(?:[,;∨]|(?:and|or)(?![\p{L}])|\\(?:lor|vee)(?![a-zA-Z]))/u;

function separatorAt(at: number, text: string): number {
  const found = SEPARATOR.exec(text.slice(at, at + 6))?.[0] ?? '';
  return /^[ao]/.test(found) && /\p{L}/u.test(text[at - 1] ?? '') ? 0 : found.length;
}

function list(text: string, depth: number): Answer | null {
  const groups = groupsOfNames(text, depth);
  if (groups) return groups;
  const pieces = split(text, separatorAt)
    .map((piece) => piece.trim())
    .filter((piece) => piece !== '');
  if (pieces.length < 2 || pieces.length > MOST_ITEMS) return null;
  const named = pieces.map((piece) => NAMED.exec(piece));
  const areNamed = named.every((one) => one !== null);
  // `x = 1, x = 2` and `x_1 = 1, x_2 = 2`: values of one unknown, which of them is called which says nothing.
  const bases = new Set(named.map((one) => (one?.[1] ?? '').replace(/_(?:\d|\{\d+\})$|\(\p{L}\)$/u, '')));
  const isOne = areNamed && bases.size === 1 && /^\p{L}$/u.test([...bases][0]!);
  const items = (isOne ? named.map((one) => one[2]!) : pieces).map((piece) => read(piece, depth + 1));
  if (items.some((item) => item === null)) return null;
  const areOthers = areNamed && !isOne && new Set(named.map((one) => one[1])).size === named.length;
  const given = areOthers ? named.map((one) => read(one[2]!, depth + 1)) : [null];
  if (given.some((one) => one === null)) return setOf(items as Answer[]);
  return { kind: 'set', items: items as Answer[], given: given as Answer[] };
}

/** A name and what it is given. */
const NAMED = /^(\p{L}(?:_(?:\w|\{\w+\}))?(?:\(\p{L}\))?|[A-Z]{2}|\\[a-zA-Z]+)=([^=<>≤≥≠]+)$/u;

/** `p = 5, q = 2; p = 7, q = 2`: each group is one solution of several names. */
function groupsOfNames(text: string, depth: number): Answer | null {
  const groups = split(text, (at) => Number(text[at] === ';'));
  if (groups.length < 2 || groups.length > MOST_ITEMS) return null;
  const items = groups.map((group) => (group.trim() === '' ? null : list(group, depth + 1)));
  return items.every((item) => item?.kind === 'set' && item.given !== undefined)
    ? { kind: 'set', items: items as Answer[] }
    : null;
}

function bracketed(text: string, depth: number): Answer | null {
  const found = /^(\\\{|[([{])(.*?)(\\\}|[)\]}])$/s.exec(text);
  if (!found || !isOnePair(text)) return null;
  const [, open, inner, close] = found as unknown as [string, string, string, string];
  const pieces = split(inner, (at) => Number(/[,;]/.test(inner[at]!)));
  if (pieces.length > MOST_ITEMS) return null;
  if (open.endsWith('{') && close.endsWith('}')) {
    const items = pieces.map((piece) => read(piece, depth + 1));
    return items.every((item) => item !== null) ? setOf(items) : null;
  }
  if (pieces.length < 2) return null;
  const items = pieces.map((piece) =>
    /^[+-]?∞$/.test(piece.trim()) ? infinite(piece.trim()) : read(piece, depth + 1),
  );
  return items.every((item) => item !== null) ? { kind: 'tuple', open, close, items } : null;
}

const infinite = (text: string): Answer => ({ kind: 'text', text: text.replace('+', '') });

/** Sets in sets are one: `{1 ± √5, −2}`. A set of one is its element, as a solution is. */
function setOf(given: readonly Answer[]): Answer {
  const items = given.flatMap((item) => (item.kind === 'set' && !item.given ? item.items : [item]));
  return items.length === 1 ? items[0]! : { kind: 'set', items };
}

const OPERATOR = /^(?:[=<>≤≥≠])/;

function relation(text: string): Answer | null {
  const operators: string[] = [];
  const pieces = split(text, (at) => {
    const found = OPERATOR.exec(text[at]!)?.[0];
    if (found) operators.push(found);
    return found ? 1 : 0;
  });
  if (pieces.length < 2) return null;
  const ends = pieces.map((piece) => piece.trim());
  const sides = ends.map((side) => (/^[+-]?∞$/.test(side) ? null : value(side)));
  const asked = ends.findIndex(
    (side) =>
      /^\p{L}(?:\(\p{L}\))?$|^\\?[a-zA-Z]+(?:_\w)?$/u.test(side) &&
      variablesOf(value(side)?.expression ?? ZERO).size === 1,
  );
  if (sides.some((side, i) => side === null && !/∞/.test(ends[i]!))) return null;
  return (
    absolute(ends, sides, operators) ??
    interval(ends, sides, operators, asked) ??
    affine(sides, operators) ??
    whole(sides, operators)
  );
}

const ZERO: Expression = { kind: 'sum', terms: [] };

const whole = (sides: readonly (Value | null)[], operators: readonly string[]): Answer | null =>
  sides.every((side) => side !== null) ? { kind: 'relation', sides, operators } : null;

/** Whether the bracket that a text begins with is closed by its last one. */
function isOnePair(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i]!)) depth++;
    else if (')]}'.includes(text[i]!) && --depth === 0) return i === text.length - 1;
  }
  return false;
}
