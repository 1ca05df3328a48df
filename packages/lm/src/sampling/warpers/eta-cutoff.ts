import type { Candidates } from './candidates.js';

/**
 * Keeps tokens with a probability of at least min(ε, √ε · e^−H), H being the entropy, and the most likely (eta sampling,
 * arXiv 2210.15191).
 */
export function keepEta(candidates: Candidates, epsilon: number): void {
  const { weights, size, total, largest } = candidates;
  let entropy = 0;
  for (let i = 0; i < size; i++) {
    const p = weights[i]! / total;
    if (p > 0) entropy -= p * Math.log(p);
  }
  const eta = Math.min(epsilon, Math.sqrt(epsilon) * Math.exp(-entropy));
  candidates.keepAtLeast(Math.min(eta * total, largest));
}
