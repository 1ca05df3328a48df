/** Python's case mappings and classes of characters, where JavaScript's differ or lack them. */
import { unsupported } from './errors.js';

const CASED = /\p{Cased}/u;
const UPPER = /\p{Uppercase}/u;
const LOWER = /\p{Lowercase}/u;
const TITLE = /\p{Lt}/u;
const FOLLOWED_BY_CASED = /^\p{Case_Ignorable}*\p{Cased}/u;

/** The title case of one character: Unicode's own where it is not the upper case of the first letter. */
function titleCharacter(character: string): string {
  const code = character.codePointAt(0)!;
  const upper = character.toUpperCase();
  if (code === 0x149 || (code >= 0x10d0 && code <= 0x10ff)) return code === 0x149 ? upper : character;
  if (code >= 0x1c4 && code <= 0x1cc) return String.fromCodePoint(code - ((code - 0x1c4) % 3) + 1);
  if (code >= 0x1f1 && code <= 0x1f3) return '\u01f2';
  if (code >= 0x1f80 && code <= 0x1faf) return String.fromCodePoint(code | 8);
  if (code >= 0x1fb2 && code <= 0x1ffc && upper.length > 1 && upper.endsWith('\u0399')) {
    // One letter with its iota below, or the iota as a mark.
    return [0x3, 0xc].includes(code & 0xf) ? String.fromCodePoint((code & ~0xf) | 0xc) : `${upper.slice(0, -1)}\u0345`;
  }
  const [first = ''] = upper;
  return first + upper.slice(first.length).toLowerCase();
}

/** `str.capitalize`. */
export function capitalize(text: string): string {
  const [first] = text;
  if (first === undefined) return '';
  return titleCharacter(first) + text.toLowerCase().slice(first.toLowerCase().length);
}

/** Maps each character, told whether the one before it has case. */
function mapCase(text: string, map: (character: string, afterCased: boolean, lower: () => string) => string): string {
  let result = '';
  let position = 0;
  let afterCased = false;
  for (const character of text) {
    position += character.length;
    const rest = position;
    const before = afterCased;
    // A sigma at the end of a word is written otherwise.
    const lower = () =>
      character === 'Σ'
        ? before && !FOLLOWED_BY_CASED.test(text.slice(rest, rest + 64))
          ? 'ς'
          : 'σ'
        : character.toLowerCase();
    result += map(character, afterCased, lower);
    afterCased = CASED.test(character);
  }
  return result;
}

/** `str.title`. */
export const titleCase = (text: string): string =>
  mapCase(text, (character, afterCased, lower) => (afterCased ? lower() : titleCharacter(character)));

/** `str.swapcase`. */
export const swapCase = (text: string): string =>
  mapCase(text, (character, _, lower) =>
    UPPER.test(character) ? lower() : LOWER.test(character) ? character.toUpperCase() : character,
  );

/** `str.casefold`, of ASCII. */
export function caseFold(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text.toLowerCase();
  return unsupported('casefold() of text beyond ASCII; use lower().');
}

const DIGIT_NOT_DECIMAL = new RegExp(
  '[\\xb2\\xb3\\xb9\\u1369-\\u1371\\u19da\\u2070\\u2074-\\u2079\\u2080-\\u2089\\u2460-\\u2468\\u2474-\\u247c\\u2488-\\u2490\\u24ea' +
    '\\u24f5-\\u24fd\\u24ff\\u2776-\\u277e\\u2780-\\u2788\\u278a-\\u2792\\u{10a40}-\\u{10a43}\\u{10e60}-\\u{10e68}' +
    '\\u{11052}-\\u{1105a}\\u{1f100}-\\u{1f10a}]',
  'u',
);
/** Ideographs that Unicode gives a numeric value. */
const NUMERAL_IDEOGRAPHS = new Set(
  '㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭' +
    '\uf96b\uf973\uf978\uf9b2\uf9d1\uf9d3\uf9fd\u{2f890}',
);

const isDigit = (character: string) => /\p{Nd}/u.test(character) || DIGIT_NOT_DECIMAL.test(character);
const isNumeric = (character: string) => /\p{N}/u.test(character) || NUMERAL_IDEOGRAPHS.has(character);

/** Whether every character of a text, which has some, is of a class. */
const every = (test: (character: string) => boolean) => (text: string) => text !== '' && Array.from(text).every(test);

/** Has case, none of it of the other kind. */
const hasOnly = (wanted: RegExp, other: RegExp) => (text: string) =>
  wanted.test(text) && !other.test(text) && !TITLE.test(text);

function isTitle(text: string): boolean {
  let afterCased = false;
  let found = false;
  for (const character of text) {
    const begins = UPPER.test(character) || TITLE.test(character);
    const continues = !begins && LOWER.test(character);
    if ((begins && afterCased) || (continues && !afterCased)) return false;
    afterCased = begins || continues;
    found ||= afterCased;
  }
  return found;
}

const PRINTABLE = /^[^\p{C}\p{Z}]$/u;
export const isPrintable = (character: string): boolean => character === ' ' || PRINTABLE.test(character);

/** `str.isalnum` and its kin, but for `isspace`. Newer characters are as the JavaScript engine's Unicode has them. */
export const TEXT_CLASSES: Readonly<Record<string, (text: string) => boolean>> = {
  isalnum: every((character) => /\p{L}/u.test(character) || isDigit(character) || isNumeric(character)),
  isalpha: every((character) => /\p{L}/u.test(character)),
  isascii: (text) => /^[\0-\x7f]*$/.test(text),
  isdecimal: every((character) => /\p{Nd}/u.test(character)),
  isdigit: every(isDigit),
  isidentifier: (text) => /^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(text),
  islower: hasOnly(LOWER, UPPER),
  isnumeric: every(isNumeric),
  isprintable: (text) => Array.from(text).every(isPrintable),
  istitle: isTitle,
  isupper: hasOnly(UPPER, LOWER),
};
