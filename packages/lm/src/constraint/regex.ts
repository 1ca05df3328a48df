import {
  type CodePoints,
  characters,
  choice,
  complementOf,
  EMPTY,
  type Expression,
  InvalidConstraintError,
  LARGEST_CODE_POINT,
  repeat,
  sequence,
} from './expression.js';
import { PatternReader } from './pattern-reader.js';

/** Of a pattern. */
const MOST_CHARACTERS = 20_000;

const DIGIT: CodePoints = [[0x30, 0x39]];
const WORD: CodePoints = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const SPACE: CodePoints = [
  ...([
    [0x09, 0x0d],
    [0x20, 0x20],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
  ] as const),
  ...([
    [0x2028, 0x2029],
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
    [0xfeff, 0xfeff],
  ] as const),
];
const LINE_END: CodePoints = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const ANY = characters([[0, LARGEST_CODE_POINT]]);

const CLASSES: Readonly<Record<string, CodePoints>> = {
  d: DIGIT,
  D: complementOf(DIGIT),
  w: WORD,
  W: complementOf(WORD),
  s: SPACE,
  S: complementOf(SPACE),
};
const CONTROLS: Readonly<Record<string, number>> = { n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c, v: 0x0b, 0: 0 };

/** The texts that a regular expression of ECMAScript matches as a whole. @throws InvalidConstraintError */
export function parseRegex(pattern: string): Expression {
  return choice(...alternativesOf(pattern).map(({ body }) => body));
}

/** The texts that it matches somewhere, as `pattern` of JSON Schema. @throws InvalidConstraintError */
export function parseSearchRegex(pattern: string): Expression {
  const anything = repeat(ANY, 0, Infinity);
  return choice(
    ...alternativesOf(pattern).map(({ body, atStart, atEnd }) =>
      sequence(atStart ? EMPTY : anything, body, atEnd ? EMPTY : anything),
    ),
  );
}

interface Alternative {
  readonly body: Expression;
  /** Whether it is tied to the start, and to the end of the text. */
  readonly atStart: boolean;
  readonly atEnd: boolean;
}

/**
 * What stands between the outermost `|`. Look-around, back-references, word borders, Unicode properties and anchors inside
 * are not regular or not supported, and are errors.
 */
function alternativesOf(pattern: string): Alternative[] {
  if (pattern.length > MOST_CHARACTERS) {
    throw new InvalidConstraintError(`regex: it has ${pattern.length} characters; at most ${MOST_CHARACTERS}`);
  }
  const reader = new PatternReader(pattern, 'regex');
  const alternatives: Alternative[] = [];
  do {
    const atStart = reader.takeIf('^');
    const body = parseSequence(reader);
    const atEnd = reader.takeIf('$');
    if (!reader.isAtEnd && reader.next !== '|') throw reader.error(`${reader.next} is not supported here`);
    alternatives.push({ body, atStart, atEnd });
  } while (reader.takeIf('|'));
  return alternatives;
}

function parseSequence(reader: PatternReader): Expression {
  const items: Expression[] = [];
  while (!reader.isAtEnd && !'|)$'.includes(reader.next)) {
    const item = parseAtom(reader);
    const count = reader.quantifier();
    // A lazy quantifier chooses between matches; the texts are the same.
    if (count) reader.takeIf('?');
    items.push(count ? repeat(item, count.min, count.max) : item);
  }
  return sequence(...items);
}

function parseAtom(reader: PatternReader): Expression {
  if (reader.takeIf('(')) {
    if (!reader.takeIf('?:') && !reader.takeMatch(/\?<[A-Za-z_$][\w$]*>/y) && reader.next === '?') {
      throw reader.error('look-around and flags are not supported');
    }
    const options = [parseSequence(reader)];
    while (reader.takeIf('|')) options.push(parseSequence(reader));
    if (!reader.takeIf(')')) throw reader.error(`expected ) and not ${reader.next || 'the end'}`);
    return choice(...options);
  }
  if (reader.takeIf('[')) return characters(parseClass(reader));
  if (reader.takeIf('.')) return characters(complementOf(LINE_END));
  if (reader.takeIf('\\')) return characters(parseEscape(reader));
  if ('*+?{^'.includes(reader.next)) throw reader.error(`${reader.next} is not supported here`);
  const codePoint = reader.take().codePointAt(0)!;
  return characters([[codePoint, codePoint]]);
}

function parseEscape(reader: PatternReader): CodePoints {
  const character = reader.take();
  const known = CLASSES[character];
  if (known) return known;
  const codePoint = codePointOf(reader, character);
  return [[codePoint, codePoint]];
}

function codePointOf(reader: PatternReader, character: string): number {
  const control = CONTROLS[character];
  if (control !== undefined && !(character === '0' && /\d/.test(reader.next))) return control;
  if (character === 'x') return reader.hexadecimal(2);
  if (character === 'u') {
    const braced = reader.takeMatch(/\{([0-9a-fA-F]{1,6})\}/y);
    return braced ? reader.codePoint(braced[1]!) : reader.hexadecimal(4);
  }
  if (/[A-Za-z0-9]/.test(character)) throw reader.error(`\\${character} is not supported`);
  return character.codePointAt(0)!;
}

/** Behind the opening bracket. */
function parseClass(reader: PatternReader): CodePoints {
  const isNegated = reader.takeIf('^');
  const ranges: (readonly [number, number])[] = [];
  while (!reader.takeIf(']')) {
    const low = parseClassMember(reader);
    const isRange = low.length === 1 && low[0]![0] === low[0]![1] && reader.takeMatch(/-(?!\])/y);
    if (!isRange) ranges.push(...low);
    else {
      const high = parseClassMember(reader);
      const [from, to] = [low[0]![0], high.at(-1)![1]];
      if (high.length !== 1 || high[0]![0] !== to || to < from) throw reader.error('a range that is not one');
      ranges.push([from, to]);
    }
  }
  return isNegated ? complementOf(ranges) : ranges;
}

function parseClassMember(reader: PatternReader): CodePoints {
  if (reader.takeIf('\\b')) return [[8, 8]];
  if (reader.takeIf('\\')) return parseEscape(reader);
  const codePoint = reader.take().codePointAt(0)!;
  return [[codePoint, codePoint]];
}
