import type { Candidates } from './candidates.js';
import { radixCut } from './radix-cut.js';

/**
 * Keeps the smallest set of most likely tokens whose probability reaches p (nucleus sampling, arXiv 1904.09751); of equally
 * likely ones the first.
 */
export function keepTopP(candidates: Candidates, p: number): void {
  const { weights, size, total } = candidates;
  candidates.keepLargest(weights, radixCut(weights, weights, size, { mass: p * total }));
}
