/** A regular expression as a tree. */
export type RegexNode =
  | { readonly type: 'character'; matches(code: number): boolean }
  | { readonly type: 'sequence'; readonly items: readonly RegexNode[] }
  | { readonly type: 'choice'; readonly options: readonly RegexNode[] }
  | { readonly type: 'repeat'; readonly item: RegexNode; readonly min: number; readonly max: number }
  | { readonly type: 'edge'; readonly edge: 'start' | 'end' | 'word' | 'not word' }
  | { readonly type: 'look'; readonly item: RegexNode; readonly behind: boolean; readonly negated: boolean };

/** What is wrong with a pattern. Only thrown and caught between these files. */
export class RegexProblem extends Error {}

interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  readonly multiline: boolean;
}

const MAX_DEPTH = 100;
const MAX_LENGTH = 10_000;

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isWord = (code: number): boolean => /[\p{L}\p{N}_]/u.test(String.fromCodePoint(code));
/** Python's white space is that of JavaScript, and the separators of ASCII and NEL, but no byte order mark. */
const isSpace = (code: number): boolean =>
  (code >= 0x1c && code <= 0x1f) || code === 0x85 || (code !== 0xfeff && /\s/.test(String.fromCodePoint(code)));
const CLASSES: Readonly<Record<string, (code: number) => boolean>> = { d: isDigit, w: isWord, s: isSpace };
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, a: 7 };
const HEXADECIMAL: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/**
 * Parses a pattern in the syntax of Python's `re`, but for back-references, conditional and atomic groups and the flags L and
 * x, which are refused.
 *
 * @throws RegexProblem
 */
export function parsePythonRegex(pattern: string): RegexNode {
  if (pattern.length > MAX_LENGTH)
    throw new RegexProblem(`it has ${pattern.length} characters, more than ${MAX_LENGTH}`);
  return new Parser(pattern).parse();
}

