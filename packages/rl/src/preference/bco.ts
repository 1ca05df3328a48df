import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const bcoOptions = options('bcoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `bcoLoss`. */
export type BcoLossOptions = Given<typeof bcoOptions>;

/**
 * Binary Classifier Optimization for pairs (arXiv 2404.04656), with a reward shift of 0, as TRL's DPOTrainer has it: -log
 * σ(βh_w) - log σ(-βh_l) with h = log π(y) - log π_ref(y).
 */
export function bcoLoss(given: BcoLossOptions = {}): PreferenceLoss {
  const { beta } = bcoOptions.read(given);
  return {
    name: 'bco_pair',
    settings: bcoOptions.settings(given),
    beta,
    compute(pairs) {
      const { chosen, rejected } = logRatios(pairs);
      return logSigmoid(chosen.mul(beta))
        .add(logSigmoid(rejected.mul(-beta)))
        .neg();
    },
  };
}
