/** Finds the answer of a completion in a form in which equal answers are equal strings; `null` when there is none. */
export type AnswerExtractor = (text: string) => string | null;

/**
 * The content of the last balanced `\boxed{…}`; `null` when there is none.
 */
export function extractBoxed(text: string): string | null {
  const open = '\\boxed{';
  for (let start = text.lastIndexOf(open); start >= 0; start = start === 0 ? -1 : text.lastIndexOf(open, start - 1)) {
    let depth = 1;
    for (let i = start + open.length; i < text.length; i++) {
      if (text[i] === '{') depth++;
      else if (text[i] === '}' && --depth === 0) return text.slice(start + open.length, i);
    }
  }
  return null;
}

const MARKERS = [/####[ \t]*(.+)/g, /\banswer\b(?:[ \t]+is\b)?[ \t]*[:=]?[ \t]*(.+)/gi];
const NUMBER = /(?:(?<![\w)])-)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\/\d+)?|\.\d+)/g;
/** Longer digit strings stay text: exact arithmetic on them would be slow, and no task asks for them. */
const LONGEST_NUMBER = 1000;

/**
 * The final answer as models write it, normalised: the last `\boxed{…}`, else what follows the last `####`, else what
 * follows the last "answer is" / "answer:" on its line, else the last number; `null` when there is none of these.
 */
export function extractFinalAnswer(text: string): string | null {
  const boxed = extractBoxed(text);
  if (boxed !== null) return nonEmpty(normalizeAnswer(boxed));
  for (const marker of MARKERS) {
    const found = [...text.matchAll(marker)].at(-1)?.[1];
    if (found !== undefined) return nonEmpty(normalizeAnswer(found));
  }
  const number = [...text.matchAll(NUMBER)].at(-1)?.[0];
  return number === undefined ? null : normalizeAnswer(number);
}

function nonEmpty(answer: string): string | null {
  return answer === '' ? null : answer;
}

/**
 * One spelling for equal answers. Lower case, single spaces, without surrounding `$`, quotes and a final full stop.
 * Rational numbers become reduced fractions, exactly: `1,000.0` → `1000`, `0.50`, `2/4` and
 * `\frac{1}{2}` → `1/2`, `-0` → `0`. Anything else stays text; `50%` is not `1/2`.
 */
export function normalizeAnswer(answer: string): string {
  let text = answer.toLowerCase().replace(/\s+/g, ' ').trim();
  for (let before = ''; before !== text; ) {
    before = text;
    text = text
      .replace(/^[$"'`*]+|[$"'`*]+$/g, '')
      .replace(/\.$/, '')
      .trim();
  }
  return rational(text.replace(/^(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}$/, '$1$2/$3')) ?? text;
}

function rational(text: string): string | null {
  if (text.length > LONGEST_NUMBER) return null;
  const match = /^([+-]?)(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d*))?(?: ?\/ ?(\d+))?$/.exec(text);
  if (!match) return null;
  const [, sign, whole = '', decimals = '', divisor] = match;
  if (whole === '' && decimals === '') return null;
  if (divisor !== undefined && BigInt(divisor) === 0n) return null;
  const numerator = BigInt(whole.replaceAll(',', '') + decimals);
  const denominator = 10n ** BigInt(decimals.length) * BigInt(divisor ?? 1);
  const divide = greatestCommonDivisor(numerator, denominator);
  const [top, bottom] = [numerator / divide, denominator / divide];
  return `${sign === '-' && top !== 0n ? '-' : ''}${top}${bottom === 1n ? '' : `/${bottom}`}`;
}

function greatestCommonDivisor(first: bigint, second: bigint): bigint {
  let [a, b] = [first, second];
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
