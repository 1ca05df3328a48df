import { add, multiply, power, type Rational, rational, rationalToNumber, spellRational } from '../rational.js';
import { type Complex, exp, FUNCTIONS, log, over, plus, scaled, size, times, toPower, toWhole } from './complex.js';
import { type Expression, INDEX, mapNames, namesOf } from './expression.js';

/** What a product of atoms is worth where names have values. */
export type Point = (name: string) => Complex;

/** What is not taken apart any further: a name, π, a root of a prime, a function of a normal form, a sum to a power. */
interface Atom {
  readonly key: string;
  /** Different products of such atoms are different functions: names and π. */
  readonly free: boolean;
  /** n and a prime p for p^(1/n), whose n-th power is p; p = −1 for i. */
  readonly root?: readonly [degree: number, of: bigint];
  evaluate(point: Point): Complex;
}

interface Term {
  readonly coefficient: Rational;
  readonly powers: readonly (readonly [atom: Atom, exponent: number])[];
}

/** A sum of products of atoms with rational coefficients, like products put together. Equal forms are equal; forms of names and π only that differ are not. */
export type NormalForm = ReadonlyMap<string, Term>;

/** A formula that divides by 0, or grows beyond what is compared. */
class NoForm extends Error {}
const MOST_TERMS = 200;
const LARGEST_EXPONENT = 64;
const MOST_DIGITS = 400;
const LARGEST_FACTORED = 10n ** 12n;
/** Characters of an atom: nested powers of sums grow with every level. */
const LONGEST_KEY = 2000;

const ONE: Rational = { numerator: 1n, denominator: 1n };
const constant = (value: Rational): NormalForm => form([{ coefficient: value, powers: [] }]);

const keyOf = (powers: Term['powers']): string => powers.map(([atom, exponent]) => `${atom.key}^${exponent}`).join('*');

function form(terms: Iterable<Term>): Map<string, Term> {
  const sum = new Map<string, Term>();
  for (const term of terms) {
    const key = keyOf(term.powers);
    const known = sum.get(key);
    const coefficient = known ? add(known.coefficient, term.coefficient) : term.coefficient;
    if (String(coefficient.numerator).length > MOST_DIGITS) throw new NoForm();
    if (coefficient.numerator === 0n) sum.delete(key);
    else sum.set(key, { coefficient, powers: term.powers });
  }
  if (sum.size > MOST_TERMS) throw new NoForm();
  return sum;
}

const sumOf = (forms: readonly NormalForm[]): NormalForm => form(forms.flatMap((one) => [...one.values()]));
const timesNumber = (of: NormalForm, by: Rational): NormalForm =>
  form([...of.values()].map(({ coefficient, powers }) => ({ coefficient: multiply(coefficient, by), powers })));

/** one − other. */
const difference = (one: NormalForm, other: NormalForm): NormalForm => sumOf([one, timesNumber(other, rational(-1n)!)]);

function productOf(one: NormalForm, other: NormalForm): NormalForm {
  if (one.size * other.size > 10 * MOST_TERMS) throw new NoForm();
  const terms: Term[] = [];
  for (const a of one.values())
    for (const b of other.values())
      terms.push(termOf(multiply(a.coefficient, b.coefficient), [...a.powers, ...b.powers]));
  return form(terms);
}

/** Like atoms put together, and roots that are whole taken out. */
function termOf(given: Rational, factors: Term['powers']): Term {
  const exponents = new Map<string, [Atom, number]>();
  for (const [atom, exponent] of factors) {
    const known = exponents.get(atom.key);
    if (known) known[1] += exponent;
    else exponents.set(atom.key, [atom, exponent]);
  }
  let coefficient = given;
  const powers: [Atom, number][] = [];
  for (const [atom, exponent] of exponents.values()) {
    if (Math.abs(exponent) > LARGEST_EXPONENT) throw new NoForm();
    let left = exponent;
    if (atom.root) {
      const [degree, of] = atom.root;
      left = ((exponent % degree) + degree) % degree;
      coefficient = multiply(coefficient, power(rational(of)!, (exponent - left) / degree)!);
    }
    if (left !== 0) powers.push([atom, left]);
  }
  return { coefficient, powers: powers.sort(([a], [b]) => (a.key < b.key ? -1 : 1)) };
}

