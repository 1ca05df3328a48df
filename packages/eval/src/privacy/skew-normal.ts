import { normalCdf } from '../statistics/distributions.js';
import { minimize } from '../statistics/minimize.js';
import { mean } from '../statistics/standard-error.js';

/** A skew normal distribution: density (2/ω) φ(z) Φ(αz) with z = (x − ξ)/ω. */
export interface SkewNormal {
  /** ξ. */
  readonly location: number;
  /** ω > 0. */
  readonly scale: number;
  /** α: 0 is a normal distribution, above it the right tail is the longer. */
  readonly shape: number;
}

const density = (z: number): number => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
/** log Φ(x), and φ(x)/Φ(x); far to the left by their asymptotes, where Φ is no longer a number. */
function logCdf(x: number): { readonly value: number; readonly slope: number } {
  if (x > -38) return { value: Math.log(normalCdf(x)), slope: density(x) / normalCdf(x) };
  return { value: (-x * x) / 2 - Math.log(-x * Math.sqrt(2 * Math.PI)), slope: -x - 1 / x };
}

/** No sample of finite size says that a shape is larger. */
const LARGEST_SKEW = 0.99;

/**
 * The skew normal distribution (Azzalini, 1985) of the largest likelihood, by BFGS from the one that has the sample's mean, variance and skewness; scipy's `skewnorm.fit`
 * starts there, too. Where all values lie as in half a normal distribution the likelihood grows with α for ever: α is large then, and the fit that of the half.
 *
 * @param values at least three, not all alike
 */
export function fitSkewNormal(values: readonly number[]): SkewNormal {
  const centre = mean(values);
  // Squares of large numbers are none.
  const widest = values.reduce((most, value) => Math.max(most, Math.abs(value - centre)), 0);
  const spread = widest * Math.sqrt(mean(values.map((value) => ((value - centre) / widest) ** 2)));
  const standard = values.map((value) => (value - centre) / spread);
  const third = mean(standard.map((z) => z ** 3));
  const root = Math.min(Math.abs(third), LARGEST_SKEW) ** (2 / 3);
  const delta =
    Math.sign(third) * Math.min(0.99, Math.sqrt(((Math.PI / 2) * root) / (root + ((4 - Math.PI) / 2) ** (2 / 3))));
  const scale = 1 / Math.sqrt(1 - (2 * delta * delta) / Math.PI);
  const start = [-scale * delta * Math.sqrt(2 / Math.PI), Math.log(scale), delta / Math.sqrt(1 - delta * delta)];
  const { x } = minimize((parameters) => negativeLogLikelihood(standard, parameters), start);
  return { location: centre + spread * x[0]!, scale: spread * Math.exp(x[1]!), shape: x[2]! };
}

/** Of (ξ, log ω, α), a value on average, without its constant. */
function negativeLogLikelihood(values: readonly number[], [location, logScale, shape]: readonly number[]) {
  const scale = Math.exp(logScale!);
  let value = 0;
  const gradient = [0, 0, 0];
  for (const one of values) {
    const z = (one - location!) / scale;
    const { value: log, slope } = logCdf(shape! * z);
    value += logScale! + (z * z) / 2 - log;
    gradient[0]! -= (z - shape! * slope) / scale;
    gradient[1]! -= z * z - 1 - shape! * z * slope;
    gradient[2]! -= z * slope;
  }
  return { value: value / values.length, gradient: gradient.map((sum) => sum / values.length) };
}

/**
 * log P(X ≤ x). The left tail keeps its digits however small it is, where 1 minus the right one, or Φ − 2T by Owen's function, would have none.
 */
export function skewNormalLogCdf(x: number, { location, scale, shape }: SkewNormal): number {
  const z = (x - location) / scale;
  const logDensity = (t: number): number =>
    Math.LN2 - (t * t) / 2 - Math.log(2 * Math.PI) / 2 + logCdf(shape * t).value;
  if (z >= 0) {
    // Φ(αt) changes within 1/α of 0, φ(t) within 1: a piece for each.
    const knee = Math.min(z, 10 / Math.max(1, Math.abs(shape)));
    const of = (t: number): number => Math.exp(logDensity(t));
    const below = 0.5 - Math.atan(shape) / Math.PI;
    return Math.log(Math.min(1, below + integral(of, 0, knee) + integral(of, knee, Math.min(z, knee + 12))));
  }
  // Left of z the density falls at least as e^(−s²t²/2), and as e^(s²zt): all that counts is within this distance.
  const slope = Math.sqrt(1 + Math.max(0, shape) ** 2);
  const reach = Math.min(10 / slope, 45 / (slope * slope * -z));
  const peak = logDensity(z);
  if (peak === Number.NEGATIVE_INFINITY) return peak;
  return peak + Math.log(integral((t) => Math.exp(logDensity(z - t) - peak), 0, reach));
}

/** ∫ f by Simpson's rule. */
function integral(f: (x: number) => number, from: number, to: number): number {
  const pieces = 1000;
  const width = (to - from) / pieces;
  let sum = f(from) + f(to);
  for (let i = 1; i < pieces; i++) sum += (i % 2 === 1 ? 4 : 2) * f(from + i * width);
  return (sum * width) / 3;
}
