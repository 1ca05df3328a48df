import { type AnswerOptions, assertAnswerOptions, assertAnswerText } from './answer-options.js';
import { plainText } from './plain-text.js';
import { add, divide, multiply, power, type Rational, rational } from './rational.js';

/** Longer texts are not read as numbers: exact arithmetic on them would be slow, and no task asks for them. */
const LONGEST_NUMBER = 1000;
const LARGEST_EXPONENT = 1000;
const MOST_DIGITS = 5000;
/** Nested fractions and parentheses. */
const DEEPEST = 20;

const DECIMAL =
  /(?:([1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?: \d{3})+(?!\d)|\d+)(\.\d*)?|(\.\d+))(?:[eE]([+-]?\d{1,5})(?![\d.]))?/y;
const CURRENCY = /^([+-]?)\s*(?:US|USD|EUR|GBP)?\s*[€£¥₹₽₩₪]?\s*(?=[+\-\d.\\({])/;

/** A comma that parts no thousands: not three digits behind it, or none to three before it that begin with another digit than 0. */
const COMMA = /^([+-]?\s*(?:\d{4,}|0\d*|\d+(?=,(?:\d{1,2}|\d{4,})(?!\d)))),(\d+)(?![\d.,])/;
/** `1.234,5` */
const POINTS = /^([+-]?\s*[1-9]\d{0,2}(?:\.\d{3})+),(\d+)(?![\d.,])/;
const withoutPoints = (_: string, whole: string, decimals: string) => `${whole.replaceAll('.', '')}.${decimals}`;

/**
 * The number that a whole text writes, exactly: `1,234.5`, `1 234`, `-7`, `.5`, `1e3`, `3/4`, `\frac{3}{4}`, `1 1/2`,
 * `10^3`, `1.5\times10^3`, `50%` and `$5`, in plain text or LaTeX. Null for everything else: words and units
 * (see `normalizeAnswer`), two numbers, `1,23`, sums, roots, factorials, letters, a division by zero.
 */
export function parseRational(text: string, options: AnswerOptions = {}): Rational | null {
  assertAnswerText('parseRational', 'text', text);
  assertAnswerOptions(options);
  return text.length > LONGEST_NUMBER ? null : readNumber(plainText(text), options);
}

/** As `parseRational`, for what `plainText` made. */
export function readNumber(plain: string, { percent = 'fraction', decimal }: AnswerOptions = {}): Rational | null {
  if (plain.length > LONGEST_NUMBER || !/\d/.test(plain)) return null;
  const amount = plain.replace(CURRENCY, '$1');
  const body = decimal === 'either' ? amount.replace(COMMA, '$1.$2').replace(POINTS, withoutPoints) : amount;
  const hundredths = /\s*%$/.exec(body);
  const value = new NumberReader(hundredths ? body.slice(0, hundredths.index) : body).whole();
  return value && hundredths && percent === 'fraction' ? rational(value.numerator, value.denominator * 100n) : value;
}

/** Recursive descent over one number; every method gives null where the text is something else. */
class NumberReader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text.trim();
  }

  whole(): Rational | null {
    const value = this.#signed();
    return this.#at === this.#text.length ? value : null;
  }

  #signed(): Rational | null {
    if (++this.#depth > DEEPEST) return null;
    const sign = this.#match(/[+-]\s*/y)?.[0][0];
    const value = this.#unsigned();
    this.#depth--;
    return value && sign === '-' ? { ...value, numerator: -value.numerator } : value;
  }

  #unsigned(): Rational | null {
    const mixed = this.#mixed();
    if (mixed) return mixed;
    const value = this.#power();
    if (!value) return null;
    if (this.#match(/\s*\*\s*(?=10\s*\^)/y)) {
      const scale = this.#power();
      return scale && multiply(value, scale);
    }
    if (!this.#match(/\s*\/\s*/y)) return value;
    const divisor = this.#power();
    return divisor && divide(value, divisor);
  }

  /** `1 1/2` and `1\frac{1}{2}`: a whole number and a proper fraction. */
  #mixed(): Rational | null {
    const found = this.#match(/(\d+)(?: (\d+) ?\/ ?(\d+)| ?\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\})/y);
    if (!found) return null;
    const part = rational(BigInt(found[2] ?? found[4]!), BigInt(found[3] ?? found[5]!));
    if (!part || part.numerator >= part.denominator) return null;
    return add(rational(BigInt(found[1]!))!, part);
  }

  #power(): Rational | null {
    const base = this.#primary();
    if (!base || !this.#match(/\s*\^\s*/y)) return base;
    const found = this.#match(/\{\s*([+-]?\d{1,5})\s*\}|\(\s*([+-]?\d{1,5})\s*\)|([+-]?\d{1,5})(?!\d)/y);
    const exponent = Number(found?.[1] ?? found?.[2] ?? found?.[3] ?? Number.NaN);
    const digits = Math.max(String(base.numerator).length, String(base.denominator).length);
    // Not NaN, and no power that takes long to write.
    return Math.abs(exponent) <= LARGEST_EXPONENT && digits * Math.abs(exponent) <= MOST_DIGITS
      ? power(base, exponent)
      : null;
  }

  #primary(): Rational | null {
    if (this.#match(/\\frac\s*(?=\{)/y)) {
      const top = this.#group('{', '}');
      this.#match(/\s*/y);
      const bottom = top && this.#group('{', '}');
      return bottom && divide(top, bottom);
    }
    const next = this.#text[this.#at];
    if (next === '(') return this.#group('(', ')');
    if (next === '{') return this.#group('{', '}');
    return this.#decimal();
  }

  #group(open: string, close: string): Rational | null {
    if (this.#text[this.#at] !== open) return null;
    const start = ++this.#at;
    this.#match(/\s*/y);
    const value = this.#signed();
    this.#match(/\s*/y);
    // `(1,234)` may be an interval.
    const isNumber =
      this.#text[this.#at] === close && !(open === '(' && this.#text.slice(start, this.#at).includes(','));
    this.#at++;
    return isNumber ? value : null;
  }

  #decimal(): Rational | null {
    const found = this.#match(DECIMAL);
    if (!found) return null;
    const [, whole = '', fraction = '', point = '', exponent = '0'] = found;
    const decimals = (fraction || point).slice(1);
    const shift = Number(exponent);
    if (Math.abs(shift) > LARGEST_EXPONENT) return null;
    const digits = BigInt(whole.replace(/[, ]/g, '') + decimals);
    const scale = shift - decimals.length;
    return scale >= 0 ? rational(digits * 10n ** BigInt(scale)) : rational(digits, 10n ** BigInt(-scale));
  }

  /** Goes past a sticky pattern, when it is here. */
  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found) this.#at = pattern.lastIndex;
    return found;
  }
}
