/** 2^(i/256). */
const FRACTIONS = Float64Array.from({ length: 256 }, (_, i) => 2 ** (i / 256));
/** 2^-k. */
const POWERS = Float64Array.from({ length: 1075 }, (_, k) => 2 ** -k);
const STEPS = 256 / Math.LN2;
const STEP = Math.LN2 / 256;

/**
 * e^x for x ≤ 0, to a relative 3e-12: x is a multiple of ln 2 / 256, whose power is in a table, and a rest small enough for
 * a cubic. A quarter of the time of `Math.exp`, which a softmax over a vocabulary is made of. NaN stays NaN.
 */
export function expOfNegative(x: number): number {
  if (!(x > -700)) return x < 0 ? 0 : Number.NaN;
  const steps = Math.floor(x * STEPS);
  const rest = x - steps * STEP;
  return FRACTIONS[steps & 255]! * POWERS[-(steps >> 8)]! * (1 + rest * (1 + rest * (0.5 + rest / 6)));
}
