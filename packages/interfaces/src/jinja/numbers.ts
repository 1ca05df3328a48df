/** Python's `int` and `float`: printing, rounding, division and powers, correctly rounded. */
import { fail, overLimit, unsupported } from './errors.js';
import { LIMITS } from './run.js';

/** `repr(float)`: the shortest digits that read back, with an exponent below 1e-4 and from 1e16. */
export function floatRepr(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const [digits, exponent] = shortest(Math.abs(value));
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  if (exponent < -4 || exponent >= 16) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.padEnd(exponent + 1, '0');
  return `${sign}${whole.slice(0, exponent + 1)}.${whole.slice(exponent + 1) || '0'}`;
}

/** Significant digits and the exponent of the first. */
function shortest(value: number): [digits: string, exponent: number] {
  const [mantissa = '0', exponent = '0'] = value.toExponential().split('e');
  return [mantissa.replace('.', ''), Number(exponent)];
}

/** `numerator / 2 ** shift`: the exact value of a finite float. */
export function exactFraction(value: number): [numerator: bigint, shift: number] {
  let [scaled, shift] = [value, 0];
  while (!Number.isInteger(scaled)) {
    scaled *= 2;
    shift++;
  }
  return [BigInt(scaled), shift];
}

/** `numerator / denominator`, to the nearest integer, halves to even; the denominator is positive. */
export function divideHalfEven(numerator: bigint, denominator: bigint): bigint {
  const floor = floorDivide(numerator, denominator);
  const twice = 2n * (numerator - floor * denominator);
  return twice > denominator || (twice === denominator && floor % 2n !== 0n) ? floor + 1n : floor;
}

/** The digits of a finite float's absolute value with `places` decimals, exact and halves to even, as `%.2f` has them. */
export function fixedDigits(value: number, places: number): string {
  if (places > 400) overLimit('a number would have more than 400 decimals.');
  const [numerator, shift] = exactFraction(Math.abs(value));
  const scaled = divideHalfEven(numerator * 10n ** BigInt(places), 1n << BigInt(shift));
  const digits = String(scaled).padStart(places + 1, '0');
  return places === 0 ? digits : `${digits.slice(0, -places)}.${digits.slice(-places)}`;
}

/** `round(float, places)`. */
export function roundFloat(value: number, places: number): number {
  if (!Number.isFinite(value) || places > 330) return value;
  if (places < -310) return value < 0 ? -0 : 0;
  if (places >= 0) return Number(`${value < 0 || Object.is(value, -0) ? '-' : ''}${fixedDigits(value, places)}`);
  const unit = 10n ** BigInt(-places);
  const [numerator, shift] = exactFraction(Math.abs(value));
  const rounded = Number(divideHalfEven(numerator, unit << BigInt(shift)) * unit);
  return value < 0 ? -rounded : rounded;
}

/** `round(int, places)`. */
export function roundInteger(value: bigint, places: number): bigint {
  if (places >= 0) return value;
  if (places < -LIMITS.integerBits) return 0n;
  const unit = 10n ** BigInt(-places);
  return divideHalfEven(value, unit) * unit;
}

/** `str(int)`, which Python refuses beyond 4300 digits. */
export function integerRepr(value: bigint): string {
  const text = String(value);
  if (text.length > 4300) fail('Exceeds the limit (4300 digits) for integer string conversion');
  return text;
}

export function checkedInteger(value: bigint): bigint {
  if (value > SAFE || value < -SAFE) checkBits(bits(value));
  return value;
}

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
const bits = (value: bigint) => (value < 0n ? -value : value).toString(16).length * 4;

function checkBits(count: number): void {
  if (count > LIMITS.integerBits) overLimit(`an integer would have more than ${LIMITS.integerBits} bits.`);
}

export function multiplyIntegers(a: bigint, b: bigint): bigint {
  checkBits(bits(a) + bits(b) - 8);
  return a * b;
}

export function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

export const floorModulo = (a: bigint, b: bigint): bigint => a - floorDivide(a, b) * b;

/** Quotient and remainder of floats as Python has them: the remainder has the divisor's sign. */
export function floatDivMod(a: number, b: number): [quotient: number, remainder: number] {
  let remainder = a % b;
  let quotient = (a - remainder) / b;
  if (remainder !== 0) {
    if (b < 0 !== remainder < 0) {
      remainder += b;
      quotient -= 1;
    }
  } else remainder = b < 0 ? -0 : 0;
  if (quotient === 0) return [a / b < 0 || Object.is(a / b, -0) ? -0 : 0, remainder];
  const floor = Math.floor(quotient);
  return [quotient - floor > 0.5 ? floor + 1 : floor, remainder];
}

/** The nearest float; an OverflowError of Python for integers beyond. */
export function toFloat(value: bigint): number {
  const float = Number(value);
  if (!Number.isFinite(float)) fail('int too large to convert to float');
  return float;
}

