import type { Answer, Bound, Value } from './answer.js';
import { type Expression, MINUS_ONE, negated } from './expression.js';
import { evaluate, normalForm, variablesOf } from './normal-form.js';

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

/** `x < 5`, `5 > x` and `−2 ≤ x < 7`: what a name may be. */
export function interval(
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
export function affine(sides: readonly (Value | null)[], operators: readonly string[]): Answer | null {
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
    factors: [constant, { kind: 'power', base: scale, exponent: MINUS_ONE }],
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

/** `|x| < 3` and `1 ≤ |x| ≤ 2`, of a real x. */
export function absolute(
  ends: readonly string[],
  sides: readonly (Value | null)[],
  operators: readonly string[],
): Answer | null {
  const asked = ends.findIndex((side) => /^\|\p{L}\|$/u.test(side));
  const found = asked < 0 ? null : interval(ends, sides, operators, asked);
  if (found?.kind !== 'intervals') return null;
  const { low, high } = found.parts[0]!;
  const opposite = ({ value, closed }: Bound): Bound => {
    const expression = value && negated(value.expression);
    const form = expression && normalForm(expression);
    return form ? { value: { ...value!, expression: expression!, form }, closed } : { value: null, closed };
  };
  // Below 0 there is nothing that a size is more than.
  if (low.value && !isPositive(low.value)) return null;
  if (high.value && !isPositive(high.value)) return null;
  if (!low.value) return { kind: 'intervals', parts: [{ low: opposite(high), high }] };
  return {
    kind: 'intervals',
    parts: [
      { low: opposite(high), high: opposite(low) },
      { low, high },
    ],
  };
}

function isPositive({ form }: Value): boolean {
  const [at, imaginary] = evaluate(form, () => [Number.NaN, 0]).value;
  return at > 0 && imaginary === 0;
}
