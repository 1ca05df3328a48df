import { CodePointSet } from '../unicode/code-point-set.js';
import { onigurumaWordAlone } from '../unicode/unicode.js';
import { escapedClass, ignoringCase, isCased, namedProperty, posixClass } from './character-classes.js';
import { type Edge, lengths, type Node, PatternError } from './syntax.js';

interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
}

const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7, e: 27 };
const EDGES: Readonly<Record<string, Edge>> = {
  A: 'textStart',
  z: 'textEnd',
  Z: 'lastLineEnd',
  b: 'wordEdge',
  B: 'noWordEdge',
};
/** Sequences that one character folds to (ß, ﬁ, ﬆ …), so that ignoring case would match it too. */
const FOLDED_SEQUENCE = /ss|ff|fi|fl|st/i;
const MAX_REPEAT = 1000;
const MAX_DEPTH = 50;
const MAX_LENGTH = 20_000;

const single = (point: number): CodePointSet => CodePointSet.of([point, point]);
const newline = single(10);

/** Parses a regular expression as Oniguruma does with its default (Ruby's) syntax. @throws PatternError */
export function parsePattern(pattern: string): Node {
  if (pattern.length > MAX_LENGTH) throw new PatternError(pattern, `is longer than ${MAX_LENGTH} characters.`);
  return new Parser(pattern).parse();
}