const single = (atom: Atom, exponent = 1): NormalForm => form([termOf(ONE, [[atom, exponent]])]);
const numberOf = (of: NormalForm): Rational | null => {
  if (of.size === 0) return rational(0n);
  const only = of.get('');
  return of.size === 1 && only ? only.coefficient : null;
};
function spell(of: NormalForm): string {
  const terms = [...of].map(([key, { coefficient }]) => `${spellRational(coefficient)}·${key}`);
  if (terms.reduce((sum, term) => sum + term.length, 0) > LONGEST_KEY) throw new NoForm();
  return terms.sort().join('+');
}

/** The normal form of an expression; null where it has none: it divides by 0, or is too large. */
export function normalForm(of: Expression): NormalForm | null {
  try {
    return normalize(of);
  } catch (error) {
    if (error instanceof NoForm) return null;
    throw error;
  }
}

function normalize(of: Expression): NormalForm {
  if (of.kind === 'number') return constant(of.value);
  if (of.kind === 'name') return single(nameAtom(of.name));
  if (of.kind === 'sum') return sumOf(of.terms.map(normalize));
  if (of.kind === 'product') return of.factors.map(normalize).reduce(productOf, constant(ONE));
  if (of.kind === 'power') return raise(normalize(of.base), normalize(of.exponent));
  if (of.name === 'sum' || of.name === 'prod') return series(of.name, of.arguments);
  return apply(of.name, of.arguments.map(normalize));
}

/** Terms of a sum or product that are written out. */
const MOST_WRITTEN_OUT = 100;

/** A sum or product over a range: written out where its ends are whole numbers, else a function of its term and ends. */
function series(name: string, [term, low, high, index]: readonly Expression[]): NormalForm {
  const own = index?.kind === 'name' ? index.name : INDEX;
  const ends = [normalize(low!), normalize(high!)] as const;
  const [from, to] = ends.map((end) => numberOf(end));
  const isWhole = from?.denominator === 1n && to?.denominator === 1n;
  const isIndexed = namesOf(term!).some((variable) => variable !== own && variable.includes(own));
  if (isWhole && !isIndexed && to.numerator - from.numerator < MOST_WRITTEN_OUT) {
    const terms: Expression[] = [];
    for (let i = from.numerator; i <= to.numerator; i++) {
      const value: Expression = { kind: 'number', value: rational(i)! };
      terms.push(mapNames(term!, (of) => (of === own ? value : { kind: 'name', name: of })));
    }
    return normalize(name === 'sum' ? { kind: 'sum', terms } : { kind: 'product', factors: terms });
  }
  const parts = [normalize(term!), ...ends];
  const evaluateAt = (point: Point) =>
    parts.map((part, i) => unknownFunction(`${name}${i}`, evaluate(part, point).value)).reduce(times);
  return single({ key: `${name}(${parts.map(spell).join(',')})`, free: false, evaluate: evaluateAt });
}

const I: Atom = { key: 'i', free: false, root: [2, -1n], evaluate: () => [0, 1] };

function nameAtom(name: string): Atom {
  if (name === 'i') return I;
  if (name === 'π') return { key: 'π', free: true, evaluate: () => [Math.PI, 0] };
  if (name === 'e') return { key: 'e', free: false, evaluate: () => [Math.E, 0] };
  return { key: name, free: true, evaluate: (point) => point(name) };
}

function raise(base: NormalForm, exponent: NormalForm): NormalForm {
  const n = numberOf(exponent);
  const value = numberOf(base);
  if (value?.numerator === 0n && !(n && n.numerator > 0n)) throw new NoForm();
  if (!n) return single(powerAtom(base, exponent));
  if (n.denominator !== 1n) return root(base, n);
  const whole = Number(n.numerator);
  if (Math.abs(whole) > LARGEST_EXPONENT) {
    if (value && Math.abs(whole) <= 1000 && String(value.numerator).length * Math.abs(whole) <= MOST_DIGITS)
      return constant(power(value, whole)!);
    return single(powerAtom(base, exponent));
  }
  if (base.size === 1) {
    const [{ coefficient, powers }] = [...base.values()] as [Term];
    if (String(coefficient.numerator * coefficient.denominator).length * Math.abs(whole) > MOST_DIGITS)
      throw new NoForm();
    return form([
      termOf(
        power(coefficient, whole)!,
        powers.map(([atom, e]) => [atom, e * whole] as const),
      ),
    ]);
  }
  if (whole >= 0 && whole <= 8) {
    let result = constant(ONE);
    for (let i = 0; i < whole; i++) result = productOf(result, base);
    return result;
  }
  // (2x + 2)^−1 is ½ (x + 1)^−1.
  const lead = leadOf(base);
  const monic = timesNumber(base, power(lead, -1)!);
  const atom: Atom = { key: `(${spell(monic)})`, free: false, evaluate: (point) => evaluate(monic, point).value };
  return form([termOf(power(lead, whole)!, [[atom, whole]])]);
}

