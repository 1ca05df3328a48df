import { CHARACTER_OF_BYTE } from '../byte-level.js';
import type { TokenSpan } from '../piece.js';
import { WHITE_SPACE } from '../unicode/unicode.js';
import type { TokenPart } from './post-processor.js';

/** A text whose tokens' offsets are trimmed: places in it are UTF-16 code units, and steps from them code points. */
export class TrimmedText {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The place `count` code points behind `from`, at most `limit`. */
  forward(from: number, count: number, limit: number): number {
    let at = from;
    for (let i = 0; i < count && at < limit; i++) at += this.#text.codePointAt(at)! > 0xffff ? 2 : 1;
    return Math.min(at, limit);
  }

  /** The place `count` code points before `from`, at least `limit`. */
  back(from: number, count: number, limit: number): number {
    let at = from;
    for (let i = 0; i < count && at > limit; i++) at -= at > 1 && this.#text.codePointAt(at - 2)! > 0xffff ? 2 : 1;
    return Math.max(at, limit);
  }
}

const SPACE = `[${WHITE_SPACE}${CHARACTER_OF_BYTE[32]}]`;
const leading = new RegExp(`^${SPACE}+`, 'u');
const trailing = new RegExp(`${SPACE}+$`, 'u');

/**
 * `trim_offsets`: the white space at a token's two ends is not of its span. White space is counted in the token as the
 * vocabulary writes it. The one leading space of the token that begins
 * the text stays in, where `addPrefixSpace` may have put it there.
 */
export function trimOffsets(part: TokenPart, text: TrimmedText, addPrefixSpace: boolean): TokenPart {
  const { offsets, tokens } = part;
  if (!offsets || !tokens) return part;
  const trimmed = offsets.map(([start, end], i): TokenSpan => {
    const token = tokens[i]!;
    const before = leading.exec(token)?.[0].length ?? 0;
    const after = before === token.length ? before : (trailing.exec(token)?.[0].length ?? 0);
    const isPrefix = before === 1 && addPrefixSpace && (i === 0 || start === 0);
    const begin = text.forward(start, isPrefix ? 0 : before, end);
    return [begin, text.back(end, after, begin)];
  });
  return { ...part, offsets: trimmed };
}
