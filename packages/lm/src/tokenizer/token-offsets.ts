import { PosttrainError } from '@posttrain/interfaces';
import { byteOfFallbackToken } from './decoders.js';

/** Where a token lies in the text, in UTF-16 code units: `[start, end)`. A part of a character has the whole one's span. */
export type TokenSpan = readonly [start: number, end: number];

/** A token as the aligner sees it. */
export interface TokenSurface {
  /** `added`: stands for itself, `unknown`: for one or more characters of no token, `piece`: for its text. */
  readonly kind: 'added' | 'unknown' | 'piece';
  readonly token: string;
}

export interface AlignmentRules {
  /** Whether pieces are written in GPT-2's alphabet of bytes. */
  readonly byteLevel: boolean;
  /** What the normalizer does to one cluster. Space handling is not part of it: the aligner forgives spaces. */
  readonly normalizeCluster: (cluster: string) => string;
}

/** The tokens and the text they were made from cannot be matched to each other. */
export class TokenAlignmentError extends PosttrainError {
  constructor(token: string, text: string, position: number) {
    super(
      'TOKEN_ALIGNMENT',
      `Token ${JSON.stringify(token)} does not match the text at ${position}: ` +
        `${JSON.stringify(text.slice(position, position + 40))}. The tokenizer's normalizer changes text in a way that ` +
        'positions cannot be followed through.',
    );
  }
}

/**
 * Finds each token's span in `text`. The library reports no offsets, so tokens are matched to the text byte by byte;
 * a mismatch is an error, never a guess. Spaces that a tokenizer adds (a dummy prefix) or removes (runs, ends) are
 * followed.
 *
 * @throws TokenAlignmentError
 */
export function alignTokens(text: string, tokens: readonly TokenSurface[], rules: AlignmentRules): TokenSpan[] {
  const spans: TokenSpan[] = [];
  let position = 0;
  for (let first = 0; first <= tokens.length; ) {
    let next = first;
    while (next < tokens.length && tokens[next]!.kind !== 'added') next++;
    const added = tokens[next]?.token;
    const end = added === undefined ? text.length : text.indexOf(added, position);
    if (end < 0) throw new TokenAlignmentError(added!, text, position);
    alignSection(text, position, end, tokens.slice(first, next), rules, spans);
    if (added === undefined) break;
    position = end + added.length;
    spans.push([end, position]);
    first = next + 1;
  }
  return spans;
}

/** The normalised bytes of a section, each with the span of the cluster it came from. */
interface SectionBytes {
  readonly bytes: number[];
  readonly starts: number[];
  readonly ends: number[];
  /** Whether the byte is part of white space. */
  readonly spaces: boolean[];
}

const SPACE = 0x20;
const encoder = new TextEncoder();

/**
 * What a Unicode normalizer may compose: Hangul, or one character, with the marks after it. (`Intl.Segmenter` takes
 * seconds for a text of 100,000 characters.)
 */
const CLUSTER = /(?:[\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff]+|.)[\p{M}\uff9e\uff9f]*/gsu;

function alignSection(
  text: string,
  start: number,
  end: number,
  tokens: readonly TokenSurface[],
  rules: AlignmentRules,
  spans: TokenSpan[],
): void {
  const section = sectionBytes(text.slice(start, end), start, rules);
  const { bytes, starts, ends, spaces } = section;
  const surfaces = tokens.map((token) => (token.kind === 'unknown' ? undefined : surfaceBytes(token.token, rules)));
  const at = (i: number) => starts[i] ?? end;
  let i = 0;
  for (const [t, surface] of surfaces.entries()) {
    let length: number;
    if (surface === undefined) {
      // The unknown token's own text may also have been written out.
      const literal = [...encoder.encode(tokens[t]!.token)];
      length = fits(bytes, i, literal)
        ? literal.length
        : unknownLength(section, i, surfaces[t + 1], t + 1 === surfaces.length);
    } else {
      while (!fits(bytes, i, surface) && spaces[i] && !fitsWithoutPrefix(bytes, i, surface)) i++;
      if (fits(bytes, i, surface)) length = surface.length;
      else if (fitsWithoutPrefix(bytes, i, surface)) length = surface.length - 1;
      else throw new TokenAlignmentError(tokens[t]!.token, text, at(i));
    }
    // A token of only an added space gets the character it was added in front of, as in the reference implementation.
    spans.push([at(i), ends[length === 0 ? i : i + length - 1] ?? end]);
    i += length;
  }
  while (spaces[i]) i++;
  if (i < bytes.length) throw new TokenAlignmentError('(end)', text, at(i));
}

function sectionBytes(section: string, offset: number, rules: AlignmentRules): SectionBytes {
  const result: SectionBytes = { bytes: [], starts: [], ends: [], spaces: [] };
  for (const match of section.matchAll(CLUSTER)) {
    const [segment] = match;
    const normalized = rules.normalizeCluster(segment);
    const characters = [...segment].map((text) => ({ text, normalized: rules.normalizeCluster(text) }));
    // Spans are those of characters, unless the normalizer composes or reorders them.
    const separable = characters.map((character) => character.normalized).join('') === normalized;
    let position = offset + match.index;
    for (const character of separable ? characters : [{ text: segment, normalized }]) {
      push(result, plain(character.normalized, rules), position, position + character.text.length);
      position += character.text.length;
    }
  }
  return result;
}

function push(section: SectionBytes, text: string, start: number, end: number): void {
  const isSpace = text.trim() === '';
  for (const byte of encoder.encode(text)) {
    section.bytes.push(byte);
    section.starts.push(start);
    section.ends.push(end);
    section.spaces.push(isSpace);
  }
}

function surfaceBytes(token: string, rules: AlignmentRules): number[] {
  if (rules.byteLevel) {
    const bytes = [...token].map((character) => BYTE_OF_CHARACTER.get(character));
    if (bytes.every((byte) => byte !== undefined)) return bytes;
  }
  const byte = byteOfFallbackToken(token);
  return byte === undefined ? [...encoder.encode(plain(token, rules))] : [byte];
}

/** Sentencepiece-style tokenizers write a space as U+2581, and cannot tell the two apart. */
function plain(text: string, rules: AlignmentRules): string {
  return rules.byteLevel ? text : text.replaceAll('\u2581', ' ');
}

/** Bytes of an unknown token: one character, and on to where the next token fits or, at the end, all that is left. */
function unknownLength(section: SectionBytes, i: number, next: readonly number[] | undefined, isLast: boolean): number {
  const { bytes, spaces } = section;
  if (isLast) {
    let end = bytes.length;
    while (end > i + 1 && spaces[end - 1]) end--;
    return end - i;
  }
  let end = i + 1;
  while (end < bytes.length && isContinuation(bytes[end]!)) end++;
  if (next === undefined) return end - i;
  while (end < bytes.length && !fits(bytes, end, next)) end++;
  return end - i;
}

function fits(bytes: readonly number[], i: number, surface: readonly number[]): boolean {
  return i + surface.length <= bytes.length && surface.every((byte, k) => bytes[i + k] === byte);
}

/** A space in front of a token may be one the tokenizer added. */
function fitsWithoutPrefix(bytes: readonly number[], i: number, surface: readonly number[]): boolean {
  return surface[0] === SPACE && fits(bytes, i, surface.slice(1));
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the others for U+0100 and on, in order. */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  (() => {
    let others = 0x100;
    return Array.from({ length: 256 }, (_, byte): [string, number] => {
      const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
      return [String.fromCodePoint(printable ? byte : others++), byte];
    });
  })(),
);
