import { type Given, number, options } from '@posttrain/interfaces';
import { plackettLuceTerms } from '@posttrain/training';
import type { RankedLoss } from './ranked-loss.js';

const plackettLuceOptions = options('plackettLuceLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `plackettLuceLoss`. */
export type PlackettLuceLossOptions = Given<typeof plackettLuceOptions>;

/**
 * DPO under the Plackett-Luce model of rankings (arXiv 2305.18290, appendix A.3, eq. 20): -Σ_k [βh_k - log Σ_{j ≥ k} e^(βh_j)] over
 * completions in the order of their ranking, with h = log π(y) - log π_ref(y). Two completions are DPO. Completions of one rank are
 * each chosen before all that follow and beside each other (Breslow's form); those of the last rank are never chosen, so that a
 * ranking of the best m has all others in one last rank.
 */
export function plackettLuceLoss(given: PlackettLuceLossOptions = {}): RankedLoss {
  const { beta } = plackettLuceOptions.read(given);
  return {
    kind: 'ranked',
    name: 'plackett-luce',
    settings: plackettLuceOptions.settings(given),
    beta,
    compute({ logProbs, reference, together, ahead }) {
      return plackettLuceTerms(logProbs.sub(reference).mul(beta), together, ahead);
    },
  };
}
