import { readNumber } from '../number.js';
import { type Expression, negated } from './expression.js';
import { type NormalForm, normalForm, variablesOf } from './normal-form.js';
import { parseExpression } from './parse-expression.js';

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
  | { readonly kind: 'set'; readonly items: readonly Answer[] }
  /** In order, in its brackets: a point, a vector, or an interval of two. */
  | { readonly kind: 'tuple'; readonly open: string; readonly close: string; readonly items: readonly Answer[] }
  /** A union of intervals (and of single points) of the real line. */
  | { readonly kind: 'intervals'; readonly parts: readonly { readonly low: Bound; readonly high: Bound }[] }
  /** Sides of an equation, or of inequalities: `operators[i]` stands between sides i and i + 1. */
  | { readonly kind: 'relation'; readonly sides: readonly Value[]; readonly operators: readonly string[] }
  | { readonly kind: 'matrix'; readonly rows: readonly (readonly Answer[])[] }
  /** What is no mathematics, or none that is read. */
  | { readonly kind: 'text'; readonly text: string };

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
  if (!found || /^[vV]/.test(found[1]!) || found[2]!.includes('\\begin')) return null;
  const lines = found[2]!
    .split('⏎')
    .map((line) => line.replace(/\\hline/g, '').trim())
    .filter((line) => line !== '');
  const rows = lines.map((line) => line.split('&').map((cell) => read(cell, depth + 1)));
  const isWhole =
    rows.length > 0 && rows.every((row) => row.length === rows[0]!.length && row.every((cell) => cell !== null));
  return isWhole ? { kind: 'matrix', rows: rows as Answer[][] } : null;
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

/** The intervals that an answer is, where it can be some. */
export function asIntervals(answer: Answer): { readonly low: Bound; readonly high: Bound }[] | null {
  if (answer.kind === 'intervals') return [...answer.parts];
  if (answer.kind === 'set') {
    const points = answer.items.map((item) => (item.kind === 'value' ? item : null));
    return points.every((point) => point !== null)
      ? points.map((point) => ({ low: { value: point, closed: true }, high: { value: point, closed: true } }))
      : null;
  }
  if (answer.kind !== 'tuple' || answer.items.length !== 2) return null;
  const [low, high] = answer.items as [Answer, Answer];
  const bound = (item: Answer, closed: boolean, infinity: RegExp): Bound | null => {
    if (item.kind === 'value') return { value: item, closed };
    return item.kind === 'text' && infinity.test(item.text) ? { value: null, closed: false } : null;
  };
  const ends = [bound(low, answer.open === '[', /^-∞$/), bound(high, answer.close === ']', /^\+?∞$/)];
  return ends[0] && ends[1] ? [{ low: ends[0], high: ends[1] }] : null;
}

const SEPARATOR = /^(?:[,;∨]|(?:and|or)(?![\p{L}])|\\(?:lor|vee)(?![a-zA-Z]))/u;

function separatorAt(at: number, text: string): number {
  const found = SEPARATOR.exec(text.slice(at, at + 6))?.[0] ?? '';
  return /^[ao]/.test(found) && /\p{L}/u.test(text[at - 1] ?? '') ? 0 : found.length;
}

function list(text: string, depth: number): Answer | null {
  const pieces = split(text, separatorAt)
    .map((piece) => piece.trim())
    .filter((piece) => piece !== '');
  if (pieces.length < 2 || pieces.length > MOST_ITEMS) return null;
  const solutions = valuesOfOneName(pieces);
  const items = (solutions ?? pieces).map((piece) => read(piece, depth + 1));
  return items.every((item) => item !== null) ? setOf(items) : null;
}

/** `x = 1, x = 2` and `x_1 = 1, x_2 = 2`: values of one unknown, which of them is called which says nothing. */
function valuesOfOneName(pieces: readonly string[]): string[] | null {
  const found = pieces.map((piece) => /^(\p{L})(?:_(?:\d|\{\d+\}))?=([^=<>≤≥≠]+)$/u.exec(piece));
  return found.every((one) => one?.[1] === found[0]?.[1] && one) ? found.map((one) => one![2]!) : null;
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
  const items = given.flatMap((item) => (item.kind === 'set' ? item.items : [item]));
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
  return interval(ends, sides, operators, asked) ?? affine(sides, operators) ?? whole(sides, operators);
}