const leadOf = (of: NormalForm): Rational => [...of].sort(([a], [b]) => (a < b ? -1 : 1))[0]![1].coefficient;

const powerAtom = (base: NormalForm, exponent: NormalForm): Atom => ({
  key: `(${spell(base)})^(${spell(exponent)})`,
  free: false,
  evaluate: (point) => toPower(evaluate(base, point).value, evaluate(exponent, point).value),
});

/** A power that is no whole one: of numbers by their primes, of others the positive factor taken out. */
function root(base: NormalForm, exponent: Rational): NormalForm {
  const degree = Number(exponent.denominator);
  const times = Number(exponent.numerator);
  if (degree > 12 || Math.abs(times) > LARGEST_EXPONENT) return single(powerAtom(base, constant(exponent)));
  const value = numberOf(base);
  if (value && (value.numerator > 0n || degree === 2)) return numberRoot(value, degree, times);
  if (value) return single(powerAtom(base, constant(exponent)));
  const content = contentOf(base);
  const inner = timesNumber(base, power(content, -1)!);
  return productOf(numberRoot(content, degree, times), single(powerAtom(inner, constant(exponent))));
}

/** The greatest positive number that is in all coefficients. */
function contentOf(of: NormalForm): Rational {
  const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));
  const positive = (a: bigint) => (a < 0n ? -a : a);
  let [top, bottom] = [0n, 1n];
  for (const { coefficient } of of.values()) {
    top = gcd(top, positive(coefficient.numerator));
    bottom = (bottom * coefficient.denominator) / gcd(bottom, coefficient.denominator);
  }
  return rational(top, bottom)!;
}

function numberRoot(value: Rational, degree: number, exponent: number): NormalForm {
  let powers: (readonly [Atom, number])[] = [];
  if (value.numerator < 0n) powers.push([I, exponent]);
  const whole = value.numerator < 0n ? -value.numerator : value.numerator;
  for (const [number, sign] of [
    [whole, 1],
    [value.denominator, -1],
  ] as const) {
    for (const [prime, count] of primesOf(number))
      powers = [...powers, [rootAtom(prime, degree), sign * count * exponent]];
  }
  return form([termOf(ONE, powers)]);
}

function rootAtom(prime: bigint, degree: number): Atom {
  const value = Number(prime) ** (1 / degree);
  return { key: `root${degree}(${prime})`, free: false, root: [degree, prime], evaluate: () => [value, 0] };
}

/** Prime factors by trial; of a number too large for it, what is left. */
function primesOf(number: bigint): Map<bigint, number> {
  const primes = new Map<bigint, number>();
  let left = number;
  if (left > LARGEST_FACTORED) return primes.set(left, 1);
  for (let p = 2n; p * p <= left; p += p === 2n ? 1n : 2n) {
    while (left % p === 0n) {
      primes.set(p, (primes.get(p) ?? 0) + 1);
      left /= p;
    }
  }
  if (left > 1n) primes.set(left, (primes.get(left) ?? 0) + 1);
  return primes;
}

function apply(name: string, given: readonly NormalForm[]): NormalForm {
  const [argument, second] = given as [NormalForm, NormalForm?];
  const [value, other] = [numberOf(argument), second && numberOf(second)];
  const whole = value?.denominator === 1n && value.numerator >= 0n && value.numerator <= 170n ? value.numerator : null;
  if (name === 'factorial' && whole !== null) return constant(rational(factorial(whole))!);
  if (name === 'binom') {
    const k = other?.denominator === 1n && other.numerator >= 0n ? other.numerator : null;
    if (whole !== null && k !== null && k <= whole)
      return constant(rational(factorial(whole), factorial(k) * factorial(whole - k))!);
    throw new NoForm();
  }
  if (name === 'abs' && value)
    return constant(value.numerator < 0n ? { ...value, numerator: -value.numerator } : value);
  if (name === 'exp') return raise(single(nameAtom('e')), argument);
  const of = FUNCTIONS[name];
  const key = `${name}(${given.map(spell).join(',')})`;
  const evaluateAt = (point: Point): Complex => {
    const at = evaluate(argument, point).value;
    if (second) return over(log(at), log(evaluate(second, point).value));
    // A function that nobody knows: some number that depends on its name and argument.
    return of ? of(at) : unknownFunction(name, at);
  };
  return single({ key, free: false, evaluate: evaluateAt });
}

