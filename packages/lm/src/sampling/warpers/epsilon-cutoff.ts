import type { Candidates } from './candidates.js';

/** Keeps tokens with a probability of at least epsilon, and the most likely (arXiv 2210.15191). */
export function keepEpsilon(candidates: Candidates, epsilon: number): void {
  candidates.keepAtLeast(Math.min(epsilon * candidates.total, candidates.largest));
}
