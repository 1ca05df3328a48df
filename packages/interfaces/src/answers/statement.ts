import { NOT_THE_NUMBER, normalizeAnswer } from './normalize.js';
import type { AnswerOptions } from './number.js';

/** Where a reason or a remark begins behind the answer. */
const REMARK =
  /\s*(?:[,;]\s+(?!\d|and\b|or\b)|\s\(|\s[-–—]\s(?=\p{L}{2})|:\s)|\s+(?:because|since|which|as|when|where|after|so|if|for|by|from|with|given|hence|thus|therefore)\s/giu;

/** Fewer words are a name, such as `Room 12`. */
const SENTENCE = 4;

const isNumber = (spelling: string): boolean => /^-?\d+(?:\/\d+)?$/.test(spelling);

/**
 * The answer of a statement's end (`42 because 6 * 7 = 42`, `42 apples, as we saw`): the whole when it is one, else what
 * comes before a remark when that is a number or the remark gives a reason.
 */
export function readStatement(statement: string, options: AnswerOptions): string {
  const whole = normalizeAnswer(statement, options);
  if (isNumber(whole)) return whole;
  let reason: string | null = null;
  for (const remark of statement.matchAll(REMARK)) {
    const head = normalizeAnswer(statement.slice(0, remark.index), options);
    if (isNumber(head)) return head;
    if (/because|since|which/i.test(remark[0])) reason ??= head;
  }
  return reason ?? onlyNumber(statement, options) ?? whole;
}

/** The number of a sentence of some words that holds just one: `that Jane sold 12 of them`. */
function onlyNumber(statement: string, options: AnswerOptions): string | null {
  const words = statement.split(/\s+/);
  if (words.length < SENTENCE || NOT_THE_NUMBER.test(statement)) return null;
  const numbers = words.filter((word) => /\d/.test(word));
  const spelling = numbers.length === 1 ? normalizeAnswer(numbers[0]!, options) : '';
  const unit = words[words.indexOf(numbers[0]!) + 1];
  return isNumber(spelling) && (unit === undefined || isNumber(normalizeAnswer(`${numbers[0]} ${unit}`, options)))
    ? normalizeAnswer(unit === undefined ? numbers[0]! : `${numbers[0]} ${unit}`, options)
    : null;
}