const factorial = (n: bigint): bigint => (n <= 1n ? 1n : n * factorial(n - 1n));

function unknownFunction(name: string, at: Complex): Complex {
  const seed = [...name].reduce((sum, letter) => sum + letter.codePointAt(0)!, 0);
  return plus(exp(scaled(times(at, [0, 1]), 0.7 + (seed % 17) / 10)), [1.3, 0.2]);
}

/** The value of a form, and the sum of the sizes of its terms, which says how many digits are left. */
export function evaluate(of: NormalForm, point: Point): { readonly value: Complex; readonly scale: number } {
  let value: Complex = [0, 0];
  let scale = 0;
  for (const { coefficient, powers } of of.values()) {
    let product: Complex = [rationalToNumber(coefficient), 0];
    for (const [atom, exponent] of powers) product = times(product, toWhole(atom.evaluate(point), exponent));
    value = plus(value, product);
    scale += size(product);
  }
  return { value, scale };
}

/** Names that a form depends on, by its terms' own atoms only. */
export const variablesOf = (of: Expression): Set<string> =>
  new Set(namesOf(of).filter((name) => !/^(?:[ieπ°]|#.*)$/u.test(name)));

const POINTS = 6;
/** Below this part of its terms, a sum is 0 but for rounding. */
const ROUNDING = 1e-10;

/** Values of names, of both signs, that depend on nothing but the name and the number of the point. */
function pointAt(number: number): Point {
  return (name) => {
    let hash = 2166136261 ^ number;
    for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0)!, 16777619);
    hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
    hash ^= hash >>> 13;
    const share = (hash >>> 1) / 2 ** 31;
    return [(hash & 1 ? 1 : -1) * (0.35 + 2.3 * share), 0];
  };
}

/** What forms are at points where all of them, or the first `needed`, have a value. */
export function valuesOf(
  forms: readonly NormalForm[],
  needed = forms.length,
): { readonly value: Complex; readonly scale: number }[][] {
  return Array.from({ length: POINTS }, (_, number) => forms.map((one) => evaluate(one, pointAt(number)))).filter(
    (values) => values.slice(0, needed).every(({ value, scale }) => Number.isFinite(value[0] + value[1] + scale)),
  );
}

/** Terms that cancel each other: by so much they may be larger than what is left for it to be known, and for rounding to be measured by them. */
const MOST_CANCELLED = 1e6;
const MOST_ROUNDED = 100;

/** Whether a form is another, times `by`, everywhere: exactly where they are of names and π only, else at points. */
export function isSameForm(one: NormalForm, given: NormalForm, by: Rational = ONE): boolean {
  const forms = compared(one, given, by);
  if (!forms) return false;
  const [rest, other] = forms;
  if (rest.size === 0) return true;
  if ([...rest.values()].every(({ powers }) => powers.every(([atom]) => atom.free))) return false;
  const least = one.size === 0 || other.size === 0 ? 1 : 0;
  const values = valuesOf([rest, one, other], 1);
  return (
    values.length >= 2 &&
    values.every(([at, a, b]) => {
      const { value, scale } = at!;
      const own = Math.max(least, size(a!.value), size(b!.value));
      const largest = Number.isFinite(own) ? own : scale;
      return scale <= MOST_CANCELLED * largest && size(value) <= ROUNDING * Math.min(scale, MOST_ROUNDED * largest);
    })
  );
}

/** one − by · other, and by · other; null where they grow beyond what is compared. */
function compared(one: NormalForm, given: NormalForm, by: Rational): readonly [NormalForm, NormalForm] | null {
  try {
    const other = timesNumber(given, by);
    return [difference(one, other), other];
  } catch (error) {
    if (error instanceof NoForm) return null;
    throw error;
  }
}
