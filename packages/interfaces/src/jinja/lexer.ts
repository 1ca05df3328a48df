import { JinjaError } from './errors.js';
import { LIMITS } from './run.js';
import { isSpace, SPACE_CLASS, strip } from './text.js';

export type TokenType =
  | 'data'
  | 'variable_begin'
  | 'variable_end'
  | 'block_begin'
  | 'block_end'
  | 'name'
  | 'string'
  | 'integer'
  | 'float'
  | 'operator'
  | 'end';

export interface Token {
  readonly type: TokenType;
  /** The text of data and strings with escapes resolved; of others, as written. */
  readonly value: string;
  readonly line: number;
}

const S = `[${SPACE_CLASS}]`;
const RAW_BEGIN = new RegExp(`\\{%([-+]?)${S}*raw${S}*(?:-%\\}${S}*|%\\})`, 'y');
const rawEnd = (line: string) => new RegExp(`\\{%([-+]?)${S}*endraw${S}*(?:\\+%\\}|-%\\}${S}*|%\\}${line})`, 'y');
const blockEnd = (line: string) => new RegExp(`\\+%\\}|-%\\}${S}*|%\\}${line}`, 'y');
/** What ends a tag, with `trim_blocks` (the line end behind it goes too) or without. */
const ENDS = {
  trimmed: { raw: rawEnd('\\n?'), block: blockEnd('\\n?') },
  kept: { raw: rawEnd(''), block: blockEnd('') },
} as const;
const VARIABLE_END = new RegExp(`-\\}\\}${S}*|\\}\\}`, 'y');
const SPACE = new RegExp(`${S}+`, 'y');
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{L}\p{N}_]+/uy;
const IDENTIFIER = /^[\p{XID_Start}_]\p{XID_Continue}*$/u;
const STRING = /'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}<>=.:|,;]/y;
const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** White space around tags, by Jinja2's names. */
export interface WhiteSpace {
  /** The first line end after a block tag is dropped. Default true, as transformers has it (Jinja2's own is false). */
  readonly trimBlocks?: boolean | undefined;
  /** Blanks before a block tag on its line are dropped. Default true, as transformers has it (Jinja2's own is false). */
  readonly lstripBlocks?: boolean | undefined;
  /** A line end at the very end stays. Default false. */
  readonly keepTrailingNewline?: boolean | undefined;
}

/**
 * The tokens of a template: line ends become `\n`, white space goes as the settings have it, and `-` and `+` rule otherwise.
 *
 * @throws JinjaError
 */
