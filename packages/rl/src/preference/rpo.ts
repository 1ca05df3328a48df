import { type Given, number, options } from '@posttrain/interfaces';
import { dpoLoss } from './dpo.js';
import type { PreferenceLoss } from './preference-loss.js';

const rpoOptions = options('rpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** α, what the likelihood counts beside DPO; the `rpo_alpha` of earlier versions of TRL. Default 1. */
  rpoAlpha: number({ default: 1, above: 0 }),
});
/** Options of `rpoLoss`. */
export type RpoLossOptions = Given<typeof rpoOptions>;

/**
 * DPO with the likelihood of what is chosen (iterative reasoning preference optimization, arXiv 2404.19733, eq. 1, with α at the other
 * term): -log σ(β(h_w - h_l)) + α NLL(y_w | x) with h = log π(y) - log π_ref(y). As in TRL (`loss_type=["sigmoid", "sft"]`), the
 * likelihood is a mean over all chosen tokens of the step.
 */
export function rpoLoss(given: RpoLossOptions = {}): PreferenceLoss {
  const { beta, rpoAlpha } = rpoOptions.read(given);
  return {
    ...dpoLoss({ beta }),
    name: 'rpo',
    settings: rpoOptions.settings(given),
    nll: { weight: rpoAlpha, over: 'completion' },
  };
}
