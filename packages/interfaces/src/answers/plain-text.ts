/** LaTeX and typography of an answer as plain characters, so that one reader of numbers and one of texts is enough. */

/** GSM8K's calculator: `20 - 8 = <<20-8=12>>12`. */
export const CALCULATION = /<<[^<>\n]{0,200}>>/g;

const TYPOGRAPHY: readonly (readonly [RegExp, string])[] = [
  [CALCULATION, ''],
  [/[−–—‐‑‒﹣]/g, '-'],
  [/[\u00a0\u2000-\u200a\u202f\u3000]/g, ' '],
  [/[\u200b-\u200d\u2060\ufeff]/g, ''],
  [/[“”]/g, '"'],
  [/[‘’]/g, "'"],
  [/×|(?<=\d)\s*x\s*(?=10\s*\^)|(?<=\d)\s+x\s+(?=\d)/g, '*'],
  [/[·∙⋅]/g, '*'],
  [/⁄/g, '/'],
  [/<=/g, '≤'],
  [/>=/g, '≥'],
  [/!=/g, '≠'],
  [/∈/g, '\\in '],
  [/\bper cents?\b/gi, 'percent'],
];
const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';
const VULGAR: Readonly<Record<string, string>> = {
  '½': '1/2',
  '⅓': '1/3',
  '⅔': '2/3',
  '¼': '1/4',
  '¾': '3/4',
  '⅕': '1/5',
  '⅛': '1/8',
};

const NAMED: Readonly<Record<string, string>> = {
  times: '*',
  cdot: '*',
  ast: '*',
  div: '÷',
  pi: 'π',
  infty: '∞',
  le: '≤',
  leq: '≤',
  leqslant: '≤',
  ge: '≥',
  geq: '≥',
  geqslant: '≥',
  lt: '<',
  gt: '>',
  ne: '≠',
  neq: '≠',
  approx: '≈',
  simeq: '≈',
  pm: '±',
  degree: '°',
  percent: '%',
};

/** Commands that only set how their argument looks. */
const STYLED =
  /\\(?:text|textnormal|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mathtt|boldsymbol|bm|mbox|hbox|emph|underline|operatorname|boxed|fbox)\s*\{([^{}]*)\}/g;
const INVISIBLE =
  /\\(?:left|right|bigl?|bigr|Bigl?|Bigr|displaystyle|textstyle|limits|mathstrut|phantom\{[^{}]*\})(?![a-zA-Z])/g;
const SPACES = /\\(?:[,;: ]|q?quad(?![a-zA-Z]{2}))|~/g;

/**
 * The answer with typographic signs, LaTeX spacing, delimiters, styles and named symbols written as plain characters.
 * `\frac`, `\sqrt` and other mathematics stay; `\dfrac12` becomes `\frac{1}{2}`.
 */
export function plainText(text: string): string {
  let plain = text.replace(/[\uff01-\uff5e]/g, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0));
  for (const [pattern, replacement] of TYPOGRAPHY) plain = plain.replace(pattern, replacement);
  plain = plain
    .replace(/[⁰¹²³⁴⁵⁶⁷⁸⁹]+/g, (digits) => `^{${[...digits].map((digit) => SUPERSCRIPTS.indexOf(digit)).join('')}}`)
    .replace(/(\d?)\s*([½⅓⅔¼¾⅕⅛])/g, (_, before: string, sign: string) =>
      before === '' ? VULGAR[sign]! : `${before} ${VULGAR[sign]}`,
    )
    // `\\frac` is an escaped `\frac`; other pairs of backslashes end the row of a matrix.
    .replace(/(?<!\\)\\\\(?=[a-zA-Z]{2}|[[\]()])/g, '\\')
    .replace(/\\\\/g, '⏎')
    .replace(/\{,\}|,\s*\\!\s*/g, ',')
    .replace(/\\!/g, '')
    .replace(/\\\[|\\\]|\\\(|\\\)/g, '')
    .replace(INVISIBLE, '')
    .replace(SPACES, ' ')
    .replace(/\\[dtc]frac(?![a-zA-Z])/g, '\\frac')
    .replace(/\^\s*(?:\{\s*\\(?:circ|prime)\s*\}|\\circ(?![a-zA-Z]))/g, '°');
  for (let before = ''; before !== plain; ) {
    before = plain;
    // A space in front keeps `3\text{m}` three metres and not the product `3m`.
    plain = plain.replace(STYLED, ' $1');
  }
  return plain
    .replace(/\\([a-zA-Z]+)/g, (command, name: string) => (Object.hasOwn(NAMED, name) ? `${NAMED[name]} ` : command))
    .replace(/\\([$%#&_])/g, '$1')
    .replace(/\$/g, '')
    .replace(/\\frac\s*(\d)\s*(\d)/g, '\\frac{$1}{$2}')
    .replace(/\\frac\s*(\d)\s*\{/g, '\\frac{$1}{')
    .replace(/\\frac\s*(\{[^{}]*\})\s*(\d)/g, '\\frac$1{$2}')
    .replace(/\\sqrt\s*(\w)/g, '\\sqrt{$1}')
    .replace(/√\s*(\d+|\p{L})/gu, '\\sqrt{$1}')
    .replace(/\s+/g, ' ')
    .trim();
}
