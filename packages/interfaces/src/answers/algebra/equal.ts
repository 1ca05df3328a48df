import { rational } from '../rational.js';
import type { Answer, Bound, Value } from './answer.js';
import { size } from './complex.js';
import { type Expression, negated } from './expression.js';
import { asIntervals } from './intervals.js';
import { evaluate, isSameForm, normalForm, valuesOf, variablesOf } from './normal-form.js';
import { parseAnswer } from './structure.js';

/** How answers are compared. */
export interface Comparing {
  /** Whether a formula without names is the number that it comes to. */
  readonly computed: boolean;
  /** So many decimals are compared of numbers; undefined: all. */
  readonly decimals: number | undefined;
}

/** The last spellings that were read: one reference is compared with many answers. */
const readBefore = new Map<string, Answer>();
const MOST_READ = 500;

function answerOf(spelling: string): Answer {
  const known = readBefore.get(spelling);
  if (known) return known;
  if (readBefore.size >= MOST_READ) readBefore.delete(readBefore.keys().next().value!);
  const answer = parseAnswer(spelling);
  readBefore.set(spelling, answer);
  return answer;
}

const LITERAL = /^-?\d+(?:\/\d+)?$/;

/** Whether two spellings of `normalizeAnswer` that differ are the same mathematics. */
export function isSameMathematics(first: string, second: string, how: Comparing): boolean {
  if (how.decimals === undefined && LITERAL.test(first) && LITERAL.test(second)) return false;
  return same(answerOf(first), answerOf(second), how);
}

function same(a: Answer, b: Answer, how: Comparing): boolean {
  if (a.kind === 'text' || b.kind === 'text') return a.kind === 'text' && b.kind === 'text' && a.text === b.text;
  if (a.kind === 'value' && b.kind === 'value') return sameValue(a, b, how);
  // `a = 1, b = 2` is also `1, 2` and `(1, 2)`, in the order in which the names are written.
  const [given, others] = [givenBy(a), givenBy(b)];
  if (given && !others && sameInOrder(given, b, how)) return true;
  if (others && !given && sameInOrder(others, a, how)) return true;
  if (a.kind === 'set' && b.kind === 'set') {
    const isIn = (item: Answer, items: readonly Answer[]) => items.some((other) => same(item, other, how));
    return a.items.every((item) => isIn(item, b.items)) && b.items.every((item) => isIn(item, a.items));
  }
  if (a.kind === 'tuple' && b.kind === 'tuple') {
    return (
      a.open === b.open &&
      a.close === b.close &&
      a.items.length === b.items.length &&
      a.items.every((item, i) => same(item, b.items[i]!, how))
    );
  }
  if (a.kind === 'matrix' && b.kind === 'matrix') {
    return (
      a.rows.length === b.rows.length &&
      a.rows.every(
        (row, i) => row.length === b.rows[i]!.length && row.every((cell, j) => same(cell, b.rows[i]![j]!, how)),
      )
    );
  }
  if (a.kind === 'relation' && b.kind === 'relation') return sameRelation(a, b);
  if (a.kind === 'relation' && b.kind === 'value') return isSolved(a, b);
  if (a.kind === 'value' && b.kind === 'relation') return isSolved(b, a);
  if (a.kind === 'intervals' || b.kind === 'intervals') {
    const [parts, others] = [asIntervals(a), asIntervals(b)];
    return parts !== null && others !== null && sameIntervals(parts, others, how);
  }
  return false;
}

const givenBy = (answer: Answer) => (answer.kind === 'set' ? answer.given : undefined);

/** Whether an answer has these values, one after the other. */
function sameInOrder(given: readonly Answer[], other: Answer, how: Comparing): boolean {
  const isTuple = other.kind === 'tuple' && other.open === '(' && other.close === ')';
  if (other.kind !== 'set' && !isTuple) return false;
  return given.length === other.items.length && given.every((one, i) => same(one, other.items[i]!, how));
}

function sameValue(a: Value, b: Value, { computed, decimals }: Comparing): boolean {
  // 2 + 3 is 5, but whoever writes it has not said what it comes to.
  if (a.literal !== b.literal && !computed) return false;
  if (decimals !== undefined) {
    const [one, other] = [rounded(a, decimals), rounded(b, decimals)];
    if (one !== null && other !== null) return one === other;
  }
  return isSameForm(a.form, b.form);
}

/** A real number times 10^decimals, rounded; null for what depends on a name, and for roots and the like that doubles do not hold so far. */
function rounded({ form }: Value, decimals: number): bigint | null {
  const exact = form.size === 0 ? rational(0n) : form.size === 1 ? form.get('')?.coefficient : undefined;
  if (exact) {
    const [top, bottom] = [2n * exact.numerator * 10n ** BigInt(decimals), 2n * exact.denominator];
    const half = top < 0n ? -exact.denominator : exact.denominator;
    return (top + half) / bottom;
  }
  const [at, imaginary] = evaluate(form, () => [Number.NaN, 0]).value;
  const scaled = at * 10 ** decimals;
  if (imaginary !== 0 || !(Math.abs(scaled) < 2 ** 50)) return null;
  return BigInt(Math.sign(scaled) * Math.round(Math.abs(scaled)));
}

