import {
  type CodePoints,
  characters,
  choice,
  complementOf,
  type Expression,
  type Grammar,
  intersectionOf,
  literal,
  optional,
  repeat,
  rule,
  sequence,
  words,
} from './expression.js';

/** Most characters of an indentation: white space without end is what a model gets lost in. */
const INDENT = 20;
/** Digits that a double holds exactly. */
export const EXACT_DIGITS = 15;

const DIGIT = characters([[0x30, 0x39]]);
const QUOTE = literal('"');
/** What stands in a JSON string as itself. */
const PLAIN: CodePoints = complementOf([
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x7f, 0x7f],
]);
/** The characters that are written with an escape: short, or as \u00XX. */
const ESCAPED: readonly number[] = [...Array.from({ length: 0x20 }, (_, i) => i), 0x22, 0x5c, 0x7f];

const escapeOf = (codePoint: number): string => {
  const json = JSON.stringify(String.fromCharCode(codePoint)).slice(1, -1);
  return codePoint === 0x7f ? '\\u007f' : json;
};

/** Between the parts of arrays and objects: nothing, a space, or a new line and its indentation. */
export const SPACE: Expression = rule('json-space');
export const COMMA: Expression = sequence(literal(','), SPACE);
export const COLON: Expression = sequence(literal(':'), optional(literal(' ')));

/** One character of a JSON string, of those in `ranges`. */
export function jsonCharacters(ranges: CodePoints): Expression {
  const isIn = (codePoint: number) => ranges.some(([low, high]) => low <= codePoint && codePoint <= high);
  const plain = intersectionOf(ranges, PLAIN);
  const escapes = ESCAPED.filter(isIn).map((codePoint) => literal(escapeOf(codePoint)));
  return choice(characters(plain), ...escapes);
}

/** A JSON string whose content, unescaped, is of an expression; rules in it are of escaped text. */
export function jsonString(content: Expression): Expression {
  return sequence(QUOTE, escaped(content), QUOTE);
}

function escaped(content: Expression): Expression {
  switch (content.type) {
    case 'characters':
      return jsonCharacters(content.ranges);
    case 'sequence':
      return sequence(...content.items.map(escaped));
    case 'choice':
      return choice(...content.options.map(escaped));
    case 'repeat':
      return repeat(escaped(content.item), content.min, content.max);
    case 'words':
      return words(content.texts.map((text) => JSON.stringify(text).slice(1, -1)));
    case 'rule':
      return content;
  }
}

export const ANY_CHARACTER: CodePoints = [[0, 0x10ffff]];
const FRACTION = sequence(literal('.'), repeat(DIGIT, 1, EXACT_DIGITS));
const EXPONENT = sequence(
  characters([
    [0x45, 0x45],
    [0x65, 0x65],
  ]),
  optional(
    characters([
      [0x2b, 0x2b],
      [0x2d, 0x2d],
    ]),
  ),
  repeat(DIGIT, 1, 2),
);

/** Integers of at most 15 digits, which a double holds exactly. */
export const JSON_INTEGER: Expression = sequence(
  optional(literal('-')),
  choice(literal('0'), sequence(characters([[0x31, 0x39]]), repeat(DIGIT, 0, EXACT_DIGITS - 1))),
);
export const JSON_NUMBER: Expression = sequence(JSON_INTEGER, optional(FRACTION), optional(EXPONENT));

export const arrayOf = (item: Expression): Expression =>
  sequence(
    literal('['),
    SPACE,
    optional(sequence(item, repeat(sequence(COMMA, item), 0, Infinity), SPACE)),
    literal(']'),
  );

export const objectOf = (member: Expression): Expression =>
  sequence(
    literal('{'),
    SPACE,
    optional(sequence(member, repeat(sequence(COMMA, member), 0, Infinity), SPACE)),
    literal('}'),
  );

/** The rules of any JSON value (RFC 8259), the root being `json-value`. */
export function jsonGrammar(): Grammar {
  const [value, text] = [rule('json-value'), rule('json-string')];
  return {
    root: 'json-value',
    rules: new Map<string, Expression>([
      [
        'json-value',
        choice(rule('json-object'), rule('json-array'), text, JSON_NUMBER, ...['true', 'false', 'null'].map(literal)),
      ],
      ['json-space', choice(sequence(), literal(' '), sequence(literal('\n'), repeat(literal(' '), 0, INDENT)))],
      ['json-character', jsonCharacters(ANY_CHARACTER)],
      ['json-string', jsonString(repeat(rule('json-character'), 0, Infinity))],
      ['json-array', arrayOf(value)],
      ['json-object', objectOf(sequence(text, COLON, value))],
    ]),
  };
}
