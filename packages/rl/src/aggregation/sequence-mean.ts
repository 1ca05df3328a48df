import type { Aggregation } from './aggregation.js';

/** The mean over completions of the mean over their tokens (GRPO): 1 / (B |o_i|). Tokens of long completions count less. */
export function sequenceMean(): Aggregation {
  return {
    name: 'sequence-mean',
    settings: {},
    weights: (lengths) => lengths.map((length) => 1 / (lengths.length * Math.max(length, 1))),
  };
}