interface Part {
  readonly low: Bound;
  readonly high: Bound;
}

/** Parts in order, those that touch put together. */
function sameIntervals(a: readonly Part[], b: readonly Part[], how: Comparing): boolean {
  const [ones, others] = [merged(a), merged(b)];
  if (!ones || !others || ones.length !== others.length) return false;
  const sameBound = (x: Bound, y: Bound) =>
    x.closed === y.closed &&
    (x.value === null ? y.value === null : y.value !== null && sameValue(x.value, y.value, how));
  return ones.every((part, i) => sameBound(part.low, others[i]!.low) && sameBound(part.high, others[i]!.high));
}

function merged(parts: readonly Part[]): Part[] | null {
  const numbers = parts.map((part) => ({
    part,
    low: numberAt(part.low, Number.NEGATIVE_INFINITY),
    high: numberAt(part.high, Number.POSITIVE_INFINITY),
  }));
  if (numbers.some(({ low, high }) => Number.isNaN(low) || Number.isNaN(high)))
    return parts.length === 1 ? [...parts] : null;
  numbers.sort((x, y) => x.low - y.low || Number(y.part.low.closed) - Number(x.part.low.closed));
  const result: typeof numbers = [];
  for (const next of numbers) {
    const last = result.at(-1);
    const isTouched =
      last && (next.low < last.high || (next.low === last.high && (last.part.high.closed || next.part.low.closed)));
    if (!isTouched) result.push(next);
    else if (next.high > last.high || (next.high === last.high && next.part.high.closed)) {
      result[result.length - 1] = {
        low: last.low,
        high: next.high,
        part: { low: last.part.low, high: next.part.high },
      };
    }
  }
  return result.map(({ part }) => part);
}

/** NaN where it depends on a name. */
function numberAt({ value }: Bound, infinite: number): number {
  if (value === null) return infinite;
  const { value: at } = evaluate(value.form, () => [Number.NaN, 0]);
  return Math.abs(at[1]) > 0 ? Number.NaN : at[0];
}

const FLIPPED: Readonly<Record<string, string>> = { '<': '>', '≤': '≥', '>': '<', '≥': '≤', '=': '=', '≠': '≠' };

type Relation = Extract<Answer, { kind: 'relation' }>;

/** One relation: left − right is that of the other times a constant, positive where the direction is the same. Several: side by side. */
function sameRelation(a: Relation, b: Relation): boolean {
  if (a.operators.length !== b.operators.length) return false;
  if (a.operators.length === 1) return sameSides(a, b);
  const turned = { sides: [...b.sides].reverse(), operators: [...b.operators].reverse().map((op) => FLIPPED[op]!) };
  return [b, turned].some(
    ({ sides, operators }) =>
      operators.every((op, i) => op === a.operators[i]) &&
      sides.every((side, i) => isSameForm(side.form, a.sides[i]!.form)),
  );
}

/** Whether a formula of names is what an equation says of one more name: `2x + 4y = 3` and `3/4 − x/2`, which is y. */
function isSolved(equation: Relation, formula: Value): boolean {
  const known = variablesOf(formula.expression);
  if (equation.operators.length !== 1 || equation.operators[0] !== '=' || known.size === 0) return false;
  const [asked, another] = [...new Set(equation.sides.flatMap((side) => [...variablesOf(side.expression)]))].filter(
    (name) => !known.has(name),
  );
  if (asked === undefined || another !== undefined) return false;
  const expression: Expression = { kind: 'name', name: asked };
  const name: Value = { kind: 'value', expression, form: normalForm(expression)!, literal: false };
  return sameSides(equation, { kind: 'relation', sides: [name, formula], operators: ['='] });
}

function sameSides(a: Relation, b: Relation): boolean {
  const [one, other] = [a, b].map(({ sides: [left, right] }) => {
    const sum: Expression = { kind: 'sum', terms: [left!.expression, negated(right!.expression)] };
    return normalForm(sum);
  });
  if (!one || !other || one.size === 0 || other.size === 0) return false;
  const ratios = valuesOf([one, other])
    .map(([x, y]) => ({ x: x!.value, y: y!.value }))
    .filter(({ y }) => size(y) > 1e-9)
    .map(({ x, y }) => (x[0] * y[0] + x[1] * y[1]) / (y[0] ** 2 + y[1] ** 2));
  const ratio = ratios[0];
  if (ratio === undefined || ratios.length < 2 || Math.abs(ratio) < 1e-12) return false;
  const operator = ratio > 0 ? b.operators[0]! : FLIPPED[b.operators[0]!]!;
  if (operator !== a.operators[0]) return false;
  const [x, y] = [[...one.values()][0]!, [...one.keys()][0]!];
  const theirs = other.get(y);
  // Exactly, where a term says by what: doubles would not see 10^20 + 1.
  if (theirs) {
    const by = rational(
      x.coefficient.numerator * theirs.coefficient.denominator,
      x.coefficient.denominator * theirs.coefficient.numerator,
    )!;
    return isSameForm(one, other, by);
  }
  return ratios.every((r) => Math.abs(r - ratio) <= 1e-9 * Math.abs(ratio));
}
