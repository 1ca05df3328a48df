import {
  characters,
  choice,
  EMPTY,
  type Expression,
  InvalidConstraintError,
  literal,
  NOTHING,
  repeat,
  sequence,
} from './expression.js';
import { EXACT_DIGITS } from './json-text.js';

/** A limit of numbers, and whether it is itself outside. */
export interface Limit {
  readonly value: number;
  readonly isExclusive: boolean;
}

/** The digits of a limit ≥ 0; the fraction without zeros at its end. */
interface Digits {
  readonly whole: string;
  readonly fraction: string;
  readonly isExclusive: boolean;
}

/** Digits that still have to be compared; undefined once the number is on the right side whatever follows. */
type Rest = string | undefined;

const digits = (low: number, high: number) => characters([[0x30 + low, 0x30 + high]]);

/**
 * Decimals without exponent between two limits: digit by digit, each limit binds as long as the digits are its own. Few
 * enough digits that reading them as doubles keeps their order.
 */
export function decimalRange(from: Limit | undefined, to: Limit | undefined, isInteger: boolean): Expression {
  const negative = (limit: Limit | undefined) => limit && { ...limit, value: -limit.value };
  const zero: Limit = { value: 0, isExclusive: false };
  const least = from && from.value >= 0 ? from : zero;
  const positive = to && to.value < 0 ? NOTHING : unsigned(least, to, isInteger);
  // Below zero the limits change places; zero itself has no sign.
  const nearest = to && to.value < 0 ? negative(to)! : { value: 0, isExclusive: true };
  const rest = from && from.value >= 0 ? NOTHING : unsigned(nearest, negative(from), isInteger);
  return choice(positive, sequence(literal('-'), rest));
}

function unsigned(from: Limit, to: Limit | undefined, isInteger: boolean): Expression {
  const [low, high] = [digitsOf(from), to && digitsOf(to)];
  const lengths = Array.from(
    { length: high ? Math.min(EXACT_DIGITS, high.whole.length) : EXACT_DIGITS },
    (_, i) => i + 1,
  );
  return choice(
    ...lengths
      .filter((length) => length >= low.whole.length)
      .map((length) => {
        const isLow = low.whole.length === length;
        const isHigh = high?.whole.length === length;
        const room = isInteger
          ? 0
          : Math.max(1, EXACT_DIGITS - length, low.fraction.length, high?.fraction.length ?? 0);
        return wholePart(
          isLow ? low.whole : undefined,
          isHigh ? high!.whole : undefined,
          length,
          length,
          (tightLow, tightHigh) =>
            fractionPart(
              tightLow ? low.fraction : undefined,
              tightHigh ? high!.fraction : undefined,
              room,
              low.isExclusive,
              high?.isExclusive ?? false,
            ),
        );
      }),
  );
}

/** @param left digits that are still to come, of `length` */
function wholePart(
  low: Rest,
  high: Rest,
  length: number,
  left: number,
  fraction: (tightLow: boolean, tightHigh: boolean) => Expression,
): Expression {
  if (left === 0) return fraction(low !== undefined, high !== undefined);
  const isFirst = left === length && length > 1;
  if (low === undefined && high === undefined) {
    const more = repeat(digits(0, 9), left - 1, left - 1);
    return sequence(isFirst ? digits(1, 9) : digits(0, 9), more, fraction(false, false));
  }
  return byDigit(low, high, isFirst ? 1 : 0, (nextLow, nextHigh) =>
    wholePart(nextLow, nextHigh, length, left - 1, fraction),
  );
}

/** Nothing, or a point and digits, such that the number lies on the right side of the limits that still bind. */
function fractionPart(low: Rest, high: Rest, room: number, lowExclusive: boolean, highExclusive: boolean): Expression {
  const mayEnd = (a: Rest, b: Rest) =>
    (a === undefined || (a === '' && !lowExclusive)) && (b === undefined || b !== '' || !highExclusive);
  const more = (a: Rest, b: Rest, left: number): Expression => {
    if (left === 0) return NOTHING;
    if (a === undefined && b === undefined) return repeat(digits(0, 9), 1, left);
    return byDigit(a, b, 0, (nextA, nextB) =>
      choice(mayEnd(nextA, nextB) ? EMPTY : NOTHING, more(nextA, nextB, left - 1)),
    );
  };
  return choice(mayEnd(low, high) ? EMPTY : NOTHING, sequence(literal('.'), more(low, high, room)));
}

/** One digit and what follows: the limits' own digits bind on, those between them do not. */
function byDigit(low: Rest, high: Rest, least: number, follow: (low: Rest, high: Rest) => Expression): Expression {
  const first = low === undefined ? least : Number(low[0] ?? '0');
  const last = high === undefined ? 9 : Number(high[0] ?? '0');
  const [lowRest, highRest] = [low?.slice(1), high?.slice(1)];
  if (first > last) return NOTHING;
  if (first === last && low !== undefined && high !== undefined) {
    return sequence(digits(first, first), follow(lowRest, highRest));
  }
  const from = low === undefined ? first : first + 1;
  const to = high === undefined ? last : last - 1;
  return choice(
    ...(low === undefined ? [] : [sequence(digits(first, first), follow(lowRest, undefined))]),
    ...(from > to ? [] : [sequence(digits(from, to), follow(undefined, undefined))]),
    ...(high === undefined ? [] : [sequence(digits(last, last), follow(undefined, highRest))]),
  );
}

function digitsOf({ value, isExclusive }: Limit): Digits {
  const text = /e/.test(String(value)) ? value.toFixed(20) : String(value);
  const [whole = '0', fraction = ''] = text.split('.');
  if (!Number.isFinite(value) || whole.length > EXACT_DIGITS + 1) {
    throw new InvalidConstraintError(`a limit of numbers must have at most ${EXACT_DIGITS + 1} digits, not ${value}`);
  }
  return { whole, fraction: fraction.replace(/0+$/, ''), isExclusive };
}
