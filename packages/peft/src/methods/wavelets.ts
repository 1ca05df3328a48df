/** The filters with which a wavelet transform is undone; both of one even length. */
export interface Wavelet {
  readonly low: readonly number[];
  readonly high: readonly number[];
}

/** Of more vanishing moments the roots of the polynomial are too near each other for float64. */
const MOST_MOMENTS = 10;
const ITERATIONS = 500;

/** The families that there are, with their vanishing moments: the first symlets are Daubechies' own. */
export const WAVELETS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Array.from({ length: MOST_MOMENTS }, (_, i) => [`db${i + 1}`, i + 1])),
  ...{ sym2: 2, sym3: 3 },
};

interface Complex {
  readonly re: number;
  readonly im: number;
}

const plus = (a: Complex, b: Complex): Complex => ({ re: a.re + b.re, im: a.im + b.im });
const minus = (a: Complex, b: Complex): Complex => ({ re: a.re - b.re, im: a.im - b.im });
const times = (a: Complex, b: Complex): Complex => ({ re: a.re * b.re - a.im * b.im, im: a.re * b.im + a.im * b.re });
const over = (a: Complex, b: Complex): Complex => {
  const size = b.re * b.re + b.im * b.im;
  return { re: (a.re * b.re + a.im * b.im) / size, im: (a.im * b.re - a.re * b.im) / size };
};

/** The square root with the real part of at least zero. */
function root({ re, im }: Complex): Complex {
  const size = Math.hypot(re, im);
  const real = Math.sqrt((size + re) / 2);
  return { re: real, im: Math.sign(im || 1) * Math.sqrt((size - re) / 2) };
}

/**
 * Daubechies' wavelet of n vanishing moments (Ten Lectures on Wavelets, chapter 6), of extremal phase: the low-pass filter is
 * (1 + z)ⁿ Π (z − z_i), of length 2 n and sum √2, where the z_i are the roots inside the unit circle of Σ_{k<n} C(n − 1 + k, k) y^k at
 * y = (2 − z − 1/z) / 4. The high-pass filter is (−1)^k low[2 n − 1 − k].
 */
export function daubechies(n: number): Wavelet {
  const inside = rootsOf(Array.from({ length: n }, (_, k) => choose(n - 1 + k, k))).map((y) => {
    // z + 1/z = 2 − 4 y, of which one solution is inside.
    const half = { re: 1 - 2 * y.re, im: -2 * y.im };
    const far = root(minus(times(half, half), { re: 1, im: 0 }));
    const [one, other] = [plus(half, far), minus(half, far)];
    return Math.hypot(one.re, one.im) < 1 ? one : other;
  });
  const factors = [...Array(n).fill({ re: -1, im: 0 }), ...inside] as Complex[];
  const product = factors.reduce<Complex[]>(
    (polynomial, at) =>
      Array.from({ length: polynomial.length + 1 }, (_, i) =>
        minus(polynomial[i] ?? { re: 0, im: 0 }, times(at, polynomial[i - 1] ?? { re: 0, im: 0 })),
      ),
    [{ re: 1, im: 0 }],
  );
  const sum = product.reduce((total, { re }) => total + re, 0);
  const low = product.map(({ re }) => (Math.SQRT2 * re) / sum);
  const high = low.map((_, k) => (k % 2 === 0 ? 1 : -1) * low[2 * n - 1 - k]!);
  return { low, high };
}

/** All roots of Σ c_k x^k by Durand's and Kerner's iteration. */
function rootsOf(coefficients: readonly number[]): Complex[] {
  const degree = coefficients.length - 1;
  const lead = coefficients[degree]!;
  const value = (x: Complex) =>
    coefficients.reduceRight<Complex>((sum, c) => plus(times(sum, x), { re: c / lead, im: 0 }), { re: 0, im: 0 });
  let roots = Array.from({ length: degree }, (_, i): Complex => ({ re: 0.4 * Math.cos(1 + (2 * Math.PI * i) / degree), im: 0.4 * Math.sin(1 + (2 * Math.PI * i) / degree) })); // biome-ignore format: a point
  for (let step = 0; step < ITERATIONS; step++) {
    roots = roots.map((x, i) => {
      const apart = roots.reduce<Complex>((all, other, j) => (i === j ? all : times(all, minus(x, other))), {
        re: 1,
        im: 0,
      });
      return minus(x, over(value(x), apart));
    });
  }
  return roots;
}

function choose(n: number, k: number): number {
  let result = 1;
  for (let i = 1; i <= k; i++) result = (result * (n - k + i)) / i;
  return Math.round(result);
}
