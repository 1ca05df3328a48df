import { normalCdf } from './distributions.js';
import { minimize } from './minimize.js';

/** A skew normal distribution: 2/ω φ(z) Φ(α z) with z = (x − ξ) / ω. */
export interface SkewNormal {
  /** α: 0 is the normal distribution. */
  readonly shape: number;
  /** ξ. */
  readonly location: number;
  /** ω > 0. */
  readonly scale: number;
}

const LOG_2_PI = Math.log(2 * Math.PI);

/** ln Φ(z), and φ(z) / Φ(z) in the tail, where Φ itself is 0. */
function logNormalCdf(z: number): number {
  if (z > -35) return Math.log(normalCdf(z));
  // Mills' ratio by its continued fraction, as `normalCdf` has it.
  let fraction = -z;
  for (let n = 60; n >= 1; n--) fraction = -z + n / fraction;
  return -(z * z + LOG_2_PI) / 2 - Math.log(fraction);
}

const logDensity = (z: number, shape: number): number => Math.LN2 - (z * z + LOG_2_PI) / 2 + logNormalCdf(shape * z);

/** log₂ P(X ≤ x), with its digits however small it is: Simpson's rule over the density, whose logarithm is concave, below x. */
export function log2SkewNormalCdf({ shape, location, scale }: SkewNormal, x: number): number {
  const end = (x - location) / scale;
  // The most of the density below x: its mode, or x itself.
  const peak = Math.min(end, modeOf(shape));
  const most = logDensity(peak, shape);
  let [step, start] = [1, peak];
  while (logDensity(start, shape) > most - 45) {
    start -= step;
    step *= 1.5;
  }
  const stop = Math.min(end, 40);
  const count = 4000;
  const h = (stop - start) / count;
  let sum = 0;
  for (let i = 0; i <= count; i++) {
    const weight = i === 0 || i === count ? 1 : i % 2 === 1 ? 4 : 2;
    sum += weight * Math.exp(logDensity(start + i * h, shape) - most);
  }
  return Math.min(0, (most + Math.log((sum * h) / 3)) / Math.LN2);
}

/** Where the density is largest, by ternary search, which a concave logarithm allows. */
function modeOf(shape: number): number {
  let [low, high] = [-2, 2];
  for (let i = 0; i < 100; i++) {
    const [a, b] = [low + (high - low) / 3, high - (high - low) / 3];
    if (logDensity(a, shape) < logDensity(b, shape)) low = a;
    else high = b;
  }
  return (low + high) / 2;
}

/**
 * The skew normal distribution that values are likeliest under, from where its first three moments are theirs.
 *
 * @returns undefined for values that are all alike, or fewer than 3
 */
export function fitSkewNormal(values: readonly number[]): SkewNormal | undefined {
  const n = values.length;
  const mean = values.reduce((sum, x) => sum + x, 0) / n;
  const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n);
  if (n < 3 || !(deviation > 0)) return undefined;
  const z = values.map((x) => (x - mean) / deviation);
  const skew = z.reduce((sum, x) => sum + x ** 3, 0) / n;
  // Of a skew normal at most 0.9953: beyond it the moments have no solution.
  const bounded = Math.sign(skew) * Math.min(Math.abs(skew), 0.9);
  const root = Math.abs(bounded) ** (2 / 3);
  const delta = Math.sign(bounded) * Math.sqrt(((Math.PI / 2) * root) / (root + ((4 - Math.PI) / 2) ** (2 / 3)));
  const scale = 1 / Math.sqrt(1 - (2 * delta * delta) / Math.PI);
  const location = -scale * delta * Math.sqrt(2 / Math.PI);
  const { x } = minimize(
    ([shape, at, logScale]) => {
      const size = Math.exp(logScale!);
      let value = n * logScale!;
      const gradient = [0, 0, n];
      for (const one of z) {
        const t = (one - at!) / size;
        const log = logNormalCdf(shape! * t);
        value += (t * t + LOG_2_PI) / 2 - Math.LN2 - log;
        const mills = Math.exp(-((shape! * t) ** 2 + LOG_2_PI) / 2 - log);
        const byT = t - shape! * mills;
        gradient[0]! -= t * mills;
        gradient[1]! -= byT / size;
        gradient[2]! -= byT * t;
      }
      return { value: value / n, gradient: gradient.map((g) => g / n) };
    },
    [delta / Math.sqrt(1 - delta * delta), location, Math.log(scale)],
  );
  return { shape: x[0]!, location: mean + deviation * x[1]!, scale: deviation * Math.exp(x[2]!) };
}
