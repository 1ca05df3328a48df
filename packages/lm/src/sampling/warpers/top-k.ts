import type { Candidates } from './candidates.js';
import { radixCut } from './radix-cut.js';

/** Keeps the k most likely tokens (arXiv 1805.04833), and all that are as likely as the k-th. */
export function keepTopK(candidates: Candidates, k: number): void {
  const { weights, size } = candidates;
  if (k < size) candidates.keepLargest(weights, radixCut(weights, weights, size, { count: k }));
}
