import { PYTHON_SPACE } from '@posttrain/interfaces/python';
import { EvaluationError } from '../errors.js';

const WORD = '\\p{L}\\p{N}_';
const START = '(?<![\\s\\S])';
const END = '(?![\\s\\S])';

/** What an escape of Python's `re` is; inside brackets it may only be what a class can hold. */
const CLASSES: Readonly<Record<string, string>> = {
  d: '[\\p{Nd}]',
  D: '[^\\p{Nd}]',
  w: `[${WORD}]`,
  W: `[^${WORD}]`,
  s: `[${PYTHON_SPACE}]`,
  S: `[^${PYTHON_SPACE}]`,
};
const CONTROLS: Readonly<Record<string, string>> = {
  n: '\\n',
  r: '\\r',
  t: '\\t',
  f: '\\f',
  v: '\\v',
  a: '\\x07',
};
const PLACES: Readonly<Record<string, string>> = {
  A: START,
  Z: END,
  b: `(?:(?<=[${WORD}])(?![${WORD}])|(?<![${WORD}])(?=[${WORD}]))`,
  B: `(?:(?<=[${WORD}])(?=[${WORD}])|(?<![${WORD}])(?![${WORD}]))`,
};

/**
 * A pattern of Python's `re` (3.11, of `str`) as a global regular expression that finds the same: `\d`, `\w`, `\s` and `\b` are Unicode's, `$` also
 * stands before a last line end, `.` stops at `\n` only, flags may stand at the start. What JavaScript cannot do is refused by name: verbose
 * patterns, conditions, atomic groups, possessive quantifiers, flags of a part, escapes of other engines.
 *
 * @throws EvaluationError `PYTHON_PATTERN`
 */
export function pythonPattern(source: string): RegExp {
  return new Translator(source).translate();
}

/** `re.findall(pattern, text)`, with one text for a match: the only group, or of several the first that is not empty (`null`: all are). */
export function findAll(pattern: RegExp, text: string): (string | null)[] {
  return [...text.matchAll(pattern)].map((match) => {
    if (match.length === 1) return match[0];
    if (match.length === 2) return match[1] ?? '';
    return match.slice(1).find((group) => group) ?? null;
  });
}

class Translator {
  readonly #source: string;
  #at = 0;
  #flags = '';

  constructor(source: string) {
    this.#source = source;
  }

