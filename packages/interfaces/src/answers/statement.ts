import type { AnswerOptions } from './answer-options.js';
import { ANOTHER, LONGEST_ANSWER, normalizeAnswer } from './normalize.js';
import { plainText } from './plain-text.js';
import { NOT_THE_NUMBER } from './quantity.js';

/** Where a reason or a remark begins behind the answer. */
const REMARK =
  /\s*(?:[,;]\s+(?!\d|and\b|or\b|\p{L}\w*\s*=)|\s\(|\s[-–—]\s(?=\p{L}{2})|(?<!\d\s+):\s|:\s(?!\s*\d))|\s+(?:because|since|which|as|when|where|after|so|if|for|by(?!\s+\d)|from|with(?!\s+(?:a\s+)?remainder)|given|hence|thus|therefore)\s/giu;

const MOST_REMARKS = 10;
/** Different answers for different cases. */
const CASES = /\b(?:otherwise|else)\b|\b(if|for|when)\b.*\band\b.*\b\1\b/is;
/** What follows is no remark but another answer: `5 (or 6)`. */
const ALTERNATIVE = /^[\s(:;,–—-]*(?:or|and|alternatively|otherwise|maybe|perhaps|possibly|either)\b/i;

/** Whether a spelling of `normalizeAnswer` is that of a number. */
export const isNumber = (spelling: string): boolean => /^-?\d+(?:\/\d+)?$/.test(spelling);

/**
 * The answer of a statement's end (`42 because 6 * 7 = 42`, `42 apples, as we saw`): the whole when it is one, else what
 * comes before a remark when that is a number or the remark gives a reason.
 */
export function readStatement(statement: string, options: AnswerOptions): string {
  const whole = normalizeAnswer(statement, options);
  if (isNumber(whole) || statement.length > LONGEST_ANSWER || CASES.test(statement)) return whole;
  let reason: string | null = null;
  for (const remark of [...statement.matchAll(REMARK)].slice(0, MOST_REMARKS)) {
    if (ALTERNATIVE.test(statement.slice(remark.index, remark.index + 40))) return whole;
    const head = normalizeAnswer(statement.slice(0, remark.index), options);
    if (isNumber(head)) return head;
    if (/because|since|which/i.test(remark[0])) reason ??= head;
  }
  // `3 boxes + 4 = 7`
  const plain = plainText(statement);
  const result = plain.slice(plain.lastIndexOf('=') + 1);
  if (plain.includes('=') && !NOT_THE_NUMBER.test(plain) && !/\band\b/.test(plain)) {
    const value = normalizeAnswer(result, options);
    const sides = plain.split('=').slice(0, -1);
    const agrees = (side: string): boolean => {
      const spelling = normalizeAnswer(side, options);
      return !ANOTHER.test(side.trim()) && (!isNumber(spelling) || spelling === value);
    };
    if (isNumber(value) && sides.every(agrees)) return value;
  }
  return reason ?? numberOfSentence(plain, options) ?? whole;
}

/** Words that make another number of one, or say that it is only some of many. */
const CHANGES =
  /\b(?:of|root|squared?|cubed?|times|half|twice|double|triple|more|less|plus|minus|log|room|chapter|figure|page|step|case|about|every|each|per|first|last|another|other|some|all)\b/i;

/** `Jane started growing Sphere 3 hours ago`: a sentence with one number, and its unit. */
function numberOfSentence(plain: string, options: AnswerOptions): string | null {
  const found = /^(\p{L}[\p{L}']*(?: \p{L}[\p{L}']*){2,12}) ([^\d\s]?\d\S*(?: \p{L}[\p{L}']*){1,3})\.?$/u.exec(plain);
  if (!found || NOT_THE_NUMBER.test(plain) || CHANGES.test(plain)) return null;
  const spelling = normalizeAnswer(found[2]!, options);
  return isNumber(spelling) ? spelling : null;
}
