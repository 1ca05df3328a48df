import { isSameMathematics } from './algebra/equal.js';
import { type AnswerOptions, assertAnswerOptions, assertAnswerText } from './answer-options.js';
import { DATE, readDate } from './date.js';
import { plainText } from './plain-text.js';
import { NOT_THE_NUMBER, readQuantity } from './quantity.js';
import { spellRational } from './rational.js';

/** Longer answers are compared as they are, in characters. */
export const LONGEST_ANSWER = 1000;
/** Reading is repeated until nothing changes, so that a spelling spells itself. */
const MOST_PASSES = 8;

/** Verbs and the like after which the number of a statement follows: `It is 12`, `Janet has 42 eggs`. */
const CARRIER =
  /^([^\d]*\b(?:is|are|was|were|be|equals?|equal to|has|have|had|gets?|got|makes?|made|costs?|needs?|totals?|earn(?:s|ed)?|pays?|paid|spen(?:ds?|t)|sells?|sold|buys?|bought|takes?|took|about|approximately|roughly|around|exactly|only|just|simply|clearly|thus|hence|so|therefore|now|still|option|choice)\s*:?|[^\d]*\bequal to|\s*≈)\s*(\S.*)$/i;
/** Signs of a formula, in which case and spaces are those of mathematics. */
const FORMULA = /[\\^_=<>+*/|≤≥≠±≈π∞√÷{}]|\d\p{L}|\p{L}\d|\d\s*\(/u;

/**
 * One spelling for answers that are written alike, by which votes count: those that are spelled alike are equal; `answersEqual` also knows equal formulas. White space, LaTeX
 * delimiters, spacing and styles, quotes, emphasis and a final full stop are left out.
 *
 * - A number becomes a whole number or a reduced fraction, exactly: `1,000.0` → `1000`; `0.50`, `2/4`, `\dfrac12` and
 *   `50\%` → `1/2`. Its unit is left out (`12kg`, `$5`, `42 apples`, `30^\circ` → `12`, `5`, `42`, `30`), and so is the name
 *   it is given (`x = 5`, `It is 5` → `5`) and a working that is only arithmetic (`6 * 7 = 42` → `42`).
 * - The elements of lists, tuples and intervals are spelled one by one, in their order.
 * - Other mathematics stays as it is written: `\frac{\pi}{3}` and `π/3` are one spelling, `x+1` and `1+x` are two, `\sqrt{4}`,
 *   `2+3` and `5!` are no numbers.
 * - Words are compared without case.
 */
export function normalizeAnswer(answer: string, options: AnswerOptions = {}): string {
  assertAnswerText('normalizeAnswer', 'answer', answer);
  assertAnswerOptions(options);
  if (answer.length > LONGEST_ANSWER) return answer.trim();
  // Most answers of most rewards: nothing is left to spell.
  if (/^-?[1-9]\d{0,14}$/.test(answer)) return answer;
  let text = answer;
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    const before = text;
    text = spell(text, options);
    if (text === before) break;
  }
  return text;
}

/**
 * Whether two answers are the same: spelled alike by `normalizeAnswer`, or the same mathematics. Formulas are read into a tree and compared as sums of products with exact
 * coefficients; what has no such normal form is evaluated at points. Lists and sets are compared in any order, tuples and matrices place by place, unions of intervals
 * (`x > 5` is `(5, ∞)`) as what they hold, equations up to a factor. It is reflexive and symmetric, and transitive but for values within 10⁻¹⁰ of each other.
 */
export function answersEqual(first: string, second: string, options: AnswerOptions = {}): boolean {
  return spellingsEqual(normalizeAnswer(first, options), normalizeAnswer(second, options), options);
}

/** `answersEqual` of what is spelled already. */
export function spellingsEqual(first: string, second: string, options: AnswerOptions = {}): boolean {
  if (first === second) return true;
  if (first.length > LONGEST_ANSWER || second.length > LONGEST_ANSWER) return false;
  if (DATE.test(first) || DATE.test(second)) return false;
  return isSameMathematics(first, second, { computed: options.arithmetic === 'computed', decimals: options.decimals });
}

/**
 * What of the answers that are known an answer is the same as, itself first; undefined where it is new. For votes, whose answers are spelled by an extractor: `\\sqrt{8}` and
 * `2\\sqrt{2}` are one candidate.
 */
export function equalAnswer(known: Iterable<string>, answer: string, options: AnswerOptions = {}): string | undefined {
  let equal: string | undefined;
  for (const one of known) {
    if (one === answer) return one;
    if (equal === undefined && spellingsEqual(one, answer, options)) equal = one;
  }
  return equal;
}

