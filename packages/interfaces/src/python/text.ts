/** White space of Python's `\s` and `str.strip`, to stand inside the brackets of a pattern: U+001C to U+001F and U+0085 are, U+FEFF is not. */
export const PYTHON_SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const START = new RegExp(`^[${PYTHON_SPACE}]+`, 'u');
const SPACES = new RegExp(`[${PYTHON_SPACE}]+`, 'u');
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are line ends too
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/u;

/** `text.lstrip()`: without white space at the start. */
export const stripStart = (text: string): string => text.replace(START, '');

/** `text.rstrip()`: without white space at the end. */
export function stripEnd(text: string): string {
  // A pattern would begin anew at every space on the way.
  let end = text.length;
  while (end > 0 && SPACES.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** `text.strip()`: without white space around it. */
export const strip = (text: string): string => stripEnd(stripStart(text));

/** `text.split()`: what white space separates. */
export const splitWords = (text: string): string[] => text.split(SPACES).filter((word) => word !== '');

/** `text.splitlines()`: lines without their ends, of which form feeds, separators and U+2028 are some; none behind the last end. */
export function splitLines(text: string): string[] {
  const lines = text.split(LINE_END);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** `len(text)`: characters (code points), of which an emoji is one. */
export function lengthOf(text: string): number {
  let pairs = 0;
  for (let i = 0; i + 1 < text.length; i++) {
    if ((text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) pairs++;
  }
  return text.length - pairs;
}
