import type { Candidates } from './candidates.js';

/** Keeps tokens with at least this fraction of the most likely token's probability (arXiv 2407.01082). */
export function keepMinP(candidates: Candidates, fraction: number): void {
  candidates.keepAtLeast(fraction * candidates.largest);
}
