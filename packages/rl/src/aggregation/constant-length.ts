import type { Aggregation } from './aggregation.js';

/**
 * The sum over tokens divided by a constant (Dr. GRPO, arXiv 2503.20783): 1 / (B · maxCompletionLength). What a token
 * weighs does not depend on how long any completion is.
 */
export function constantLength(): Aggregation {
  return {
    name: 'constant-length',
    settings: {},
    weights: (lengths, { maxCompletionLength }) => lengths.map(() => 1 / (lengths.length * maxCompletionLength)),
  };
}
