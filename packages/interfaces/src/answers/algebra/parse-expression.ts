import { rational } from '../rational.js';
import { FUNCTIONS } from './complex.js';
import { type Expression, HALF, INDEX, inverted, namesOf, negated, renamed } from './expression.js';

/** Nested brackets, and characters of a formula that is read. */
const DEEPEST = 40;
const LONGEST = 400;

const NUMBER = /\d+(?:\.\d+)?|\.\d+/y;
const COMMAND = /\\([a-zA-Z]+)/y;
const SUBSCRIPT = /_(?:\{([\p{L}\d+,-]+)\}|([\p{L}\d]))/uy;
const LETTERS = /\p{L}+/uy;
/** Letters that are functions where a bracket follows: `f(x)` is no product. */
const FUNCTION_LETTER = /^[fghFGHPQ]$/;
const GREEK =
  /^(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega|ell)$/;

/**
 * The formula that a spelling of `normalizeAnswer` is, or null: sums, products (written or not), quotients, powers, roots, factorials, binomials, functions, names with
 * subscripts. Natural language, and signs that mean anything else, are none.
 */
export function parseExpression(text: string): Expression | null {
  if (text === '' || text.length > LONGEST) return null;
  return new Parser(text).whole();
}

/** Recursive descent; every method gives null where the text is something else. */
class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Expression | null {
    const found = this.#sum();
    this.#skip();
    return this.#at === this.#text.length ? found : null;
  }

  #sum(): Expression | null {
    if (++this.#depth > DEEPEST) return null;
    const terms: Expression[] = [];
    for (;;) {
      let isMinus = false;
      let signs = 0;
      while (this.#next('+') || this.#next('-')) {
        if (this.#text[this.#at - 1] === '-') isMinus = !isMinus;
        if (++signs > 2) return null;
      }
      if (terms.length > 0 && signs === 0) break;
      const term = this.#product(false);
      if (!term) return null;
      terms.push(isMinus ? negated(term) : term);
    }
    this.#depth--;
    return terms.length === 1 ? terms[0]! : { kind: 'sum', terms };
  }

  /** `bare`: the argument of a function without brackets, `sin 2x`, which ends at a sign or another function. */
  #product(bare: boolean): Expression | null {
    const first = this.#power();
    if (!first) return null;
    const factors = [first];
    for (;;) {
      const start = this.#at;
      const isQuotient = !bare && (this.#next('/') || this.#next('÷'));
      const isWritten = isQuotient || (!bare && this.#next('*'));
      if (isWritten) {
        const sign = this.#next('-');
        const factor = this.#power();
        if (!factor) return null;
        const signed = sign ? negated(factor) : factor;
        factors.push(isQuotient ? inverted(signed) : signed);
        continue;
      }
      this.#skip();
      // Two numbers side by side are none, `2 3`; a digit behind a name is none either, `x2`.
      if (!this.#startsFactor(bare)) {
        this.#at = start;
        break;
      }
      const factor = this.#power();
      if (!factor) return null;
      factors.push(factor);
    }
    return factors.length === 1 ? factors[0]! : { kind: 'product', factors };
  }

  #startsFactor(bare: boolean): boolean {
    const rest = this.#text.slice(this.#at, this.#at + 12);
    if (/^[\p{L}π°({[]/u.test(rest)) return true;
    const command = /^\\([a-zA-Z]+)/.exec(rest)?.[1];
    return command !== undefined && !(bare && Object.hasOwn(FUNCTIONS, command));
  }

  #power(): Expression | null {
    const base = this.#primary();
    return base && this.#raised(base);
  }

  #raised(base: Expression): Expression | null {
    let result = base;
    for (;;) {
      if (this.#next('!')) result = { kind: 'apply', name: 'factorial', arguments: [result] };
      else if (this.#next('^')) {
        const exponent = this.#exponent();
        if (!exponent) return null;
        result = { kind: 'power', base: result, exponent };
      } else return result;
    }
  }

  #exponent(): Expression | null {
    const isMinus = this.#next('-');
    // `x^ny` is x^n times y, as LaTeX sets it.
    const letter = this.#match(/\p{L}/uy)?.[0];
    const primary: Expression | null = letter ? { kind: 'name', name: this.#named(letter) } : this.#primary();
    const exponent = primary && (this.#next('^') ? this.#tower(primary) : primary);
    return exponent && isMinus ? negated(exponent) : exponent;
  }

  #tower(base: Expression): Expression | null {
    const exponent = this.#exponent();
    return exponent && { kind: 'power', base, exponent };
  }

  #primary(): Expression | null {
    this.#skip();
    const next = this.#text[this.#at];
    if (next === undefined) return null;
    if (next === '(') return this.#group('(', ')');
    if (next === '[') return this.#group('[', ']');
    if (next === '{') return this.#group('{', '}');
    if (next === '|') return this.#absolute();
    if (next === '\\') return this.#command();
    const number = this.#match(NUMBER);
    if (number) return this.#number(number[0]);
    if (next === 'π' || next === '°') {
      this.#at++;
      return { kind: 'name', name: next };
    }
    return this.#letters();
  }

  #number(digits: string): Expression | null {
    // `204_5` is a number of another base: a name, as nobody says what it is worth.
    const base = this.#match(SUBSCRIPT);
    if (base) return { kind: 'name', name: `${digits}_${base[1] ?? base[2]}` };
    const [whole, decimals = ''] = digits.split('.') as [string, string?];
    return { kind: 'number', value: rational(BigInt(whole + decimals), 10n ** BigInt(decimals.length))! };
  }

  #letters(): Expression | null {
    const run = this.#match(LETTERS)?.[0];
    if (!run) return null;
    if (Object.hasOwn(FUNCTIONS, run)) return this.#applied(run);
    // A word: `ab` may be a product, `abc` hardly.
    if (run.length > 2) return null;
    const factors: Expression[] = [];
    for (const [i, letter] of [...run].entries()) {
      const isLast = i === [...run].length - 1;
      const name = isLast ? this.#named(letter) : letter;
      if (isLast && FUNCTION_LETTER.test(letter) && this.#text[this.#at] === '(') {
        const argument = this.#group('(', ')');
        if (!argument) return null;
        factors.push({ kind: 'apply', name: `${name}()`, arguments: [argument] });
      } else factors.push({ kind: 'name', name });
    }
    return factors.length === 1 ? factors[0]! : this.#lastRaised(factors);
  }

  /** `ab^2`: the power is of the last letter. */
  #lastRaised(factors: readonly Expression[]): Expression | null {
    const last = this.#raised(factors.at(-1)!);
    return last && { kind: 'product', factors: [...factors.slice(0, -1), last] };
  }

  #named(letter: string): string {
    const subscript = this.#match(SUBSCRIPT);
    const primes = this.#match(/'+/y)?.[0] ?? '';
    return letter + (subscript ? `_${subscript[1] ?? subscript[2]}` : '') + primes;
  }

  #command(): Expression | null {
    const name = this.#match(COMMAND)?.[1];
    if (!name) return null;
    if (Object.hasOwn(FUNCTIONS, name)) return this.#applied(name);
    if (GREEK.test(name)) return { kind: 'name', name: this.#named(`\\${name}`) };
    if (name === 'frac' || name === 'binom') {
      const [top, bottom] = [this.#group('{', '}'), this.#group('{', '}')];
      if (!top || !bottom) return null;
      if (name === 'binom') return { kind: 'apply', name, arguments: [top, bottom] };
      return { kind: 'product', factors: [top, inverted(bottom)] };
    }
    if (name === 'sqrt') {
      const degree = this.#text[this.#at] === '[' ? this.#group('[', ']') : undefined;
      const radicand = this.#primary();
      if (!radicand || degree === null) return null;
      return { kind: 'power', base: radicand, exponent: degree ? inverted(degree) : HALF };
    }
    if (name === 'sum' || name === 'prod') return this.#series(name);
    if (name === 'lfloor' || name === 'lceil') {
      const inner = this.#sum();
      const close = this.#match(COMMAND)?.[1];
      if (!inner || close !== name.replace('l', 'r')) return null;
      return { kind: 'apply', name: name === 'lfloor' ? 'floor' : 'ceil', arguments: [inner] };
    }
    return null;
  }

  /** `\sum_{k=1}^{n} f(k)`: its arguments are the term, in which the index has a name of its own, the ends, and that name. */
  #series(name: string): Expression | null {
    if (!this.#next('_') || !this.#next('{')) return null;
    this.#skip();
    const index = this.#match(/\p{L}/uy)?.[0];
    if (!index || !this.#next('=')) return null;
    const low = this.#sum();
    if (!low || !this.#next('}') || !this.#next('^')) return null;
    const high = this.#exponent();
    const term = high && this.#product(false);
    if (!term) return null;
    const inner = namesOf(term).filter((one) => one.startsWith(INDEX)).length;
    const own = `${INDEX}${inner}`;
    return { kind: 'apply', name, arguments: [renamed(term, index, own), low, high, { kind: 'name', name: own }] };
  }

  #applied(name: string): Expression | null {
    const base = name === 'log' && this.#next('_') ? this.#primary() : undefined;
    if (base === null) return null;
    const exponent = this.#next('^') ? this.#exponent() : undefined;
    if (exponent === null) return null;
    this.#skip();
    const isBracketed = '([{|'.includes(this.#text[this.#at] ?? ' ');
    const argument = isBracketed ? this.#primary() : this.#product(true);
    if (!argument) return null;
    // `sin^{-1} x` is the inverse function.
    const isInverse = exponent?.kind === 'product' && /^(?:sin|cos|tan)$/.test(name);
    const called: Expression = {
      kind: 'apply',
      name: isInverse ? `arc${name}` : name,
      arguments: base ? [argument, base] : [argument],
    };
    return exponent && !isInverse ? { kind: 'power', base: called, exponent } : called;
  }

  #absolute(): Expression | null {
    this.#at++;
    const end = this.#text.indexOf('|', this.#at);
    if (end < 0) return null;
    const inner = parseExpression(this.#text.slice(this.#at, end));
    this.#at = end + 1;
    return inner && { kind: 'apply', name: 'abs', arguments: [inner] };
  }

  #group(open: string, close: string): Expression | null {
    this.#skip();
    if (this.#text[this.#at] !== open) return null;
    this.#at++;
    const inner = this.#sum();
    return inner && this.#next(close) ? inner : null;
  }

  #next(sign: string): boolean {
    this.#skip();
    if (this.#text[this.#at] !== sign) return false;
    this.#at++;
    return true;
  }

  #skip(): void {
    while (this.#text[this.#at] === ' ') this.#at++;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found) this.#at = pattern.lastIndex;
    return found;
  }
}