export function tokenize(template: string, settings: WhiteSpace = {}): Token[] {
  if (template.length > LIMITS.templateLength) {
    throw new JinjaError('limit', `the template has more than ${LIMITS.templateLength} characters.`);
  }
  const source = template.replace(/\r\n?/g, '\n');
  return new Lexer(settings.keepTrailingNewline ? source : source.replace(/\n$/, ''), settings).tokens();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  #lineEnd: number;
  readonly #trims: boolean;
  readonly #strips: boolean;

  constructor(source: string, { trimBlocks = true, lstripBlocks = true }: WhiteSpace) {
    this.#source = source;
    this.#trims = trimBlocks;
    this.#strips = lstripBlocks;
    this.#lineEnd = this.#nextLineEnd(0);
  }

  get #ends() {
    return ENDS[this.#trims ? 'trimmed' : 'kept'];
  }

  tokens(): Token[] {
    while (this.#at < this.#source.length) this.#text();
    this.#push('end', '', this.#source.length);
    return this.#tokens;
  }

  /** Text up to the next tag, and the tag. */
  #text(): void {
    const source = this.#source;
    const start = this.#at;
    let tag = start;
    while (true) {
      tag = source.indexOf('{', tag);
      if (tag < 0) {
        this.#data(source.slice(start), start);
        this.#at = source.length;
        return;
      }
      if ('{%#'.includes(source[tag + 1] ?? ' ')) break;
      tag++;
    }
    const raw = matchAt(RAW_BEGIN, source, tag);
    const sign = raw ? raw[1]! : '-+'.includes(source[tag + 2] ?? ' ') ? source[tag + 2]! : '';
    this.#data(this.#trimmed(source.slice(start, tag), sign, source[tag + 1] !== '{', start), start);
    this.#at = tag + 2 + sign.length;
    if (raw) this.#raw(tag + raw[0].length);
    else if (source[tag + 1] === '#') this.#comment();
    else this.#tag(source[tag + 1] === '{' ? 'variable' : 'block', tag);
  }

  /** What is left of the text before a tag. */
  #trimmed(text: string, sign: string, isBlock: boolean, start: number): string {
    if (sign === '-') return strip(text, undefined, 'right');
    if (sign === '+' || !isBlock || !this.#strips) return text;
    const lineStart = text.lastIndexOf('\n') + 1;
    const startsLine = lineStart > 0 || start === 0 || this.#source[start - 1] === '\n';
    return startsLine && isSpace(text.slice(lineStart)) ? text.slice(0, lineStart) : text;
  }

  #data(text: string, at: number): void {
    if (text !== '') this.#push('data', text, at);
  }

  #raw(start: number): void {
    const source = this.#source;
    for (let end = source.indexOf('{%', start); end >= 0; end = source.indexOf('{%', end + 1)) {
      const match = matchAt(this.#ends.raw, source, end);
      if (!match) continue;
      this.#data(this.#trimmed(source.slice(start, end), match[1]!, true, start), start);
      this.#at = end + match[0].length;
      return;
    }
    // Jinja2 does not mind a tag that nothing stands behind.
    if (start < source.length) this.#fail('a {% raw %} has no {% endraw %}.', start);
    this.#at = start;
  }

  #comment(): void {
    const end = this.#source.indexOf('#}', this.#at);
    if (end < 0) {
      if (this.#at < this.#source.length) this.#fail('a comment {# has no end #}.', this.#at);
      return;
    }
    const sign = end > this.#at ? this.#source[end - 1] : '';
    this.#at = end + 2;
    if (sign === '-') this.#at += matchAt(SPACE, this.#source, this.#at)?.[0].length ?? 0;
    else if (sign !== '+' && this.#trims && this.#source[this.#at] === '\n') this.#at++;
  }

  #tag(kind: 'variable' | 'block', start: number): void {
    this.#push(`${kind}_begin`, '', start);
    const open: string[] = [];
    while (this.#at < this.#source.length) {
      const end =
        open.length === 0 && matchAt(kind === 'block' ? this.#ends.block : VARIABLE_END, this.#source, this.#at);
      if (end) {
        this.#push(`${kind}_end`, '', this.#at);
        this.#at += end[0].length;
        return;
      }
      this.#at += matchAt(SPACE, this.#source, this.#at)?.[0].length ?? this.#token(open);
    }
  }

  /** One token inside a tag; returns its length. */
  #token(open: string[]): number {
    const at = this.#at;
    const match = (pattern: RegExp) => matchAt(pattern, this.#source, at)?.[0];
    const float = match(FLOAT);
    if (float !== undefined) return this.#push('float', float.replaceAll('_', ''), at, float.length);
    const integer = match(INTEGER);
    if (integer !== undefined) return this.#push('integer', integer.replaceAll('_', ''), at, integer.length);
    const name = match(NAME);
    if (name !== undefined) {
      if (!IDENTIFIER.test(name)) this.#fail('a name has a character that names cannot have.', at);
      return this.#push('name', name, at, name.length);
    }
    const text = match(STRING);
    if (text !== undefined) return this.#push('string', this.#unescaped(text.slice(1, -1), at), at, text.length);
    const operator = match(OPERATOR);
    if (operator === undefined)
      this.#fail(`the character ${JSON.stringify(this.#source[at])} is not expected here.`, at);
    if (operator in CLOSING) open.push(CLOSING[operator]!);
    else if (')]}'.includes(operator)) {
      const expected = open.pop();
      if (expected !== operator) {
        this.#fail(`"${operator}" closes nothing${expected === undefined ? '' : `; "${expected}" was expected`}.`, at);
      }
    }
    return this.#push('operator', operator, at, operator.length);
  }

  /** The escapes of Python's strings; an unknown one stays as it is. */
  #unescaped(text: string, at: number): string {
    if (!text.includes('\\')) return text;
    return text.replace(
      /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|(.))/gsu,
      (whole: string, x?: string, u?: string, long?: string, octal?: string, other?: string) => {
        const digits = x ?? u ?? long;
        if (digits !== undefined || octal !== undefined) {
          const code = digits === undefined ? Number.parseInt(octal!, 8) : Number.parseInt(digits, 16);
          if (code > 0x10ffff) this.#fail('a \\U escape names no character.', at);
          if (code >= 0xd800 && code < 0xe000)
            this.#fail('a \\u escape names half a character; write the character itself.', at);
          return String.fromCodePoint(code);
        }
        if ('xuU'.includes(other!)) this.#fail(`the escape \\${other} has too few digits.`, at);
        if (other === 'N') this.#fail('the escape \\N is not supported; write the character itself.', at);
        if (other! > '\x7f') return `\\${asciiEscape(other!.codePointAt(0)!)}`;
        return SIMPLE_ESCAPES[other!] ?? whole;
      },
    );
  }

  #push(type: TokenType, value: string, at: number, length = 0): number {
    this.#tokens.push({ type, value, line: this.#lineAt(at) });
    return length;
  }

  /** The line of a position; positions come in order. */
  #lineAt(at: number): number {
    while (this.#lineEnd < at) {
      this.#line++;
      this.#lineEnd = this.#nextLineEnd(this.#lineEnd + 1);
    }
    return this.#line;
  }

  #nextLineEnd(from: number): number {
    const end = this.#source.indexOf('\n', from);
    return end < 0 ? Number.POSITIVE_INFINITY : end;
  }

  #fail(problem: string, at: number): never {
    throw new JinjaError('syntax', problem, this.#lineAt(at));
  }
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** How Jinja2 spells a character beyond ASCII behind a backslash, which then is no escape any more. */
function asciiEscape(code: number): string {
  const digits = code.toString(16);
  if (code < 0x100) return `x${digits}`;
  return code < 0x10000 ? `u${digits.padStart(4, '0')}` : `U${digits.padStart(8, '0')}`;
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}
