import { wellFormed } from './unicode/unicode.js';

/** Where a token lies in the text, in UTF-16 code units: `[start, end)`. A part of a character has the whole one's span. */
export type TokenSpan = readonly [start: number, end: number];

/** A part of a text on its way to tokens. */
export interface Piece {
  readonly text: string;
  /** Where its first character comes from in the original, in UTF-16 code units. */
  readonly start: number;
  /** Whether positions are followed through what changes the text. */
  readonly follows: boolean;
  /** For every code unit of `text` the code unit of the original that it stands for; undefined where they go on from `start`. */
  readonly source: readonly number[] | undefined;
  /** The id of an added token, whose text this is. */
  readonly id?: number;
}

/**
 * Changes a text. Where `log` is given, it gets for every code unit of the result the code unit of `text` that it
 * stands for: as the reference implementation, inserted characters stand for the one before them.
 */
export type Edit = (text: string, log?: number[]) => string;

/** The whole of a text. @param follows whether to follow positions through what changes it */
export function wholePiece(text: string, follows: boolean): Piece {
  return { text: wellFormed(text), start: 0, follows, source: undefined };
}

export function edited(piece: Piece, edit: Edit): Piece {
  if (!piece.follows) {
    const text = edit(piece.text);
    return text === piece.text ? piece : { ...piece, text };
  }
  const log: number[] = [];
  const text = edit(piece.text, log);
  const { source, start } = piece;
  for (let i = 0; i < log.length; i++) log[i] = source ? (source[log[i]!] ?? 0) : start + log[i]!;
  return { ...piece, text, source: log, start: log[0] ?? start };
}

/** The part `[start, end)` of a piece. */
export function part(piece: Piece, start: number, end: number): Piece {
  if (start === 0 && end === piece.text.length) return piece;
  const text = piece.text.slice(start, end);
  const { follows, source } = piece;
  if (!source) return { text, start: piece.start + start, follows, source };
  return { text, start: source[start] ?? piece.start, follows, source: source.slice(start, end) };
}

/** `text` with each match of the global `pattern` replaced. A character that `replace` leaves alone it must return. */
export function replaceCharacters(
  text: string,
  log: number[] | undefined,
  pattern: RegExp,
  replace: (character: string) => string,
): string {
  if (!log) return text.replace(pattern, replace);
  let result = '';
  let from = 0;
  const keep = (to: number) => {
    result += text.slice(from, to);
    while (from < to) log.push(from++);
  };
  for (const match of text.matchAll(pattern)) {
    keep(match.index);
    const replacement = replace(match[0]);
    result += replacement;
    for (let i = 0; i < replacement.length; i++) log.push(from + Math.min(i, match[0].length - 1));
    from += match[0].length;
  }
  keep(text.length);
  return result;
}

/** Puts `prefix` in front of a text that is not empty. */
export function prepend(text: string, prefix: string, log: number[] | undefined): string {
  if (text === '') return text;
  if (log) {
    for (let i = 0; i < prefix.length; i++) log.push(0);
    for (let i = 0; i < text.length; i++) log.push(i);
  }
  return prefix + text;
}
