import { edited, type Piece, prepend } from './piece.js';
import { compilePattern, type Matcher } from './regex/pattern.js';
import { splitPiece } from './splits.js';

/** Characters of a byte-level vocabulary by byte, as GPT-2 made it: printable ones are themselves, the rest follow U+0100. */
export const CHARACTER_OF_BYTE: readonly string[] = (() => {
  let others = 0x100;
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : others++));
})();

export const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  CHARACTER_OF_BYTE.map((character, byte) => [character, byte]),
);

/** The text's bytes of UTF-8, each as its character. */
export function toByteLevel(text: string, log?: number[]): string {
  if (!log && /^[!-~]*$/.test(text)) return text;
  let result = '';
  const add = (byte: number, at: number) => {
    result += CHARACTER_OF_BYTE[byte]!;
    log?.push(at);
  };
  for (let i = 0; i < text.length; i++) {
    const at = i;
    const unit = text.charCodeAt(i);
    if (unit < 0x80) {
      add(unit, at);
      continue;
    }
    const point = text.codePointAt(i)!;
    if (point > 0xffff) i++;
    if (point < 0x800) add(0xc0 | (point >> 6), at);
    else {
      if (point < 0x10000) add(0xe0 | (point >> 12), at);
      else {
        add(0xf0 | (point >> 18), at);
        add(0x80 | ((point >> 12) & 63), at);
      }
      add(0x80 | ((point >> 6) & 63), at);
    }
    add(0x80 | (point & 63), at);
  }
  return result;
}

let words: Matcher | undefined;

/** GPT-2's cut into words. */
function wordsOf(text: string): number[] {
  words ??= compilePattern(String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`);
  return words(text);
}

/** The pre-tokenizer `ByteLevel`. */
export function byteLevelPieces(addPrefixSpace: boolean, useRegex: boolean): (piece: Piece, into: Piece[]) => void {
  return (piece, into) => {
    const prefixed =
      addPrefixSpace && !piece.text.startsWith(' ') ? edited(piece, (text, log) => prepend(text, ' ', log)) : piece;
    const parts: Piece[] = [];
    if (useRegex) splitPiece(prefixed, wordsOf(prefixed.text), 'Isolated', false, parts);
    else parts.push(prefixed);
    for (const one of parts) into.push(edited(one, toByteLevel));
  };
}
