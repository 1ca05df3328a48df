import { zeros } from '@posttrain/core-tensor';
import { options } from '@posttrain/interfaces';
import type { PreferenceLoss } from './preference-loss.js';

const sftLossOptions = options('sftLoss', {});

/**
 * The negative log-likelihood of the chosen completions, a mean over all of their tokens: TRL's `loss_type="sft"`, a term of
 * `combinedLoss` (RPO, arXiv 2404.19733; MPO, arXiv 2411.10442). What is rejected has no part in it, and there is no reference.
 */
export const sftLoss = (): PreferenceLoss => ({
  name: 'sft',
  settings: sftLossOptions.settings({}),
  beta: 1,
  reference: false,
  nll: { weight: 1, over: 'completion' },
  compute: ({ chosen }) => zeros(chosen.shape),
});
