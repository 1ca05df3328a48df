import { stopGradient } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { UnpairedLoss } from './unpaired-loss.js';

const nashMdOptions = options('nashMdLoss', {
  /** τ of the paper: how strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `nashMdLoss`. */
export type NashMdLossOptions = Given<typeof nashMdOptions>;

/**
 * Nash-MD (arXiv 2312.00886, eq. 8), as TRL's NashMDTrainer has it: the policy gradient of P(y ≻ y') - β KL(π ‖ π_ref), of completions y
 * of the policy against y' of the geometric mixture π^(1-α) π_ref^α,
 *
 *   -(P(y ≻ y') - ½) Σ_t log π(y_t) + β Σ_t sg[log π(y_t) - log π_ref(y_t)] log π(y_t)
 *
 * where sg stops the gradient, and each token is held by its own log-ratio alone, as in TRL. P is the column `preference`, and whether
 * it is above ½ is `desirable`: `nashMdCompletions` draws such rows. Logged: `loss/score`, `loss/kl`, `rewards/probabilities`.
 */
export function nashMdLoss(given: NashMdLossOptions = {}): UnpairedLoss {
  const { beta } = nashMdOptions.read(given);
  return {
    kind: 'unpaired',
    name: 'nash_md',
    settings: nashMdOptions.settings(given),
    beta,
    columns: ['preference'],
    compute({ logProbs, reference, tokens, columns: { preference } }) {
      const score = logProbs.mul(preference!.sub(0.5));
      const ratios = stopGradient(tokens.logProbs.sub(tokens.reference));
      const held = ratios.mul(tokens.logProbs).sum(1).mul(beta);
      return {
        losses: held.sub(score),
        metrics: {
          'loss/score': score,
          'loss/kl': logProbs.sub(reference),
          'rewards/probabilities': preference!,
        },
      };
    },
  };
}