const ZERO: Expression = { kind: 'sum', terms: [] };

const whole = (sides: readonly (Value | null)[], operators: readonly string[]): Answer | null =>
  sides.every((side) => side !== null) ? { kind: 'relation', sides, operators } : null;

/** `x < 5`, `5 > x` and `−2 ≤ x < 7`: what a name may be. */
function interval(
  ends: readonly string[],
  sides: readonly (Value | null)[],
  operators: readonly string[],
  asked: number,
): Answer | null {
  const direction = operators.every((op) => '<≤'.includes(op))
    ? 1
    : operators.every((op) => '>≥'.includes(op))
      ? -1
      : 0;
  if (asked < 0 || direction === 0 || ends.length > 3 || (ends.length === 3 && asked !== 1)) return null;
  const others = sides.filter((_, i) => i !== asked);
  if (others.some((side) => side && variablesOf(side.expression).size > 0)) return null;
  const isClosed = (op: string) => '≤≥'.includes(op);
  const open: Bound = { value: null, closed: false };
  const bounds: [Bound, Bound] = [open, open];
  sides.forEach((side, i) => {
    if (i === asked) return;
    const place = i < asked === (direction === 1) ? 0 : 1;
    bounds[place] = { value: side, closed: side !== null && isClosed(operators[Math.min(i, asked)]!) };
  });
  return { kind: 'intervals', parts: [{ low: bounds[0], high: bounds[1] }] };
}

/** `−x > −1`, of one name to the first power: solved for it. */
function affine(sides: readonly (Value | null)[], operators: readonly string[]): Answer | null {
  const [left, right] = sides;
  if (operators.length !== 1 || !'<>≤≥'.includes(operators[0]!) || !left || !right) return null;
  const sum: Expression = { kind: 'sum', terms: [left.expression, negated(right.expression)] };
  const [name, another] = [...variablesOf(sum)];
  const form = normalForm(sum);
  if (!form || name === undefined || another !== undefined) return null;
  const key = `${name}^1`;
  const slope = form.get(key);
  const rest = [...form].filter(([other]) => other !== key);
  if (!slope || rest.some(([, { powers }]) => powers.some(([atom]) => atom.key === name || atom.key.includes(name))))
    return null;
  const scale: Expression = { kind: 'number', value: slope.coefficient };
  const constant: Expression = {
    kind: 'sum',
    terms: [sum, negated({ kind: 'product', factors: [scale, { kind: 'name', name }] })],
  };
  const bound: Expression = negated({
    kind: 'product',
    factors: [constant, { kind: 'power', base: scale, exponent: MINUS }],
  });
  const solved = normalForm(bound);
  if (!solved) return null;
  const isBelow = '<≤'.includes(operators[0]!) === slope.coefficient.numerator > 0n;
  const end: Bound = {
    value: { kind: 'value', expression: bound, form: solved, literal: solved.size === 0 || solved.has('') },
    closed: '≤≥'.includes(operators[0]!),
  };
  const open: Bound = { value: null, closed: false };
  return { kind: 'intervals', parts: [isBelow ? { low: open, high: end } : { low: end, high: open }] };
}

const MINUS: Expression = { kind: 'number', value: { numerator: -1n, denominator: 1n } };

/** Whether the bracket that a text begins with is closed by its last one. */
function isOnePair(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i]!)) depth++;
    else if (')]}'.includes(text[i]!) && --depth === 0) return i === text.length - 1;
  }
  return false;
}

/** The pieces of a text between separators outside of brackets; `length` says how long a separator is that begins somewhere, 0 for none. */
function split(text: string, length: (at: number, text: string) => number): string[] {
  const pieces: string[] = [];
  let [depth, start] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i]!)) depth++;
    else if (')]}'.includes(text[i]!)) depth--;
    if (depth !== 0) continue;
    const found = length(i, text);
    if (found === 0) continue;
    pieces.push(text.slice(start, i));
    start = i + found;
    i = start - 1;
  }
  pieces.push(text.slice(start));
  return pieces;
}
