import { logSigmoid } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import type { PreferenceLoss } from './preference-loss.js';

export interface DpoLossOptions {
  /** How strongly the policy is held to the reference. Default 0.1. */
  readonly beta?: number;
}

/**
 * Direct Preference Optimization (arXiv 2305.18290, eq. 7):
 * -log σ(β [(log π(y_w) - log π_ref(y_w)) - (log π(y_l) - log π_ref(y_l))]), with log-probabilities summed over tokens.
 */
export function dpoLoss(options: DpoLossOptions = {}): PreferenceLoss {
  assertKnownOptions('dpoLoss', options, ['beta']);
  const { beta = 0.1 } = options;
  if (!(beta > 0)) throw new PosttrainError('DPO', `dpoLoss: beta must be positive, not ${beta}`);
  return {
    name: 'dpo(sigmoid)',
    beta,
    compute: ({ chosen, rejected, referenceChosen, referenceRejected }) =>
      logSigmoid(chosen.sub(referenceChosen).sub(rejected.sub(referenceRejected)).mul(beta)).neg(),
  };
}

/** Preference losses by TRL's `loss_type`. */
export const preferenceLosses = { sigmoid: dpoLoss } as const;

export type PreferenceLossName = keyof typeof preferenceLosses;
