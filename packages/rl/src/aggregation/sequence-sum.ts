import type { Aggregation } from './aggregation.js';

/** The mean over completions of the sum over their tokens (REINFORCE): 1 / B, the unbiased gradient of the mean reward. */
export function sequenceSum(): Aggregation {
  return { name: 'sequence-sum', settings: {}, weights: (lengths) => lengths.map(() => 1 / lengths.length) };
}