  translate(): RegExp {
    const given = /^\(\?([aiLmsux]+)\)/.exec(this.#source);
    if (given) {
      this.#flags = given[1]!;
      const other = [...this.#flags].find((flag) => !'imsu'.includes(flag));
      if (other) this.#refuse(`the flag ${other}`);
      this.#at = given[0].length;
    }
    let result = '';
    while (this.#at < this.#source.length) result += this.#next();
    try {
      return new RegExp(result, this.#flags.includes('i') ? 'giv' : 'gv');
    } catch (error) {
      throw this.#error(`it is no pattern (${(error as Error).message})`, error);
    }
  }

  #next(): string {
    const rest = this.#source.slice(this.#at);
    const one = String.fromCodePoint(rest.codePointAt(0)!);
    const quantifier = /^(?:[*+?]|\{\d*,?\d*\})/.exec(rest)?.[0];
    if (quantifier !== undefined && /^(?:[*+?]|\{(?:\d+,?\d*|,\d+)\})$/.test(quantifier)) {
      if (rest[quantifier.length] === '+') this.#refuse('possessive quantifiers');
      this.#at += quantifier.length;
      return quantifier.replace('{,', '{0,');
    }
    if (one === '(') return this.#group(rest);
    this.#at += one.length;
    switch (one) {
      case '\\':
        return this.#escape(false);
      case '[':
        return this.#class();
      case '.':
        return this.#flags.includes('s') ? '[\\s\\S]' : '[^\\n]';
      case '^':
        return this.#flags.includes('m') ? `(?<=\\n|${START})` : START;
      case '$':
        return this.#flags.includes('m') ? `(?=\\n|${END})` : `(?=\\n?${END})`;
      case ')':
      case '|':
        return one;
      default:
        return literal(one);
    }
  }

  #group(rest: string): string {
    const take = (text: string, as = text) => {
      this.#at += text.length;
      return as;
    };
    if (!rest.startsWith('(?')) return take('(');
    const comment = /^\(\?#[^)]*\)/.exec(rest);
    if (comment) return take(comment[0], '');
    const named = /^\(\?P<([\p{L}_][\p{L}\p{N}_]*)>/u.exec(rest);
    if (named) return take(named[0], `(?<${named[1]}>`);
    const back = /^\(\?P=([\p{L}_][\p{L}\p{N}_]*)\)/u.exec(rest);
    if (back) return take(back[0], `\\k<${back[1]}>`);
    const plain = /^\(\?(?::|=|!|<=|<!)/.exec(rest);
    if (plain) return take(plain[0]);
    return this.#refuse(rest.startsWith('(?>') ? 'atomic groups' : `the group ${rest.slice(0, 4)}…`);
  }

  /** Behind a backslash. */
  #escape(inClass: boolean): string {
    const rest = this.#source.slice(this.#at);
    const one = rest === '' ? '' : String.fromCodePoint(rest.codePointAt(0)!);
    if (one === '') throw this.#error('it ends in a backslash');
    const coded = /^(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|0([0-7]{0,2})|([1-3][0-7]{2}))/.exec(rest);
    if (coded) {
      this.#at += coded[0].length;
      const hexadecimal = coded[1] ?? coded[2] ?? coded[3];
      const code =
        hexadecimal === undefined
          ? Number.parseInt(coded[4] ?? coded[5] ?? '', 8) || 0
          : Number.parseInt(hexadecimal, 16);
      return `\\u{${code.toString(16)}}`;
    }
    const group = inClass ? null : /^[1-9]\d?/.exec(rest);
    if (group) {
      this.#at += group[0].length;
      return `(?:\\${group[0]})`;
    }
    this.#at += one.length;
    if (one in CLASSES) return CLASSES[one]!;
    if (one in CONTROLS) return CONTROLS[one]!;
    if (inClass && one === 'b') return '\\x08';
    if (!inClass && one in PLACES) return PLACES[one]!;
    if (/[A-Za-z0-9]/.test(one)) throw this.#error(`the escape \\${one} is none of Python's`);
    return literal(one);
  }

  /** Behind `[`. */
  #class(): string {
    let result = '[';
    if (this.#source[this.#at] === '^') {
      result += '^';
      this.#at++;
    }
    for (let first = true; ; first = false) {
      const one = this.#source.slice(this.#at, this.#at + 2);
      if (one === '') throw this.#error('a [ has no ]');
      if (one[0] === ']' && !first) break;
      const low = this.#member();
      const isRange =
        this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']' && this.#at + 1 < this.#source.length;
      if (!isRange) {
        result += low;
        continue;
      }
      this.#at++;
      const high = this.#member();
      if (low.startsWith('[') || high.startsWith('['))
        throw this.#error('a range of a class ends in more than one character');
      result += `${low}-${high}`;
    }
    this.#at++;
    return `${result}]`;
  }

  #member(): string {
    const one = String.fromCodePoint(this.#source.codePointAt(this.#at)!);
    this.#at += one.length;
    return one === '\\' ? this.#escape(true) : literal(one);
  }

  #refuse(what: string): never {
    throw this.#error(`${what} cannot be carried over`);
  }

  #error(problem: string, cause?: unknown): EvaluationError {
    const shown = JSON.stringify(this.#source);
    return new EvaluationError('PYTHON_PATTERN', `The pattern ${shown} of Python: ${problem}.`, { cause });
  }
}

/** A character for itself, in a class or outside. */
const literal = (one: string): string => (/[\p{L}\p{N}]/u.test(one) ? one : `\\u{${one.codePointAt(0)!.toString(16)}}`);
