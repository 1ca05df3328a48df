/** An exact rational number in lowest terms; the denominator is positive. */
export interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** numerator / denominator in lowest terms; null for a denominator of 0. */
export function rational(numerator: bigint, denominator = 1n): Rational | null {
  if (denominator === 0n) return null;
  const divisor = greatestCommonDivisor(numerator, denominator) * (denominator < 0n ? -1n : 1n);
  return { numerator: numerator / divisor, denominator: denominator / divisor };
}

export function multiply(a: Rational, b: Rational): Rational {
  return rational(a.numerator * b.numerator, a.denominator * b.denominator)!;
}

export function divide(a: Rational, b: Rational): Rational | null {
  return rational(a.numerator * b.denominator, a.denominator * b.numerator);
}

export function add(a: Rational, b: Rational): Rational {
  return rational(a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator)!;
}

/** base^exponent for a whole exponent; null for 0 to a power that is not positive. */
export function power(base: Rational, exponent: number): Rational | null {
  if (base.numerator === 0n && exponent <= 0) return null;
  const size = BigInt(Math.abs(exponent));
  const [top, bottom] = [base.numerator ** size, base.denominator ** size];
  return exponent < 0 ? rational(bottom, top) : rational(top, bottom);
}

/** `7`, `-3`, `1/2`. */
export function spellRational({ numerator, denominator }: Rational): string {
  return denominator === 1n ? String(numerator) : `${numerator}/${denominator}`;
}

/** The nearest double, or the next to it. */
export function rationalToNumber({ numerator, denominator }: Rational): number {
  const shift = 64 - bits(numerator) + bits(denominator);
  const quotient = shift > 0 ? (numerator << BigInt(shift)) / denominator : numerator / (denominator << BigInt(-shift));
  const half = Math.trunc(shift / 2);
  // In two steps, as 2^-shift alone can underflow.
  return Number(quotient) * 2 ** -half * 2 ** (half - shift);
}

function bits(value: bigint): number {
  return (value < 0n ? -value : value).toString(16).length * 4;
}

function greatestCommonDivisor(first: bigint, second: bigint): bigint {
  let [a, b] = [first < 0n ? -first : first, second < 0n ? -second : second];
  while (b !== 0n) [a, b] = [b, a % b];
  return a === 0n ? 1n : a;
}
