import { EvaluationError } from '../../errors.js';

/** Words between white space. */
export const wordsOf = (text: string): string[] => text.split(/\s+/u).filter((word) => word !== '');

/** How often each run of n items occurs. */
export function ngramCounts(items: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= items.length; i++) {
    const key = n === 1 ? items[i]! : items.slice(i, i + n).join('\u0000');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** Σ min of two counts. */
export function overlap(some: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [key, count] of some) sum += Math.min(count, others.get(key) ?? 0);
  return sum;
}

/**
 * References by hypothesis: one text, or several.
 * @throws EvaluationError `UNPAIRED`, `NO_REFERENCE`
 */
export function referencesOf(
  where: string,
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
): string[][] {
  if (hypotheses.length !== references.length) {
    const got = `${hypotheses.length} hypotheses and ${references.length} references`;
    throw new EvaluationError(
      'UNPAIRED',
      `${where} needs a reference, or a list of them, for each text, but got ${got}.`,
    );
  }
  return references.map((given, i) => {
    const list = [given].flat();
    if (list.length === 0 || list.some((text) => typeof text !== 'string') || typeof hypotheses[i] !== 'string') {
      throw new EvaluationError(
        'NO_REFERENCE',
        `${where}: pair ${i} must be a text and a reference, or several of them.`,
      );
    }
    return list;
  });
}
