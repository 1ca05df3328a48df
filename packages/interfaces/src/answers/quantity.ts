import type { AnswerOptions } from './answer-options.js';
import { readNumber } from './number.js';
import { multiply, type Rational, rational } from './rational.js';

/** Words that multiply the number before them. */
const SCALES: Readonly<Record<string, bigint>> = {
  dozen: 12n,
  hundred: 100n,
  thousand: 1000n,
  million: 10n ** 6n,
  billion: 10n ** 9n,
  trillion: 10n ** 12n,
};
/** Units that may be written without a space; other letters behind a number are a product with a variable. */
const ATTACHED_UNIT =
  /^(?:[€£¥₹₽₩₪¢]|°[CF]?|[mgsLhlNWVJ]|st|nd|rd|th|[kcmnµμdM]?m|[kmµμ]?g|[mcdk]?[lL]|[mµμn]?s|ms|min|mins|hr|hrs|hours?|minutes?|seconds?|days?|lbs?|oz|ft|in|yd|mi|mph|km\/h|kph|m\/s|kmh|[kMGT]?Hz|[kMGT]?B|[kMG]?W|kWh|kJ|kcal|cal|kPa|Pa|mol|dollars?|cents?|usd|eur)(?:(?:\/(?:s|h|min|hr|kg|g|L|l|m))?(?:\^?\{?-?[123]\}?)?)?$/;
/** Single letters that are units where a space stands before them. */
const LETTER_UNIT = /^(?:\p{Sc}|°|°?[CF]|[mgsLhlNWVJKΩ])$/u;
const UNIT_WORD = /^°?\p{L}[\p{L}'.·*-]*(?:\^\{?-?[123]\}?)?$/u;
/** Words of two letters that may stand in a unit; others are products of variables. */
const SHORT_WORD = /^(?:of|in|on|by|as|us|an)$/i;
/** With one of these behind it, a number is not what is meant: `3 or 4`, `5 squared`, `2 thirds`, `5 more`. */
const NO_UNIT = new Set(
  (
    'or and to than times plus minus squared cubed factorial mod modulo over under more less fewer greater at up pi ' +
    'half halves third thirds fourth fourths quarter quarters fifth fifths tenth tenths hundredths point not no but ' +
    'through until divided multiplied raised power root roots sqrt log sin cos tan choose bps bp basis ' +
    'dozens hundreds thousands millions billions trillions mil mill mio mln bn tn lakh lakhs crore crores score tens ' +
    'one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety'
  ).split(' '),
);
/** `5 eighths` and `5 millionths`; months and lengths are units. */
const ORDINAL =
  /^(?:fif|six|seven|eigh|nin|ten|eleven|twelf|(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)tie|hundred|thousand|million|billion|trillion)ths?$/;
const PERCENT = new Set(['percent', 'percents', 'percentage', 'pct']);
const MOST_UNIT_WORDS = 8;

/** With one of these, a statement does not say that the number is the answer. */
export const NOT_THE_NUMBER =
  /\b(?:not|no|never|cannot|neither|nor|or|than|least|most|between|except|without|wrong|incorrect|false|if|unless|used to)\b|n't\b|[<>≤≥≠±]/i;

/**
 * The number of a quantity: a number alone, or followed by its unit (`12kg`, `42 apples`, `5 m/s`, `30°`, `3 million`).
 * Units are left out and not compared, as in GSM8K and Math-Verify. Null when anything else is there.
 */
export function readQuantity(plain: string, options: AnswerOptions = {}): Rational | null {
  const text = plain.trim().replace(/^(?:negative|minus)\s+(?=[\d.\\\p{Sc}])/iu, '-');
  const alone = readNumber(text, options);
  if (alone) return alone;
  for (let at = text.length - 1; at > 0; at--) {
    if (!/[\d.)}%]/.test(text[at - 1]!) || !/[\s\p{L}\p{Sc}°(]/u.test(text[at]!)) continue;
    const value = readNumber(text.slice(0, at), options);
    if (value) return withUnit(value, text.slice(at), options);
  }
  return null;
}

function withUnit(value: Rational, tail: string, { percent = 'fraction' }: AnswerOptions): Rational | null {
  if (NOT_THE_NUMBER.test(tail)) return null;
  const words = tail
    .trim()
    .replace(/\s*[/·*]\s*/g, (sign) => sign.trim())
    .split(/\s+/);
  const attached = !/^\s/.test(tail);
  let scaled = value;
  let first = 0;
  const word = words[0]!.toLowerCase().replace(/[.,;:!]$/, '');
  if (!attached || PERCENT.has(word)) {
    if (Object.hasOwn(SCALES, word)) {
      scaled = multiply(value, rational(SCALES[word]!)!);
      first = 1;
    } else if (PERCENT.has(word)) {
      scaled = percent === 'fraction' ? multiply(value, rational(1n, 100n)!) : value;
      first = 1;
    }
  } else {
    if (!ATTACHED_UNIT.test(words[0]!.replace(/[.,;:!]$/, ''))) return null;
    first = 1;
  }
  const units = words.slice(first);
  return units.length <= MOST_UNIT_WORDS && units.every(isUnitWord) && !/^(?:a|an|the)$/i.test(units.at(-1) ?? '')
    ? scaled
    : null;
}

function isUnitWord(word: string): boolean {
  const bare = word.replace(/[.,;:!]$/, '');
  const inner = /^\(([^()]{2,})\)$/.exec(bare)?.[1] ?? bare;
  if (/^a$/i.test(inner)) return true;
  return inner.split('/').every((part, i) => (part === '' ? i === 0 : isUnit(part)));
}

function isUnit(word: string): boolean {
  const name = word.replace(/\^\{?-?[123]\}?$/, '');
  if ([...name].length === 1) return LETTER_UNIT.test(name);
  if (name.length === 2) return SHORT_WORD.test(name) || ATTACHED_UNIT.test(name);
  const lower = name.toLowerCase();
  return (
    UNIT_WORD.test(word) &&
    !NO_UNIT.has(lower) &&
    !ORDINAL.test(lower) &&
    !Object.hasOwn(SCALES, lower) &&
    !PERCENT.has(lower)
  );
}
