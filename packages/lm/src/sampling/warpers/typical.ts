import { expOfNegative } from '../fast-exp.js';
import type { Candidates } from './candidates.js';
import { radixCut } from './radix-cut.js';

let keys = new Float32Array(0);

/**
 * Locally typical sampling (arXiv 2202.00666): keeps the tokens whose surprise −log p is nearest to the entropy H, the
 * fewest whose probability reaches `mass`, and all that are as near as the last of them.
 */
export function keepTypical(candidates: Candidates, mass: number): void {
  const { weights, size, total } = candidates;
  if (keys.length < size) keys = new Float32Array(weights.length);
  const logTotal = Math.log(total);
  let entropy = 0;
  for (let i = 0; i < size; i++) {
    const weight = weights[i]!;
    const surprise = logTotal - Math.log(weight);
    keys[i] = surprise;
    if (weight > 0) entropy += (weight / total) * surprise;
  }
  // Nearest first: e^-distance falls where the distance rises.
  for (let i = 0; i < size; i++) keys[i] = expOfNegative(-Math.abs(keys[i]! - entropy));
  const { least } = radixCut(keys, weights, size, { mass: mass * total });
  candidates.keepLargest(keys, { least, equals: Infinity });
}
