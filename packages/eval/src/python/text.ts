/** `string.punctuation`. */
export const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
/** Python's `isdigit` without `isdecimal`: digits in circles, superscripts and others. */
const OTHER_DIGITS =
  '\\u{b2}-\\u{b3}\\u{b9}\\u{1369}-\\u{1371}\\u{19da}\\u{2070}\\u{2074}-\\u{2079}\\u{2080}-\\u{2089}\\u{2460}-\\u{2468}\\u{2474}-\\u{247c}\\u{2488}-\\u{2490}\\u{24ea}\\u{24f5}-\\u{24fd}\\u{24ff}\\u{2776}-\\u{277e}\\u{2780}-\\u{2788}\\u{278a}-\\u{2792}\\u{10a40}-\\u{10a43}\\u{10e60}-\\u{10e68}\\u{11052}-\\u{1105a}\\u{1f100}-\\u{1f10a}';
const DIGITS = new RegExp(`^[\\p{Nd}${OTHER_DIGITS}]+$`, 'u');

/** `text.strip(characters)`, of characters in one unit each; `ends` says where. */
export function stripOf(text: string, characters: string, ends: 'both' | 'start' | 'end' = 'both'): string {
  let [start, end] = [0, text.length];
  if (ends !== 'end') while (start < end && characters.includes(text[start]!)) start++;
  if (ends !== 'start') while (end > start && characters.includes(text[end - 1]!)) end--;
  return text.slice(start, end);
}

/** A text without the marks of `string.punctuation`. */
export const withoutPunctuation = (text: string): string => text.replace(/[!-/:-@[-`{-~]/g, '');

/** `text.isdigit()`, of ASCII. */
export const isDigits = (text: string): boolean => /^[0-9]+$/.test(text);

/** `text.isdigit()`. */
export const isAnyDigits = (text: string): boolean => DIGITS.test(text);

/** Without diacritics and all else that is not ASCII: `unicodedata.normalize('NFKD', text)`, then ASCII with the rest ignored. */
export const asciiOf = (text: string): string => text.normalize('NFKD').replace(/[^\0-\x7f]/g, '');
