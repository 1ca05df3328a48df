import type { AnswerOptions } from './answer-options.js';
import { dateAtEnd, readDate } from './date.js';
import { normalizeAnswer } from './normalize.js';
import { CALCULATION, plainText } from './plain-text.js';
import { isNumber } from './statement.js';

/** A factor before one of these is not the answer: `6 log 2`, `6 ln x`, `6 sin(x)`, but not `6 log cabins`. */
const FUNCTION =
  /^(?:(?:log|ln|lg|sin|cos|tan|sqrt|exp)(?=$|\s*[_\d(.,;:?!]|\s+\p{L}(?!\p{L}))|(?:square|cube) roots?\b)/iu;
/** An element of a list of numbers, but for the last one. */
const LISTED = /^[([]?[-+$]?\d[\d.,/]*%?[,;]$|^(?:…|\.{3}),?$/;
/** What is listed behind one of these may be chosen: `options: 1, 2, … 6`. */
const CANDIDATES = /\b(?:options?|choices?|candidates?|possibilities|possible|either)\b/i;
/** Only the end of a long text is searched. */
const SEARCHED = 4000;
const MATH = /\$\$([^$]+)\$\$|(?<![\\\d])\$([^$\n]+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[([\s\S]+?)\\\]/g;
/** A word of a natural language. */
const WORD = /(?<![\\\p{L}])\p{L}{2,}/u;
const HAS_VALUE = /\d|\\(?:frac|sqrt|pi|infty)|[π∞√]/;
const OPERATOR = /^(?:[=+*/^<>≤≥≠≈±×·÷−–-]|\\(?:times|cdot|div|le|leq|ge|geq|approx|pm|ne|neq))+$/;
/** `v1.0`, `GPT-4`, `1.2.3`: names that hold digits. */
const NAME = /^\p{L}[\p{L}\d]*[\d.-]*\d[\p{L}\d.]*$|^\d+(?:\.\d+){2,}$/u;
/** Behind a number, these say that it is not the answer: `6 is wrong`. */
const NOT_AFTER = /^(?:(?:is|was|are|would be) (?:not|wrong|incorrect|false|impossible)|isn't|wasn't|cannot|can't)\b/i;
/** Before a number, these say that something else is meant: `not 7`, `less than 7`, `minus 7`, `the root of 7`. */
const NOT_ITSELF =
  /(?<!\p{L})(?:(?:not|cannot|can't|isn't) be|not think (?:it is|it's)|not|isn't|never|than|least|most|cannot|over|under|above|below|exceeds|[≠<>≤≥]|negative|minus|twice|double|triple|sqrt|log|root|(?:root|log|logarithm|square|cube|half|third|quarter|factorial) of|\d\S* or|between \S+ and)$/iu;
const SCALE =
  /^(?:dozen|hundred|thousand|million|billion|trillion|percent|pct|squared|cubed|factorial|pi|halves|thirds?|quarters?|fourths?|fifths?|tenths?|hundredths?|and an? (?:half|third|quarter|fourth))\b/i;

/**
 * The answer of a text without a mark: the whole text when it is only a formula or a letter, else its last number or
 * formula; `''` when there is none. A number in a formula that is no number gives the formula.
 */
export function lastStated(text: string, options: AnswerOptions): string {
  const whole = text.trim();
  const day = readDate(whole, options);
  if (day !== null) return day;
  if (!whole.includes('\n') && whole.length <= 200 && isFormula(whole)) return normalizeAnswer(whole, options);
  const end = whole.slice(-SEARCHED).replace(CALCULATION, '');
  const words = [...end.matchAll(/\S+/g)].map((found) => ({ text: found[0], index: found.index }));
  const last = words.findLastIndex(({ text }) => isValue(text));
  const math = [...end.matchAll(MATH)].findLast((found) => isMath(found));
  if (math && math.index + math[0].length > (words[last]?.index ?? -1)) return normalizeAnswer(innerOf(math), options);
  const date = last < 0 ? null : dateAtEnd(strip(end.slice(0, words[last]!.index + words[last]!.text.length)));
  if (date !== null) return normalizeAnswer(date, options);
  return last < 0
    ? ''
    : readAround(
        words.map((word) => word.text),
        last,
        options,
      );
}

/** What stands between `$3, $4` is not mathematics. */
function isMath(found: RegExpMatchArray): boolean {
  const inner = innerOf(found);
  return isFormula(inner) && (found[2] === undefined || inner === inner.trim() || inner.includes('\\'));
}

function innerOf(found: RegExpExecArray | RegExpMatchArray): string {
  return (found[1] ?? found[2] ?? found[3] ?? found[4])!;
}

function isFormula(text: string): boolean {
  const plain = plainText(text.replace(/\\(?:text|textrm|mathrm|mbox)\s*\{[^{}]*\}/g, ' '));
  if (/^\(?[A-Za-z]\)?\.?$/.test(plain)) return true;
  // `b 2` and `A: 2` are a letter and a number.
  if (/(?:^|\s)\p{L}[.:)]?\s+\d|[:?]\s/u.test(plain)) return false;
  return HAS_VALUE.test(plain) && !WORD.test(plain.replace(/\\(?:begin|end)\{\w+\}(?:\{[lcr|]+\})?|\\[a-zA-Z]+/g, ' '));
}

/** Without punctuation, and brackets that are not closed or opened, around it. */
function strip(word: string): string {
  // `5!.` is a factorial, `5!` may be a cheer.
  if (/\d![.,;:]$/.test(word)) return word.slice(0, -1);
  const text = word.replace(/^["'`*_“‘¿]+/, '').replace(/["'`*_”’.,;:?!]+$/, '');
  if (/^[([]/.test(text) && !/[)\]]/.test(text)) return strip(text.slice(1));
  return /[)\]]$/.test(text) && !/[([]/.test(text) ? strip(text.slice(0, -1)) : text;
}

function isValue(word: string): boolean {
  const text = strip(word);
  return HAS_VALUE.test(text) && !NAME.test(text);
}

/** Reads the value at `at` together with the words that belong to it. */
function readAround(words: readonly string[], at: number, options: AnswerOptions): string {
  const closed = tuple(words, at);
  if (closed !== null) return normalizeAnswer(closed, options);
  const list = listed(words, at);
  if (list !== null) return normalizeAnswer(list, options);
  let start = at;
  while (start > 0 && at - start < 40 && joins(words[start - 1]!, words[start]!)) start--;
  // `Total : 6`
  if (words[start] === ':') start++;
  let end = at;
  while (end + 1 < words.length && end - at < 8 && isOpen(words.slice(start, end + 1).join(' '))) end++;
  const next = /[.,;:?!]$/.test(words[end]!) ? '' : words.slice(end + 1, end + 4).join(' ');
  const parts = words.slice(start, end + 1).map((word, i, all) => (i === all.length - 1 ? strip(word) : word));
  parts[0] = parts[0]!.replace(/^["'`*_[“‘¿]+/, '');
  parts.push(strip((SCALE.exec(next) ?? FUNCTION.exec(next))?.[0] ?? ''));
  const before = words.slice(Math.max(0, start - 5), start).join(' ');
  const after = words
    .slice(end + 1, end + 4)
    .join(' ')
    .replace(/’/g, "'");
  const negation = NOT_ITSELF.exec(before.replace(/’/g, "'"))?.[0] ?? (NOT_AFTER.test(after) ? 'not' : '');
  const chunk = plainText(`${negation} ${parts.join(' ')}`);
  // The second of two numbers, as in `7-8`.
  const range = /^\d+-(\d+)$/.exec(chunk);
  // `= 42`, whatever part of the working stands in front of it.
  const result = /^[^<>≤≥≠]*=([^=]+)$/.exec(chunk);
  const spelling = result && negation === '' ? normalizeAnswer(result[1]!, options) : '';
  return isNumber(spelling) ? spelling : normalizeAnswer(range ? range[1]! : chunk, options);
}

/** Whether a brace was opened and not closed: `42\\text{ cm}` is two words. */
const isOpen = (text: string): boolean => text.split('{').length > text.split('}').length;

/** Whether a word and the next are parts of one formula. */
function joins(before: string, word: string): boolean {
  // `5 : 6` is a ratio, `Total : 6` is not.
  if (word === ':') return /\d$/.test(before);
  if (before === ':') return /^\d/.test(word);
  if (OPERATOR.test(word)) return isValue(before) || /^\p{L}$/u.test(before);
  if (OPERATOR.test(before) || /^\\[a-zA-Z]+$/.test(before)) return true;
  if (/^[=*/^]/.test(word) || /[=*/^]$/.test(before)) return isValue(before) || /^\p{L}$|^\p{L}=$/u.test(before);
  if (/^\\/.test(word)) return /^\$?[+-]?\d+$/.test(before);
  return (
    (/^\d+\/\d+/.test(word) && /^\d+$/.test(before)) || (/^\d{3}(?!\d)/.test(word) && /^[1-9]\d{0,2}$/.test(before))
  );
}

/** `1, 2, 6` when the value at `at` ends a list of what may be chosen: none of it is said to be the answer. */
function listed(words: readonly string[], at: number): string | null {
  let start = at;
  for (;;) {
    if (start > 0 && LISTED.test(words[start - 1]!)) start--;
    else if (start > 1 && /^and$/i.test(words[start - 1]!) && LISTED.test(`${strip(words[start - 2]!)},`)) start -= 2;
    else break;
  }
  const elements = words.slice(start, at + 1).filter((word) => !/^and$/i.test(word));
  const introduced = CANDIDATES.test(words.slice(Math.max(0, start - 4), start).join(' '));
  return introduced && elements.length > 1 ? elements.map(strip).join(', ') : null;
}

/** `(1, 2)` when the value at `at` ends a pair of brackets that was opened some words before. */
function tuple(words: readonly string[], at: number): string | null {
  const last = words[at]!.replace(/[.;:?!*"']+$/, '');
  if (!/[)\]]$/.test(last) || /[([]/.test(last)) return null;
  for (let start = at - 1; start >= Math.max(0, at - 8); start--) {
    if (!/^[([]/.test(words[start]!)) continue;
    const text = [...words.slice(start, at), last].join(' ');
    return text.includes(',') && !WORD.test(text) ? text : null;
  }
  return null;
}
