import { type Aggregation, total } from './aggregation.js';

/** The mean over all tokens of the step (DAPO, arXiv 2503.14476): 1 / Σ|o|. Long completions count more. */
export function tokenMean(): Aggregation {
  return {
    name: 'token-mean',
    settings: {},
    weights: (lengths) => lengths.map(() => 1 / Math.max(total(lengths), 1)),
  };
}
