/** The numbers of `%` formats and of `str.format`: digits, signs and padding. */
import { divideHalfEven, exactFraction, fixedDigits } from './numbers.js';
import { characterCount } from './text.js';

/** `precision + 1` significant digits of a finite number that is not negative, and the exponent of the first. */
function exponentDigits(value: number, precision: number): [digits: string, exponent: number] {
  if (value === 0) return ['0'.repeat(precision + 1), 0];
  let exponent = Number(value.toExponential().split('e')[1]);
  const [numerator, shift] = exactFraction(value);
  const power = precision - exponent;
  const scaled = power >= 0 ? numerator * 10n ** BigInt(power) : numerator;
  const divisor = (1n << BigInt(shift)) * (power < 0 ? 10n ** BigInt(-power) : 1n);
  let digits = String(divideHalfEven(scaled, divisor));
  if (digits.length > precision + 1) {
    digits = digits.slice(0, -1);
    exponent++;
  }
  return [digits, exponent];
}

const withPoint = (digits: string, decimals: number, alternate: boolean) =>
  decimals === 0 ? digits + (alternate ? '.' : '') : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;

function exponential(value: number, precision: number, alternate: boolean): string {
  const [digits, exponent] = exponentDigits(value, precision);
  const sign = exponent < 0 ? '-' : '+';
  return `${withPoint(digits, precision, alternate)}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

/**
 * A float that is not negative in one of Python's presentations (`e`, `f`, `g`; upper case for capitals).
 *
 * @param pointZero the presentation without a letter: as `g`, with at least one decimal
 */
export function floatText(
  value: number,
  type: string,
  precision: number,
  alternate = false,
  pointZero = false,
): string {
  const capital = type !== type.toLowerCase();
  const cased = (text: string) => (capital ? text.toUpperCase() : text);
  if (!Number.isFinite(value)) return cased(Number.isNaN(value) ? 'nan' : 'inf');
  const kind = type.toLowerCase();
  if (kind === 'f') return fixedDigits(value, precision) + (precision === 0 && alternate ? '.' : '');
  if (kind === 'e') return cased(exponential(value, precision, alternate));
  const significant = Math.max(1, precision);
  const [, exponent] = exponentDigits(value, significant - 1);
  const fixed = exponent >= -4 && exponent < significant - (pointZero ? 1 : 0);
  const text = fixed
    ? fixedDigits(value, Math.max(0, significant - 1 - exponent))
    : exponential(value, significant - 1, alternate);
  if (alternate) return cased(text.includes('.') ? text : `${text}.`);
  const short = text.includes('.') ? text.replace(/\.?0+(?=e|$)/, '') : text;
  return cased(pointZero && fixed && !short.includes('.') ? `${short}.0` : short);
}

/** Groups of three digits before the point, parted by `separator`. */
export function grouped(text: string, separator: string, size: number): string {
  const [, digits = '', rest = ''] = /^([0-9a-zA-Z]*)(.*)$/s.exec(text)!;
  const whole = size === 3 ? digits.replace(/[^0-9].*$/, '') : digits;
  const tail = digits.slice(whole.length) + rest;
  return whole.replace(new RegExp(`\\B(?=(.{${size}})+$)`, 'g'), separator) + tail;
}

export type Alignment = '<' | '>' | '^' | '=';

/** Fills a text to a width; `=` fills behind the sign, which is the first `lead` characters. */
export function aligned(text: string, width: number, fill: string, alignment: Alignment, lead = 0): string {
  const missing = width - characterCount(text);
  if (missing <= 0) return text;
  if (alignment === '=') return text.slice(0, lead) + fill.repeat(missing) + text.slice(lead);
  const before = alignment === '<' ? 0 : alignment === '>' ? missing : Math.floor(missing / 2);
  return fill.repeat(before) + text + fill.repeat(missing - before);
}
