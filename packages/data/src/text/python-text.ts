/** How many characters (code points) a text has, as the filters of Python libraries count: an emoji is one. */
export function lengthOf(text: string): number {
  let units = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < text.length && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) units++;
  }
  return text.length - units;
}

/** Lines without their ends, as Python's `splitlines`: also at form feeds, separators and U+2028; none of an empty text, and none behind the last end. */
export function splitLines(text: string): string[] {
  const lines = text.split(LINE_END);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are line ends too
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/u;
// White space as Python has it: information separators and next line are, the byte order mark is none.
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const START = new RegExp(`^[${SPACE}]+`, 'u');
const END = new RegExp(`[${SPACE}]+$`, 'u');
const SPACES = new RegExp(`[${SPACE}]+`, 'u');

export const stripStart = (text: string): string => text.replace(START, '');

/** Without white space at the end; looks from the end, as a pattern would at every run of spaces before it. */
export function stripEnd(text: string): string {
  return isSpace(text.charAt(text.length - 1)) ? text.replace(END, '') : text;
}

export const strip = (text: string): string => stripEnd(stripStart(text));

/** What white space separates. */
export const splitWords = (text: string): string[] => text.split(SPACES).filter((word) => word !== '');

const isSpace = (character: string) => character !== '' && SPACES.test(character);
