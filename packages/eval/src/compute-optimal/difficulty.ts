import { assertArgument } from '@posttrain/interfaces';

/**
 * Edges between difficulty bins: the quantiles 1/b … (b−1)/b of how easy the given questions are, each an observed value, as the
 * quintiles of Snell et al. (arXiv 2408.03314 §3.2).
 *
 * @param ease of each question: its pass@1 (oracle), or the mean score of a verifier over its samples (predicted)
 */
export function difficultyEdges(ease: readonly number[], bins: number): number[] {
  assertArgument(
    'difficultyEdges',
    'ease',
    ease,
    ease.length > 0 && ease.every(Number.isFinite),
    'finite numbers, at least one',
  );
  const sorted = [...ease].sort((a, b) => a - b);
  return Array.from(
    { length: bins - 1 },
    (_, i) => sorted[Math.floor(((i + 1) * sorted.length) / bins)] ?? sorted.at(-1)!,
  );
}

/** The bin of a question: from 1, easiest, to one more than there are edges, hardest: below the first edge. */
export const difficultyBin = (ease: number, edges: readonly number[]): number =>
  1 + edges.filter((edge) => ease < edge).length;
