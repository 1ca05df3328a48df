import { byteLevelPieces } from '../byte-level.js';
import { assertLength } from '../errors.js';
import { build, buildFrom, type Fields } from '../fields.js';
import type { Piece } from '../piece.js';
import { part } from '../piece.js';
import { patternField } from '../regex/pattern.js';
import { BEHAVIORS, matchesOf, placesOf, splitPiece } from '../splits.js';
import type { CodePointSet } from '../unicode/code-point-set.js';
import { property, rustWord, setPattern, whiteSpace } from '../unicode/unicode.js';
import { metaspacePieces } from './metaspace.js';
import { scriptPieces } from './unicode-scripts.js';

/** Cuts a piece, which is not empty, into pieces. */
export type PreTokenizer = (piece: Piece, into: Piece[]) => void;

/** The pre-tokenizer of tokenizer.json. @throws TokenizerComponentError */
export function buildPreTokenizer(value: unknown): PreTokenizer | undefined {
  return value === null || value === undefined ? undefined : build(value, 'pre_tokenizer', KINDS);
}

const KINDS: Readonly<Record<string, (fields: Fields) => PreTokenizer>> = {
  Sequence: (fields) => sequence(fields.objects('pretokenizers').map((one) => buildFrom(one, KINDS))),
  ByteLevel: (fields) => {
    fields.boolean('trim_offsets');
    return byteLevelPieces(fields.boolean('add_prefix_space'), fields.boolean('use_regex', true));
  },
  Metaspace: metaspacePieces,
  Whitespace: () => {
    const word = rustWord();
    const other = word.union(whiteSpace()).complement();
    const pattern = new RegExp(`${word.toSource()}+|${other.toSource()}+`, 'gu');
    return (piece, into) => splitPiece(piece, matchesOf(pattern, piece.text), 'Removed', true, into);
  },
  WhitespaceSplit: () => atCharacters(whiteSpace(), 'Removed'),
  BertPreTokenizer: () =>
    sequence([atCharacters(whiteSpace(), 'Removed'), atCharacters(property('punctuation'), 'Isolated')]),
  Punctuation: (fields) => atCharacters(property('punctuation'), fields.oneOf('behavior', BEHAVIORS, 'Isolated')),
  Digits: (fields) =>
    atCharacters(property('numeric'), fields.boolean('individual_digits') ? 'Isolated' : 'Contiguous'),
  Split: (fields) => {
    const matcher = patternField(fields, 'pattern');
    const behavior = fields.oneOf('behavior', BEHAVIORS);
    const invert = fields.boolean('invert');
    return (piece, into) => splitPiece(piece, matcher(piece.text), behavior, invert, into);
  },
  CharDelimiterSplit: (fields) => {
    const delimiter = fields.character('delimiter');
    return (piece, into) => splitPiece(piece, placesOf(piece.text, delimiter), 'Removed', false, into);
  },
  UnicodeScripts: () => scriptPieces,
  FixedLength: (fields) => fixedLength(fields.integer('length', 1, 5)),
};

function sequence(steps: readonly PreTokenizer[]): PreTokenizer {
  return (piece, into) => {
    let pieces: Piece[] = [piece];
    for (const step of steps) {
      const next: Piece[] = [];
      for (const one of pieces) step(one, next);
      pieces = next;
      assertLength(
        pieces.reduce((sum, { text }) => sum + text.length, 0),
        'pre_tokenizer',
      );
    }
    for (const one of pieces) into.push(one);
  };
}

function atCharacters(set: CodePointSet, behavior: (typeof BEHAVIORS)[number]): PreTokenizer {
  const pattern = setPattern(set);
  return (piece, into) => splitPiece(piece, matchesOf(pattern, piece.text), behavior, false, into);
}

function fixedLength(length: number): PreTokenizer {
  return (piece, into) => {
    const { text } = piece;
    let start = 0;
    let count = 0;
    for (let i = 0; i < text.length; ) {
      i += text.codePointAt(i)! > 0xffff ? 2 : 1;
      if (++count < length && i < text.length) continue;
      into.push(part(piece, start, i));
      start = i;
      count = 0;
    }
  };
}
