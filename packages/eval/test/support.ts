import { readFileSync } from 'node:fs';
import type { GradedProblem } from '../src/index.js';

/** A table of the goldens in `goldens/metrics.json`. */
export function goldens<T>(name: string): T[] {
  const file = new URL('./goldens/metrics.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as Record<string, T[]>)[name]!;
}

/** A problem from its samples' scores, and answers or verifier scores where given. */
export function problemOf(
  scores: readonly (number | null)[],
  extra: { answers?: readonly (string | null)[]; verifier?: readonly (number | null)[] } = {},
): GradedProblem {
  return {
    id: 'p',
    samples: scores.map((score, i) => ({
      score,
      ...(extra.answers && { answer: extra.answers[i]! }),
      verifierScores: extra.verifier ? { v: extra.verifier[i]! } : {},
    })),
  };
}

/** All subsets of `items` of size `k`. */
export function subsets<T>(items: readonly T[], k: number): T[][] {
  if (k === 0) return [[]];
  return items.flatMap((item, i) => subsets(items.slice(i + 1), k - 1).map((rest) => [item, ...rest]));
}
