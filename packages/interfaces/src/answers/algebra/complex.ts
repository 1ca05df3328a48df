/** A complex number in doubles: what expressions are worth at a point. */
export type Complex = readonly [re: number, im: number];

export const plus = (a: Complex, b: Complex): Complex => [a[0] + b[0], a[1] + b[1]];
export const times = (a: Complex, b: Complex): Complex => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
export const scaled = (a: Complex, by: number): Complex => [a[0] * by, a[1] * by];
export const size = (a: Complex): number => Math.hypot(a[0], a[1]);

export function over(a: Complex, b: Complex): Complex {
  const squares = b[0] * b[0] + b[1] * b[1];
  return [(a[0] * b[0] + a[1] * b[1]) / squares, (a[1] * b[0] - a[0] * b[1]) / squares];
}

export const exp = ([re, im]: Complex): Complex => [Math.exp(re) * Math.cos(im), Math.exp(re) * Math.sin(im)];
/** The principal branch. */
export const log = (a: Complex): Complex => [Math.log(size(a)), Math.atan2(a[1], a[0])];

export function toWhole(base: Complex, exponent: number): Complex {
  let [result, square]: [Complex, Complex] = [[1, 0], base];
  for (let n = Math.abs(exponent); n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) result = times(result, square);
    square = times(square, square);
  }
  return exponent < 0 ? over([1, 0], result) : result;
}

export const toPower = (base: Complex, exponent: Complex): Complex =>
  base[0] === 0 && base[1] === 0 ? [exponent[0] > 0 ? 0 : Number.NaN, 0] : exp(times(exponent, log(base)));

const sine = (a: Complex): Complex => [Math.sin(a[0]) * Math.cosh(a[1]), Math.cos(a[0]) * Math.sinh(a[1])];
const cosine = (a: Complex): Complex => [Math.cos(a[0]) * Math.cosh(a[1]), -Math.sin(a[0]) * Math.sinh(a[1])];
const real =
  (of: (x: number) => number) =>
  (a: Complex): Complex =>
    a[1] === 0 ? [of(a[0]), 0] : [Number.NaN, 0];
const inverse =
  (of: (a: Complex) => Complex) =>
  (a: Complex): Complex =>
    over([1, 0], of(a));
const hyperbolic =
  (sign: number) =>
  (a: Complex): Complex =>
    scaled(plus(exp(a), scaled(exp(scaled(a, -1)), sign)), 0.5);

/** Functions of one number, by the names of LaTeX. */
export const FUNCTIONS: Readonly<Record<string, (a: Complex) => Complex>> = {
  sin: sine,
  cos: cosine,
  tan: (a) => over(sine(a), cosine(a)),
  cot: (a) => over(cosine(a), sine(a)),
  sec: inverse(cosine),
  csc: inverse(sine),
  sinh: hyperbolic(-1),
  cosh: hyperbolic(1),
  tanh: (a) => over(hyperbolic(-1)(a), hyperbolic(1)(a)),
  arcsin: real(Math.asin),
  arccos: real(Math.acos),
  arctan: real(Math.atan),
  ln: log,
  log,
  lg: (a) => scaled(log(a), 1 / Math.LN10),
  exp,
  abs: (a) => [size(a), 0],
  floor: real(Math.floor),
  ceil: real(Math.ceil),
  factorial: real((x) => (Number.isInteger(x) && x >= 0 && x <= 170 ? factorial(x) : Number.NaN)),
};

function factorial(n: number): number {
  let product = 1;
  for (let i = 2; i <= n; i++) product *= i;
  return product;
}
