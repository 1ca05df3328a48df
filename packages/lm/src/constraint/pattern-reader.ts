import { InvalidConstraintError } from './expression.js';

/** Reads a text from left to right; what it throws says where. */
export class PatternReader {
  readonly #text: string;
  readonly #kind: string;
  at = 0;

  /** @param kind what is read, for errors: `regex`, say */
  constructor(text: string, kind: string) {
    this.#text = text;
    this.#kind = kind;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#text.length;
  }

  /** The next character, a whole code point; empty at the end. */
  get next(): string {
    return this.isAtEnd ? '' : String.fromCodePoint(this.#text.codePointAt(this.at)!);
  }

  take(): string {
    const { next } = this;
    if (next === '') throw this.error('it ends too early');
    this.at += next.length;
    return next;
  }

  /** Takes `text` when it comes next. */
  takeIf(text: string): boolean {
    if (!this.#text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  /** Takes what a sticky expression matches here. */
  takeMatch(sticky: RegExp): RegExpExecArray | null {
    sticky.lastIndex = this.at;
    const match = sticky.exec(this.#text);
    if (match) this.at = sticky.lastIndex;
    return match;
  }

  error(what: string): InvalidConstraintError {
    return new InvalidConstraintError(
      `${this.#kind} ${JSON.stringify(clipped(this.#text))}: ${what} at character ${this.at + 1}`,
    );
  }

  /** A code point in hexadecimal digits. */
  hexadecimal(digits: number): number {
    const match = this.takeMatch(new RegExp(`[0-9a-fA-F]{${digits}}`, 'y'));
    if (!match) throw this.error(`expected ${digits} hexadecimal digits`);
    return this.codePoint(match[0]);
  }

  codePoint(hexadecimal: string): number {
    const value = Number.parseInt(hexadecimal, 16);
    if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) throw this.error('no such character');
    return value;
  }

  /** `*`, `+`, `?`, `{2}`, `{2,}`, `{2,5}`; undefined where there is none. */
  quantifier(): { readonly min: number; readonly max: number } | undefined {
    if (this.takeIf('*')) return { min: 0, max: Infinity };
    if (this.takeIf('+')) return { min: 1, max: Infinity };
    if (this.takeIf('?')) return { min: 0, max: 1 };
    const match = this.takeMatch(/\{(\d+)(,?)(\d*)\}/y);
    if (!match) return undefined;
    const min = Number(match[1]);
    const max = match[2] === '' ? min : match[3] === '' ? Infinity : Number(match[3]);
    if (max < min) throw this.error('a repetition count whose limits are in the wrong order');
    return { min, max };
  }
}

const clipped = (text: string): string => (text.length <= 200 ? text : `${text.slice(0, 200)}…`);
