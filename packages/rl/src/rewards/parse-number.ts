const PLAIN = String.raw`(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?`;
const NUMBER = new RegExp(String.raw`^[+-]?\s*(?:${PLAIN})$`);
const FRACTION = new RegExp(String.raw`^([+-]?)\s*(${PLAIN})\s*/\s*(${PLAIN})$`);
/** A number inside a text: not part of a word or of a longer number; a comma or point must have digits after it. */
const NUMBER_IN_TEXT =
  /(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?(?:\s*\/\s*\d+(?:\.\d+)?)?(?![\w]|[.,]\d)/g;

const plain = (text: string): number => Number(text.replace(/[,\s]/g, ''));

/** Typographic minus signs and LaTeX spacing, dollar signs and fractions as plain text. */
function simplify(text: string): string {
  return text
    .replace(/[−–—﹣－]/g, '-')
    .replace(/\\(?:dfrac|tfrac|frac)\{([^{}]*)\}\{([^{}]*)\}/g, '$1/$2')
    .replace(/\\[,;!]|\\text\{\s*\}|\\\(|\\\)|\\\[|\\\]/g, '')
    .replace(/\\?\$/g, '');
}

/**
 * The number a whole text writes: `1,234.5`, `-7`, `−7`, `3/4`, `\frac{3}{4}`, `50%` (0.5), `$12`, `1e3`, `5.`; null for
 * anything else, such as two numbers, words, `1,5` or a division by zero.
 */
export function parseNumber(text: string): number | null {
  const cleaned = simplify(text).trim();
  const percent = /\\?%$/.test(cleaned);
  const body = cleaned.replace(/\s*\\?%$/, '');
  const fraction = FRACTION.exec(body);
  const value = fraction
    ? ((fraction[1] === '-' ? -1 : 1) * plain(fraction[2]!)) / plain(fraction[3]!)
    : NUMBER.test(body)
      ? plain(body)
      : Number.NaN;
  return Number.isFinite(value) ? value / (percent ? 100 : 1) : null;
}

/** All numbers in a text, in order. */
export function numbersIn(text: string): number[] {
  return (simplify(text).match(NUMBER_IN_TEXT) ?? []).flatMap((match) => parseNumber(match) ?? []);
}