class Parser {
  readonly #text: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#text = [...pattern];
  }

  parse(): RegexNode {
    const global = this.#takeMatch(/^\(\?([a-zA-Z]+)\)/);
    const flags = this.#withFlags({ ignoreCase: false, dotAll: false, multiline: false }, global?.[1] ?? '', true);
    const node = this.#choice(flags);
    if (this.#at < this.#text.length) throw new RegexProblem('a ) without its (');
    return node;
  }

  get #next(): string {
    return this.#text[this.#at] ?? '';
  }

  #takeIf(text: string): boolean {
    if (!this.#rest(text.length).startsWith(text)) return false;
    this.#at += text.length;
    return true;
  }

  /** The text ahead, of which no more than a few characters are ever looked at. */
  #rest(length: number): string {
    return this.#text.slice(this.#at, this.#at + length).join('');
  }

  #takeMatch(expression: RegExp): RegExpExecArray | undefined {
    const found = expression.exec(this.#rest(200));
    if (found) this.#at += [...found[0]].length;
    return found ?? undefined;
  }

  #withFlags(flags: Flags, letters: string, value: boolean): Flags {
    const unknown = [...letters].find((letter) => !'aimsu'.includes(letter));
    if (unknown !== undefined) throw new RegexProblem(`the flag ${unknown} is not supported`);
    return {
      ignoreCase: letters.includes('i') ? value : flags.ignoreCase,
      dotAll: letters.includes('s') ? value : flags.dotAll,
      multiline: letters.includes('m') ? value : flags.multiline,
    };
  }

  #choice(flags: Flags): RegexNode {
    if (++this.#depth > MAX_DEPTH) throw new RegexProblem(`groups are nested more than ${MAX_DEPTH} deep`);
    const options = [this.#sequence(flags)];
    while (this.#takeIf('|')) options.push(this.#sequence(flags));
    this.#depth--;
    return options.length === 1 ? options[0]! : { type: 'choice', options };
  }

  #sequence(flags: Flags): RegexNode {
    const items: RegexNode[] = [];
    while (this.#next !== '' && this.#next !== '|' && this.#next !== ')') {
      const item = this.#atom(flags);
      const count = this.#quantifier();
      if (!count) items.push(item);
      else {
        if (item.type === 'edge') throw new RegexProblem('nothing to repeat');
        if (this.#takeIf('+')) throw new RegexProblem('possessive repetition is not supported');
        // A lazy repetition chooses between matches; the texts are the same.
        this.#takeIf('?');
        if (this.#quantifier()) throw new RegexProblem('multiple repeat');
        items.push({ type: 'repeat', item, ...count });
      }
    }
    return items.length === 1 ? items[0]! : { type: 'sequence', items };
  }

  #quantifier(): { readonly min: number; readonly max: number } | undefined {
    if (this.#takeIf('*')) return { min: 0, max: Infinity };
    if (this.#takeIf('+')) return { min: 1, max: Infinity };
    if (this.#takeIf('?')) return { min: 0, max: 1 };
    // A brace that begins no count is a character, as `{,}` is not but `*`.
    const braces = this.#takeMatch(/^\{(\d+)(?:(,)(\d*))?\}|^\{(,)(\d*)\}/);
    if (!braces) return undefined;
    const [, low, comma, high, onlyComma, onlyHigh] = braces;
    if (onlyComma !== undefined) return this.#count(0, onlyHigh ? Number(onlyHigh) : Infinity);
    const min = Number(low);
    return this.#count(min, comma === undefined ? min : high ? Number(high) : Infinity);
  }

  #count(min: number, max: number): { readonly min: number; readonly max: number } {
    if (min > max) throw new RegexProblem('min repeat greater than max repeat');
    return { min, max };
  }

  #atom(flags: Flags): RegexNode {
    if (this.#takeIf('(')) return this.#group(flags);
    if (this.#takeIf('[')) return this.#set(flags);
    if (this.#takeIf('.')) return { type: 'character', matches: (code) => flags.dotAll || code !== 10 };
    if (this.#takeIf('^')) return this.#edge(flags, 'start');
    if (this.#takeIf('$')) return this.#edge(flags, 'end');
    if ('*+?'.includes(this.#next)) throw new RegexProblem('nothing to repeat');
    if (this.#takeIf('\\')) return this.#escape(flags);
    return literal(this.#take().codePointAt(0)!, flags);
  }

  #edge(flags: Flags, edge: 'start' | 'end'): RegexNode {
    if (flags.multiline) throw new RegexProblem(`the flag m with ${edge === 'start' ? '^' : '$'} is not supported`);
    return { type: 'edge', edge };
  }

  #group(outer: Flags): RegexNode {
    let flags = outer;
    let look: { readonly behind: boolean; readonly negated: boolean } | undefined;
    if (this.#takeIf('?#')) {
      while (this.#next !== ')' && this.#next !== '') this.#at++;
      this.#close();
      return { type: 'sequence', items: [] };
    }
    if (this.#takeIf('?=')) look = { behind: false, negated: false };
    else if (this.#takeIf('?!')) look = { behind: false, negated: true };
    else if (this.#takeIf('?<=')) look = { behind: true, negated: false };
    else if (this.#takeIf('?<!')) look = { behind: true, negated: true };
    else if (this.#next === '?' && !this.#takeIf('?:') && !this.#takeMatch(/^\?P<[\p{L}_][\p{L}\p{N}_]*>/u)) {
      const scoped = this.#takeMatch(/^\?([a-zA-Z]*)(?:-([a-zA-Z]+))?:/);
      if (!scoped) throw new RegexProblem(`the group (${this.#rest(3)}… is not supported`);
      flags = this.#withFlags(this.#withFlags(outer, scoped[1]!, true), scoped[2] ?? '', false);
    }
    const item = this.#choice(flags);
    this.#close();
    return look ? { type: 'look', item, ...look } : item;
  }

  #close(): void {
    if (!this.#takeIf(')')) throw new RegexProblem('a ( without its )');
  }

  #take(): string {
    if (this.#next === '') throw new RegexProblem('it ends too soon');
    return this.#text[this.#at++]!;
  }

  #escape(flags: Flags): RegexNode {
    if (this.#takeIf('A')) return { type: 'edge', edge: 'start' };
    if (this.#takeIf('Z')) return { type: 'edge', edge: 'end' };
    if (this.#takeIf('b')) return { type: 'edge', edge: 'word' };
    if (this.#takeIf('B')) return { type: 'edge', edge: 'not word' };
    if (/[1-9]/.test(this.#next)) throw new RegexProblem('back-references are not supported');
    const member = this.#escapedMember();
    return typeof member === 'number' ? literal(member, flags) : { type: 'character', matches: member };
  }

  /** Behind a backslash, in a set or outside: a class or a character. */
  #escapedMember(): number | ((code: number) => boolean) {
    const letter = this.#take();
    const known = CLASSES[letter.toLowerCase()];
    if (known) return letter === letter.toLowerCase() ? known : (code) => !known(code);
    if (letter === '0') return Number.parseInt(this.#takeMatch(/^[0-7]{1,2}/)?.[0] ?? '0', 8);
    const control = CONTROLS[letter];
    if (control !== undefined) return control;
    const digits = HEXADECIMAL[letter];
    if (digits !== undefined) {
      const found = this.#takeMatch(new RegExp(`^[0-9a-fA-F]{${digits}}`));
      const code = Number.parseInt(found?.[0] ?? '', 16);
      if (!(code <= 0x10ffff)) throw new RegexProblem(`incomplete escape \\${letter}`);
      return code;
    }
    if (/[A-Za-z0-9]/.test(letter)) throw new RegexProblem(`bad escape \\${letter}`);
    return letter.codePointAt(0)!;
  }

  /** Behind the opening bracket. */
  #set(flags: Flags): RegexNode {
    const isNegated = this.#takeIf('^');
    const members: ((code: number) => boolean)[] = [];
    for (let first = true; first || !this.#takeIf(']'); first = false) {
      const low = this.#setMember();
      if (this.#next === '-' && this.#rest(2) !== '-]') {
        this.#at++;
        const high = this.#setMember();
        if (typeof low !== 'number' || typeof high !== 'number' || high < low)
          throw new RegexProblem('bad character range');
        members.push((code) => code >= low && code <= high);
      } else members.push(typeof low === 'number' ? (code) => code === low : low);
    }
    const isIn = (code: number) => members.some((member) => member(code));
    const isInAnyCase = (code: number) => (flags.ignoreCase ? casesOf(code).some(isIn) : isIn(code));
    return { type: 'character', matches: (code) => isInAnyCase(code) !== isNegated };
  }

  #setMember(): number | ((code: number) => boolean) {
    if (this.#takeIf('\\b')) return 8;
    if (this.#takeIf('\\')) return this.#escapedMember();
    return this.#take().codePointAt(0)!;
  }
}

function casesOf(code: number): number[] {
  const character = String.fromCodePoint(code);
  return [character, character.toLowerCase(), character.toUpperCase()].map((each) => each.codePointAt(0)!);
}

function literal(code: number, { ignoreCase }: Flags): RegexNode {
  if (!ignoreCase) return { type: 'character', matches: (found) => found === code };
  return { type: 'character', matches: (found) => casesOf(found).some((each) => casesOf(code).includes(each)) };
}

/** Whether a character is of a word, for the edges of words. */
export const isWordCharacter = (character: string | undefined): boolean =>
  character !== undefined && isWord(character.codePointAt(0)!);
