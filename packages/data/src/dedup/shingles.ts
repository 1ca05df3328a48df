/**
 * A text as near-duplicates are compared, in the order of datatrove's `simplify_text`: lower case, every number 0, punctuation and symbols
 * to spaces, white space to one space, accents off. datatrove lists its punctuation; here it is what Unicode calls punctuation, symbols
 * and control characters.
 */
export function simplifyText(text: string): string {
  return text
    .toLowerCase()
    .replace(/\p{Nd}+([.,،٫⎖⎗⎘]\p{Nd}+)?/gu, '0')
    .replace(/[\p{P}\p{S}\p{Cc}]/gu, ' ')
    .replace(/\s+/gu, ' ')
    .trim()
    .normalize('NFD')
    .replace(/\p{Mn}/gu, '')
    .trim();
}

/** All n-grams of the words of a simplified text, which spaces separate, each with one space between its words. */
export function wordShingles(simplified: string, n: number): string[] {
  const words = simplified === '' ? [] : simplified.split(' ');
  return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(' '));
}