class Parser {
  readonly #text: string;
  readonly #characters: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    this.#characters = Array.from(text);
  }

  parse(): Node {
    const node = this.#choice({ ignoreCase: false, dotAll: false });
    if (this.#at < this.#characters.length) this.#fail('has a ")" without its "(".');
    return node;
  }

  #fail(problem: string): never {
    throw new PatternError(this.#text, problem);
  }

  #unsupported(what: string): never {
    return this.#fail(`uses ${what}, which is not supported.`);
  }

  get #next(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(text: string): boolean {
    const length = Array.from(text).length;
    if (this.#characters.slice(this.#at, this.#at + length).join('') !== text) return false;
    this.#at += length;
    return true;
  }

  #choice(flags: Flags): Node {
    if (++this.#depth > MAX_DEPTH) this.#fail(`is nested deeper than ${MAX_DEPTH}.`);
    const options: Node[] = [];
    do options.push(this.#sequence(flags));
    while (this.#take('|'));
    this.#depth--;
    return options.length === 1 ? options[0]! : { kind: 'choice', options };
  }

  #sequence(flags: Flags): Node {
    const items: Node[] = [];
    let literal = '';
    while (this.#next !== undefined && this.#next !== '|' && this.#next !== ')') {
      const start = this.#at;
      const item = this.#item(flags);
      if (item === 'rest') {
        // `(?i)` holds to the end of the group, alternatives included.
        items.push(this.#choice(this.#inline!));
        break;
      }
      const text = this.#characters.slice(start, this.#at).join('');
      literal = Array.from(text).length === 1 && item.kind === 'set' ? literal + text : '';
      if (flags.ignoreCase && FOLDED_SEQUENCE.test(literal)) this.#unsupported(`"${literal}" ignoring case`);
      items.push(this.#quantified(item));
    }
    return items.length === 1 ? items[0]! : { kind: 'sequence', items };
  }

  #inline: Flags | undefined;

  #item(flags: Flags): Node | 'rest' {
    const character = this.#characters[this.#at++]!;
    switch (character) {
      case '(':
        return this.#group(flags);
      case '[':
        return { kind: 'set', set: this.#class(flags) };
      case '.':
        return { kind: 'set', set: flags.dotAll ? CodePointSet.all : newline.complement() };
      case '^':
        return { kind: 'edge', edge: 'lineStart' };
      case '$':
        return { kind: 'edge', edge: 'lineEnd' };
      case '*':
      case '+':
      case '?':
        return this.#fail(`repeats nothing ("${character}").`);
      case '\\':
        return this.#escape(flags);
      default:
        return this.#literal(character, flags);
    }
  }

  #literal(character: string, flags: Flags): Node {
    const point = character.codePointAt(0)!;
    return { kind: 'set', set: this.#folded(single(point), flags, character) };
  }

  #folded(set: CodePointSet, flags: Flags, character?: string): CodePointSet {
    if (!flags.ignoreCase) return set;
    if (character !== undefined && character > '\x7f' && character.toLowerCase() !== character.toUpperCase()) {
      this.#unsupported(`"${character}" ignoring case`);
    }
    return ignoringCase(set);
  }

  #group(flags: Flags): Node | 'rest' {
    if (!this.#take('?')) return this.#closed(flags);
    if (this.#take(':')) return this.#closed(flags);
    if (this.#take('>')) return { kind: 'atomic', item: this.#closed(flags) };
    for (const [mark, behind, negative] of [
      ['=', false, false],
      ['!', false, true],
      ['<=', true, false],
      ['<!', true, true],
    ] as const) {
      if (!this.#take(mark)) continue;
      const item = this.#closed(flags);
      if (behind && lengths(item)[1] > 255) this.#unsupported('a look-behind without limit');
      return { kind: 'look', behind, negative, item };
    }
    if (this.#take('#')) {
      while (this.#next !== undefined && this.#next !== ')') this.#at++;
      if (!this.#take(')')) this.#fail('has a "(" without its ")".');
      return { kind: 'sequence', items: [] };
    }
    const rest = this.#characters.slice(this.#at, this.#at + 40).join('');
    const name = /^(<|')[A-Za-z_]\w*[>']/.exec(rest);
    if (name) {
      this.#at += name[0].length;
      return this.#closed(flags);
    }
    const options = /^([im]*)(-[im]+)?([:)])/.exec(rest);
    if (!options) return this.#unsupported(`the group "(?${rest.slice(0, 2)}"`);
    this.#at += options[0].length;
    const [, on = '', off = '', end] = options;
    const changed: Flags = {
      ignoreCase: (flags.ignoreCase || on.includes('i')) && !off.includes('i'),
      dotAll: (flags.dotAll || on.includes('m')) && !off.includes('m'),
    };
    if (end === ':') return this.#closed(changed);
    this.#inline = changed;
    return 'rest';
  }

  #closed(flags: Flags): Node {
    const node = this.#choice(flags);
    if (!this.#take(')')) this.#fail('has a "(" without its ")".');
    return node;
  }

  #quantified(item: Node): Node {
    const range = this.#range();
    if (!range) return item;
    if (item.kind === 'edge' || item.kind === 'look') this.#unsupported('a repeated position');
    const [min, max, interval] = range;
    let mode: 'greedy' | 'lazy' | 'possessive' = 'greedy';
    if (this.#next === '?') {
      if (interval && min === max) this.#unsupported('"{n}?"');
      mode = 'lazy';
      this.#at++;
    } else if (this.#next === '+') {
      if (interval) this.#unsupported('"{n,m}+"');
      mode = 'possessive';
      this.#at++;
    }
    if (this.#range()) this.#unsupported('a repeated repetition');
    return { kind: 'repeat', item, min, max, mode };
  }

  #range(): readonly [min: number, max: number, interval: boolean] | undefined {
    for (const [mark, min, max] of [
      ['*', 0, Infinity],
      ['+', 1, Infinity],
      ['?', 0, 1],
    ] as const) {
      if (this.#take(mark)) return [min, max, false];
    }
    const interval = /^\{(\d*)(,?)(\d*)\}/.exec(this.#characters.slice(this.#at, this.#at + 20).join(''));
    if (!interval || interval[1] + interval[3]! === '') return undefined;
    const [whole, low, comma, high] = interval;
    const min = Number(low);
    const max = comma === '' ? min : high === '' ? Infinity : Number(high);
    if (max < min) this.#fail(`has an interval ${whole} that ends before it begins.`);
    if (min > MAX_REPEAT || (max > MAX_REPEAT && max !== Infinity))
      this.#fail(`repeats more than ${MAX_REPEAT} times.`);
    this.#at += whole.length;
    return [min, max, true];
  }

  #escape(flags: Flags): Node {
    const letter = this.#next ?? this.#fail('ends with "\\".');
    if (Object.hasOwn(EDGES, letter)) {
      this.#at++;
      return { kind: 'edge', edge: EDGES[letter]! };
    }
    if (letter === 'R') {
      this.#at++;
      const set = CodePointSet.of([10, 13, 0x85, 0x85, 0x2028, 0x2029]);
      const pair: Node = {
        kind: 'sequence',
        items: [
          { kind: 'set', set: single(13) },
          { kind: 'set', set: newline },
        ],
      };
      return { kind: 'atomic', item: { kind: 'choice', options: [pair, { kind: 'set', set }] } };
    }
    if (letter === 'w' || letter === 'W') {
      this.#at++;
      return { kind: 'set', set: letter === 'w' ? onigurumaWordAlone() : onigurumaWordAlone().complement() };
    }
    const { set, character } = this.#escaped(flags);
    return { kind: 'set', set: this.#folded(set, flags, character) };
  }

  /** What stands behind a backslash, in a class or not; a character where it is one. */
  #escaped(flags: Flags): { readonly set: CodePointSet; readonly character?: string } {
    const letter = this.#characters[this.#at++] ?? this.#fail('ends with "\\".');
    const named = escapedClass(letter);
    if (named) return { set: named };
    if (letter === 'p' || letter === 'P') return { set: this.#property(letter === 'P', flags) };
    const point = this.#escapedPoint(letter);
    return { set: single(point), character: String.fromCodePoint(point) };
  }

  #escapedPoint(letter: string): number {
    if (Object.hasOwn(CONTROLS, letter)) return CONTROLS[letter]!;
    const rest = this.#characters.slice(this.#at, this.#at + 12).join('');
    const code =
      letter === 'x'
        ? /^(?:\{([\da-fA-F]{1,6})\}|([\da-fA-F]{1,2}))/.exec(rest)
        : letter === 'u'
          ? /^([\da-fA-F]{4})/.exec(rest)
          : null;
    if (code) {
      this.#at += code[0].length;
      const point = Number.parseInt(code[1] ?? code[2]!, 16);
      if (point > 0x10ffff || (code[2] !== undefined && point > 0x7f))
        this.#fail(`has no character "\\${letter}${code[0]}".`);
      return point;
    }
    if (/[A-Za-z0-9]/.test(letter)) this.#unsupported(`"\\${letter}"`);
    return letter.codePointAt(0)!;
  }

  #property(negative: boolean, flags: Flags): CodePointSet {
    const match = /^\{(\^?)([^}]*)\}/.exec(this.#characters.slice(this.#at, this.#at + 60).join(''));
    if (!match) return this.#fail('has "\\p" without "{name}".');
    this.#at += match[0].length;
    const found = namedProperty(match[2]!) ?? this.#unsupported(`\\p{${match[2]}}`);
    if (flags.ignoreCase && isCased(found.name)) this.#unsupported(`\\p{${match[2]}} ignoring case`);
    return negative !== (match[1] === '^') ? found.set.complement() : found.set;
  }

  /** A class, its "[" taken. */
  #class(flags: Flags): CodePointSet {
    if (++this.#depth > MAX_DEPTH) this.#fail(`is nested deeper than ${MAX_DEPTH}.`);
    const negative = this.#take('^');
    if (this.#next === ']') this.#unsupported('"]" as the first character of a class');
    let intersected: CodePointSet | undefined;
    let sets: CodePointSet[] = [];
    const close = () => {
      const union = this.#folded(CodePointSet.of([]).union(...sets), flags);
      sets = [];
      intersected = intersected ? intersected.intersection(union) : union;
    };
    while (!this.#take(']')) {
      if (this.#next === undefined) this.#fail('has a "[" without its "]".');
      if (this.#take('&&')) close();
      else sets.push(this.#member(flags));
    }
    close();
    this.#depth--;
    return negative ? intersected!.complement() : intersected!;
  }

  #member(flags: Flags): CodePointSet {
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.#characters.slice(this.#at, this.#at + 20).join(''));
    if (posix) {
      this.#at += posix[0].length;
      const set = posixClass(posix[2]!) ?? this.#unsupported(`[:${posix[2]}:]`);
      if (flags.ignoreCase && isCased(posix[2]!)) this.#unsupported(`[:${posix[2]}:] ignoring case`);
      return posix[1] === '^' ? set.complement() : set;
    }
    if (this.#take('[')) return this.#class(flags);
    const first = this.#classCharacter(flags);
    if (first.character === undefined) return first.set;
    // A "-" before the end of the class is itself.
    const isRange = this.#next === '-' && ![']', undefined].includes(this.#characters[this.#at + 1]);
    if (!isRange || this.#characters.slice(this.#at + 1, this.#at + 3).join('') === '&&') {
      this.#folded(first.set, flags, first.character);
      return first.set;
    }
    this.#at++;
    if (this.#characters[this.#at] === '[') this.#unsupported('a range that ends with a class');
    const last = this.#classCharacter(flags);
    if (last.character === undefined) this.#unsupported('a range that ends with a class');
    const [from, to] = [first.character.codePointAt(0)!, last.character!.codePointAt(0)!];
    if (from > to) this.#fail(`has a range ${first.character}-${last.character} that ends before it begins.`);
    if (flags.ignoreCase && to > 0x7f) this.#unsupported('a range beyond ASCII ignoring case');
    return CodePointSet.of([from, to]);
  }

  #classCharacter(flags: Flags): { readonly set: CodePointSet; readonly character?: string } {
    const character = this.#characters[this.#at++]!;
    if (character !== '\\') return { set: single(character.codePointAt(0)!), character };
    if (this.#take('b')) return { set: single(8), character: '\b' };
    if (this.#next !== undefined && 'RXABZzGKk'.includes(this.#next)) this.#unsupported(`"\\${this.#next}" in a class`);
    return this.#escaped(flags);
  }
}