/** `a / b` of integers, correctly rounded; `b` is not 0. */
export function divideIntegers(a: bigint, b: bigint): number {
  const [x, y] = [a < 0n ? -a : a, b < 0n ? -b : b];
  const sign = a < 0n === b < 0n || a === 0n ? 1 : -1;
  if (x <= SAFE && y <= SAFE) return (sign * Number(x)) / Number(y);
  const shift = BigInt(Math.max(0, bits(y) - bits(x) + 72));
  if (shift > 1000n) unsupported('a quotient of integers so small.');
  const quotient = (x << shift) / y;
  const sticky = quotient * y === x << shift ? 0n : 1n;
  return sign * toFloat(quotient | sticky) * 2 ** -Number(shift);
}

export function integerPower(base: bigint, exponent: bigint): bigint | number {
  if (exponent < 0n) {
    if (base === 0n) fail('0.0 cannot be raised to a negative power');
    return floatPower(toFloat(base), toFloat(exponent));
  }
  if (base > 1n || base < -1n) {
    if (exponent > BigInt(LIMITS.integerBits)) checkBits(Number.POSITIVE_INFINITY);
    checkBits((bits(base) - 4) * Number(exponent));
    return checkedInteger(base ** exponent);
  }
  return base === -1n ? (exponent % 2n === 0n ? 1n : -1n) : exponent === 0n ? 1n : base;
}

/** Powers that every platform rounds alike: whole exponents and square roots. */
export function floatPower(base: number, exponent: number): number {
  if (exponent === 0 || base === 1) return 1;
  if (Number.isNaN(base) || Number.isNaN(exponent)) return Number.NaN;
  if (base === 0 && exponent < 0) fail('0.0 cannot be raised to a negative power');
  if (exponent === 1 || base === 0) return base ** exponent;
  if (exponent === 0.5 && base > 0) return Math.sqrt(base);
  if (!Number.isInteger(exponent) || Math.abs(exponent) > 64 || !Number.isFinite(base)) {
    unsupported('a power of floats whose exponent is not a whole number up to 64.');
  }
  const [numerator, shift] = exactFraction(base);
  const power = numerator ** BigInt(Math.abs(exponent));
  const scale = 1n << BigInt(shift * Math.abs(exponent));
  return exponent > 0 ? nearest(power, scale) : nearest(power < 0n ? -scale : scale, power < 0n ? -power : power);
}

/** `a / b`, correctly rounded where the result is a normal float. */
function nearest(a: bigint, b: bigint): number {
  const negative = a < 0n;
  const x = negative ? -a : a;
  const shift = BigInt(Math.max(0, bits(b) - bits(x) + 72));
  const quotient = (x << shift) / b;
  const sticky = quotient * b === x << shift ? 0n : 1n;
  const whole = quotient | sticky;
  const drop = Math.max(0, bits(whole) - 128);
  const kept = Number((whole >> BigInt(drop)) | 1n);
  const result = (drop > 0 ? kept : Number(whole)) * 2 ** (drop - Number(shift));
  if (!Number.isFinite(result)) fail("(34, 'Numerical result out of range')");
  if (result < 2 ** -1000) unsupported('a power of floats so small.');
  return negative ? -result : result;
}

const INTEGER = /^[+-]?\d+(_\d+)*$/;
const FLOAT = /^[+-]?((\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?|inf|infinity|nan)$/i;

/** `int(text, base)`; undefined where Python raises ValueError. */
export function parseInteger(stripped: string, base: number): bigint | undefined {
  if (base !== 10) return parseInBase(stripped, base);
  if (!INTEGER.test(stripped)) return undefined;
  const digits = stripped.replaceAll('_', '').replace(/^\+/, '');
  if (digits.replace('-', '').length > 4300) return undefined;
  return digits.startsWith('-') ? -BigInt(digits.slice(1)) : BigInt(digits);
}

const PREFIXES: Readonly<Record<string, number>> = { b: 2, o: 8, x: 16 };

function parseInBase(text: string, base: number): bigint | undefined {
  const [, sign = '', body = ''] = /^([+-]?)(.*)$/s.exec(text)!;
  const named = /^0([box])/i.test(body) ? PREFIXES[body[1]!.toLowerCase()] : undefined;
  const prefixed = named !== undefined && (base === 0 || base === named);
  const digits = prefixed ? body.slice(2).replace(/^_/, '') : body;
  if (!/^[0-9a-z]+(_[0-9a-z]+)*$/i.test(digits)) return undefined;
  if (base === 0 && !prefixed && /^0[0_]*[1-9]/.test(digits)) return undefined;
  const radix = base === 0 ? (named ?? 10) : base;
  let value = 0n;
  for (const digit of digits.replaceAll('_', '')) {
    const number = Number.parseInt(digit, 36);
    if (!(number < radix)) return undefined;
    value = checkedInteger(value * BigInt(radix) + BigInt(number));
  }
  return sign === '-' ? -value : value;
}

/** `float(text)`; undefined where Python raises ValueError. */
export function parseFloatText(stripped: string): number | undefined {
  if (!FLOAT.test(stripped)) return undefined;
  const text = stripped.replaceAll('_', '').toLowerCase();
  if (text.endsWith('nan')) return Number.NaN;
  if (/inf/.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}
