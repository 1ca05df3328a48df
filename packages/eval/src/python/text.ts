/** White space of Python's `\s` and `str.strip`: it has U+001C to U+001F and U+0085, and not U+FEFF. Inside brackets of a pattern. */
export const PYTHON_SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const LEADING = new RegExp(`^[${PYTHON_SPACE}]+`);
const TRAILING = new RegExp(`[${PYTHON_SPACE}]+$`);
const RUN = new RegExp(`[${PYTHON_SPACE}]+`);

/** `text.lstrip()`. */
export const stripStart = (text: string): string => text.replace(LEADING, '');
/** `text.rstrip()`. */
export const stripEnd = (text: string): string => text.replace(TRAILING, '');
/** `text.strip()`. */
export const strip = (text: string): string => stripEnd(stripStart(text));
/** `text.split()`: words between runs of white space. */
export const words = (text: string): string[] => text.split(RUN).filter((word) => word !== '');
/** `len(text)`: code points. */
export const length = (text: string): number => [...text].length;
/** `text.isdigit()`, of ASCII. */
export const isDigits = (text: string): boolean => /^[0-9]+$/.test(text);
/** `string.punctuation`. */
export const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
