import { property } from './unicode.js';

export type NormalForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

let inertRuns: RegExp | undefined;

/**
 * Unicode normal form by the reference implementation's tables (Unicode 9): what came later is a character without
 * decomposition and combining class, so it is left alone and what stands on its two sides does not meet.
 */
export function normalForm(text: string, form: NormalForm): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  inertRuns ??= new RegExp(`(${property('inert').toSource()}+)`, 'u');
  if (!inertRuns.test(text)) return text.normalize(form);
  return text
    .split(inertRuns)
    .map((part, i) => (i % 2 === 0 ? part.normalize(form) : part))
    .join('');
}