function spell(answer: string, options: AnswerOptions): string {
  // `x \in [0, 1]` says `[0, 1]`.
  const text = bare(plainText(answer)).replace(/^\p{L}\s*\\in(?![a-zA-Z])\s*/u, '');
  return (
    readDate(text, options) ??
    statedDate(text, options) ??
    statedNumber(text, options) ??
    spellList(text, options) ??
    spellText(text)
  );
}

/** An element of a list, which keeps its name: `x = 1, y = 2` is not `y = 1, x = 2`. */
function spellElement(element: string, options: AnswerOptions): string {
  const text = bare(element.trim());
  const date = readDate(text, options);
  if (date !== null) return date;
  const value = readQuantity(text, options);
  return value ? spellRational(value) : (spellList(text, options) ?? spellText(text));
}

/** Without quotes, emphasis and full stops around it. */
function bare(text: string): string {
  let result = text;
  for (let before = ''; before !== result; ) {
    before = result;
    result = result
      .replace(/^(?:["'`*]|__)+|(?:["'`*]|__)+$/g, '')
      .replace(/^(.*[^.])\.$/s, '$1')
      .replace(/[,;:⏎]$/, '')
      .trim();
    if (isUnbalanced(result)) result = result.slice(0, -1);
  }
  return /^\(\s*([a-z])\s*\)$/i.exec(result)?.[1] ?? /^([A-Za-z])\)$/.exec(result)?.[1] ?? result;
}

/** Whether the last character closes a bracket that was never opened. */
function isUnbalanced(text: string): boolean {
  const close = text.at(-1)!;
  const open = { '}': '{', ')': '(', ']': '[' }[close];
  // `[1, 2)` is an interval.
  return open !== undefined && !/[([{]/.test(text);
}

/** `It is March 5, 2021`. */
function statedDate(text: string, options: AnswerOptions): string | null {
  if (!/\d/.test(text)) return null;
  const stated = CARRIER.exec(text)?.[2];
  return stated === undefined || NOT_THE_NUMBER.test(text) ? null : readDate(stated, options);
}

/** The spelling of the number that a text states, or null. */
function statedNumber(text: string, options: AnswerOptions): string | null {
  const quantity = readQuantity(text, options);
  if (quantity) return spellRational(quantity);
  const ways = text.split(/\s+or\s+/).map((way) => readQuantity(way, options));
  if (ways.length > 1 && ways.every((way) => way !== null)) {
    const spellings = new Set(ways.map((way) => spellRational(way)));
    // `3/4 or 0.75`
    if (spellings.size === 1) return [...spellings][0]!;
  }
  const side = text.includes('=') || text.includes('≈') ? lastSide(text, options) : null;
  if (side !== null) return spell(side, options);
  const stated = CARRIER.exec(text);
  if (!stated || NOT_THE_NUMBER.test(text)) return null;
  const value = readQuantity(bare(stated[2]!), options);
  return value && spellRational(value);
}

/** The logarithm of x is not x. */
const OF_A_NAME =
  /\b(?:log|ln|sqrt|sin|cos|tan|half|twice|double|triple|root|squared|cubed|minus|negative|reciprocal|inverse)\b|\b(?:square|cube|third|quarter) of\b/i;
/** What an equation may give a value to: `x`, `x_1`, `f(x)`, `(p, q)`, `total cost`, `|AB|`, `AB/CD`, `A:B`. */
const NAME =
  /^\|[A-Z]{2}\|$|^\\frac\{[A-Z]{2}\}\{[A-Z]{2}\}$|^[A-Z](?:_\{?\w+\}?)?:[A-Z](?:_\{?\w+\}?)?$|^\p{L}+(?:_\{?\w+\}?)?'?$|^\p{L}\(\p{L}\)$|^\(\s*\p{L}(?:\s*,\s*\p{L})*\s*\)$|^[\p{L}\s]+$/u;

/** In the midst of an equation, these say that another one begins: `x = 5, y = 6`, `x = 5 \lor x = 6`, `a = 5 b = 6`. */
export const ANOTHER =
  /[,;⏎|∨&:]|\.\s|\band\b|\\(?:lor|vee|mid|quad|qquad|wedge|land|cup|to|iff|implies|Rightarrow|Longrightarrow|Leftrightarrow)(?![a-zA-Z])|^[^\p{L}]*\s\p{L}(?:_\{?\w+\}?)?$/u;
const words = (text: string): readonly string[] => text.split(/[^\p{L}\p{N}_]+/u);
/** `5 feet = 60 inches`: two numbers that may be one length. */
const isMeasure = (side: string): boolean => /^[-\d.,/]+ ?\p{L}+$/u.test(side);

/** Not where the index of a sum begins, `\sum_{k=0}^n`. */
const EQUALS = /=(?![^{}]*(?<!\\)\})|≈/;

/** What an equation says of a name (`x = 5`) or of a working (`6 * 7 = 42`); null when it is another equation, or wrong. */
function lastSide(text: string, options: AnswerOptions): string | null {
  // The line NO is not the word.
  const said = text.replace(/\\frac\{[A-Z]{2}\}\{[A-Z]{2}\}|\|[A-Z]{2}\|/g, '');
  if (/[<>≤≥≠:]=|=>|==/.test(text) || NOT_THE_NUMBER.test(said)) return null;
  const isName = (side: string) => side === '' || (NAME.test(side) && !OF_A_NAME.test(side));
  const sides = text.split(EQUALS).map((side) => side.trim());
  if (sides.length < 2) return null;
  // `x = 1/3 ≈ 0.333` says 1/3; `x ≈ 0.333` has nothing more exact.
  const exact = sides.slice(0, text.split('≈', 1)[0]!.split(EQUALS).length);
  const values = (exact.every(isName) ? sides : exact).filter((side) => !isName(side));
  const last = values.at(-1);
  if (last === undefined) return sides.length === 2 && sides[0] === '' ? sides[1]! : null;
  const value = spell(last, options);
  const isWorking = (side: string) => {
    if (ANOTHER.test(side)) return false;
    const number = readQuantity(side, options);
    if (number !== null) return spellRational(number) === value || (isMeasure(side) && isMeasure(last));
    const arithmetic = /^[\d\s.,+\-*/÷^()%]+$/.test(side.replace(/\\frac|[{}]/g, ''));
    // `x = -b / 2a = 3` gives a name its value in steps.
    return arithmetic || (isName(sides[0]!) && sides[0] !== '' && !words(side).includes(sides[0]!));
  };
  return values.slice(0, -1).every(isWorking) ? last : null;
}

/** Elements of `(a, b)`, `[a, b)`, `{a, b}` and `a, b`, each spelled; null when the text is no list. */
function spellList(text: string, options: AnswerOptions): string | null {
  const bracketed = /^(\\?[([{])(.*?)(\\?[)\]}])$/s.exec(text);
  const [open, inner, close] = bracketed
    ? [bracketed[1]!, bracketed[2]!, bracketed[3]!]
    : ['', /^[-\d(]/.test(text) ? text.replace(/,?\s+and\s+(?=[-\d(\\])/g, ', ') : text, ''];
  const elements: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < inner.length; i++) {
    if ('([{'.includes(inner[i]!)) depth++;
    else if (')]}'.includes(inner[i]!) && --depth < 0) return null;
    // `1,23` without brackets may be one number, written with a comma.
    else if (inner[i] === ',' && depth === 0 && (bracketed || inner[i + 1] === ' ')) {
      elements.push(inner.slice(start, i));
      start = i + 1;
    }
  }
  elements.push(inner.slice(start));
  if (depth !== 0 || elements.length < 2) return null;
  return `${open}${elements.map((element) => spellElement(element, options)).join(', ')}${close}`;
}

function spellText(written: string): string {
  const text = written.replace(/(\d)\s*:\s*(?=\d)/g, '$1:');
  if (!FORMULA.test(text)) return lowerCase(text);
  return fractions(text)
    .replace(/\s*([^\p{L}\p{N}\s])\s*/gu, '$1')
    .replace(/(\d)\s+(?=\p{L}(?!\p{L}|(?:_\{?\w+\}?)?\s*=)|\\)/gu, '$1')
    .replace(/([\^_])\{(\w)\}(?!\d)/g, '$1$2');
}

/** `5 M` is not `5 m`. */
function lowerCase(text: string): string {
  const lower = text.toLowerCase();
  return readQuantity(lower) === null ? lower : text;
}

/** `\frac{a}{b}` as `a/b`, in parentheses wherever `a/b` could be read otherwise. */
function fractions(text: string): string {
  let result = text;
  for (let before = ''; before !== result; ) {
    before = result;
    result = result.replace(
      /(^|.)\s*\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}(?=\s*(.?))/g,
      (_, previous: string, top: string, bottom: string, next: string) => {
        const part = (side: string) => (/^\s*(?:\d+|\p{L})\s*$/u.test(side) ? side.trim() : `(${side.trim()})`);
        const quotient = `${part(top)}/${part(bottom)}`;
        const alone = /^[-+=(,[<>≤≥ ]?$/.test(previous) && /^[-+=),\]<>≤≥ ]?$/.test(next);
        return `${previous}${alone ? quotient : `(${quotient})`}`;
      },
    );
  }
  return result;
}
