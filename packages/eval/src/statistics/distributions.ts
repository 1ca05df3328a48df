/** Distributions that tests and intervals stand on, in double precision. */

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** ln Γ(x) for x > 0 (Lanczos 1964, g = 7). */
export function logGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const shifted = x - 1;
  const t = shifted + 7.5;
  const series = LANCZOS.reduce((sum, c, i) => (i === 0 ? c : sum + c / (shifted + i)), 0);
  return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(t) - t + Math.log(series);
}

/** I_x(a, b), the cumulative share of Beta(a, b) at x: Lentz's continued fraction on the side where it converges. */
export function betaCdf(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - betaCdf(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  let [c, d] = [1, 1 / atLeastTiny(1 - ((a + b) * x) / (a + 1))];
  let fraction = d;
  for (let m = 1; m < 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / atLeastTiny(1 + even * d);
    c = atLeastTiny(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / atLeastTiny(1 + odd * d);
    c = atLeastTiny(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return Math.min(1, front * fraction);
}

const atLeastTiny = (value: number): number => (Math.abs(value) < 1e-300 ? 1e-300 : value);

/** P(Z ≤ z): Φ by its series near 0, by Laplace's continued fraction in the tails, which keep their digits. */
export function normalCdf(z: number): number {
  if (z > 0) return z > 40 ? 1 : 1 - normalCdf(-z);
  if (z < -40) return 0;
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < -3) {
    let fraction = -z;
    for (let n = 200; n >= 1; n--) fraction = -z + n / fraction;
    return density / fraction;
  }
  let [term, sum] = [z, z];
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (z * z) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + density * sum;
}

/** P(T ≤ t) of Student's t with `degrees` of freedom. */
export function studentCdf(t: number, degrees: number): number {
  const tail = betaCdf(degrees / (degrees + t * t), degrees / 2, 0.5) / 2;
  return t < 0 ? tail : 1 - tail;
}

/** z with Φ(z) = p. */
export const normalQuantile = (p: number): number =>
  p > 0.5 ? -normalQuantile(1 - p) : p === 0.5 ? 0 : whereRising((z) => normalCdf(z), p, -40, 0);

/** t with P(T ≤ t) = p. */
export const studentQuantile = (p: number, degrees: number): number => {
  if (p > 0.5) return -studentQuantile(1 - p, degrees);
  let low = -1;
  while (studentCdf(low, degrees) > p) low *= 2;
  return whereRising((t) => studentCdf(t, degrees), p, low, 0);
};

/** x with I_x(a, b) = p. */
export const betaQuantile = (p: number, a: number, b: number): number => whereRising((x) => betaCdf(x, a, b), p, 0, 1);

/** Where a function that rises reaches a value, by bisection down to the last digits. */
export function whereRising(of: (x: number) => number, value: number, from: number, to: number): number {
  let [low, high] = [from, to];
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (of(middle) < value) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
