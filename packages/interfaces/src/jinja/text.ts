/** Python's `str`: code points, white space, case and classes of characters. */

const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
/** White space as `str.isspace` and Python's regular expressions have it, for a class of a regular expression. */
export const SPACE_CLASS = SPACE;
const IS_SPACE = new RegExp(`^[${SPACE}]+$`);
// biome-ignore lint/suspicious/noControlCharactersInRegex: they end lines in Python.
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

const SURROGATE = /[\ud800-\udfff]/;

export const hasSurrogates = (text: string): boolean => SURROGATE.test(text);
export const isSpace = (text: string): boolean => IS_SPACE.test(text);

/** The text's characters: code points, not UTF-16 units. */
export const characters = (text: string): string[] => (hasSurrogates(text) ? Array.from(text) : text.split(''));

/** `len(text)`. */
export function characterCount(text: string): number {
  if (!hasSurrogates(text)) return text.length;
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** `text[start:end]` with bounds inside the text, in code points. */
export function substring(text: string, start: number, end: number): string {
  return hasSurrogates(text) ? Array.from(text).slice(start, end).join('') : text.slice(start, end);
}

/** Orders by code points; UTF-16 units order characters beyond U+FFFF before U+E000. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  if (!hasSurrogates(a) && !hasSurrogates(b)) return a < b ? -1 : 1;
  const [first, second] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(first.length, second.length); i++) {
    const difference = first[i]!.codePointAt(0)! - second[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return first.length - second.length;
}

export type Side = 'both' | 'left' | 'right';

/** `str.strip`, `lstrip`, `rstrip`; without `chars`, white space. */
export function strip(text: string, chars: string | undefined, side: Side): string {
  const set = chars === undefined ? undefined : new Set(chars);
  const strips = (character: string) => (set ? set.has(character) : IS_SPACE.test(character));
  const units = hasSurrogates(text) ? Array.from(text) : text;
  let [start, end] = [0, units.length];
  if (side !== 'right') while (start < end && strips(units[start]!)) start++;
  if (side !== 'left') while (end > start && strips(units[end - 1]!)) end--;
  return typeof units === 'string' ? units.slice(start, end) : units.slice(start, end).join('');
}

/** `str.split` and `rsplit` at white space; `limit` < 0: no limit. */
export function splitAtSpace(text: string, limit: number, fromRight: boolean): string[] {
  const found = [...text.matchAll(new RegExp(`[^${SPACE}]+`, 'g'))];
  const words = found.map(([word]) => word);
  if (limit < 0 || words.length <= limit) return words;
  if (!fromRight) return [...words.slice(0, limit), text.slice(found[limit]!.index)];
  const last = found[found.length - limit - 1]!;
  return [text.slice(0, last.index + last[0].length), ...words.slice(words.length - limit)];
}

/** `str.split` at a separator; `limit` < 0: no limit. */
export function splitAt(text: string, separator: string, limit: number): string[] {
  const parts = text.split(separator);
  return limit < 0 || parts.length <= limit + 1
    ? parts
    : [...parts.slice(0, limit), parts.slice(limit).join(separator)];
}

/** `str.rsplit` at a separator; `limit` < 0: no limit. */
export function splitAtFromRight(text: string, separator: string, limit: number): string[] {
  const parts: string[] = [];
  let end = text.length;
  while (limit < 0 || parts.length < limit) {
    const start = end < separator.length ? -1 : text.lastIndexOf(separator, end - separator.length);
    if (start < 0) break;
    parts.push(text.slice(start + separator.length, end));
    end = start;
  }
  return [...parts, text.slice(0, end)].reverse();
}

/** `str.splitlines`. */
export function splitLines(text: string, keepEnds: boolean): string[] {
  const lines: string[] = [];
  let start = 0;
  for (const { 0: end, index } of text.matchAll(LINE_END)) {
    lines.push(text.slice(start, keepEnds ? index + end.length : index));
    start = index + end.length;
  }
  if (start < text.length) lines.push(text.slice(start));
  return lines;
}

/** `str.expandtabs`. */
export function expandTabs(text: string, size: number): string {
  let column = 0;
  let result = '';
  for (const character of text) {
    if (character === '\t') {
      const width = size > 0 ? size - (column % size) : 0;
      result += ' '.repeat(width);
      column += width;
    } else {
      result += character;
      column = character === '\n' || character === '\r' ? 0 : column + 1;
    }
  }
  return result;
}
