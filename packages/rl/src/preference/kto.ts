import { where } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { UnpairedLoss } from './unpaired-loss.js';

const ktoOptions = options('ktoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** λ_D, what desirable completions count. Default 1. */
  desirableWeight: number({ default: 1, min: 0 }),
  /** λ_U, what undesirable ones count. Default 1. */
  undesirableWeight: number({ default: 1, min: 0 }),
});
/** Options of `ktoLoss`. */
export type KtoLossOptions = Given<typeof ktoOptions>;

/**
 * Kahneman-Tversky Optimization (arXiv 2402.01306, eq. 8): λ_D (1 - σ(β(h - z))) for desirable and λ_U (1 - σ(β(z - h))) for
 * undesirable completions, with h = log π(y|x) - log π_ref(y|x) and the reference point z = max(0, mean h of the step's prompts
 * with each other's completions), which gets no gradient. z is that of the whole step, however it is split.
 */
export function ktoLoss(given: KtoLossOptions = {}): UnpairedLoss {
  const { beta, desirableWeight, undesirableWeight } = ktoOptions.read(given);
  return {
    kind: 'unpaired',
    name: 'kto',
    settings: ktoOptions.settings(given),
    beta,
    scalars: ['kl'],
    async before({ mismatchedLogRatios }) {
      const ratios = await mismatchedLogRatios();
      return { kl: Math.max(0, ratios.reduce((a, b) => a + b, 0) / ratios.length) };
    },
    compute({ logProbs, reference, desirable }, { kl }) {
      const gain = logProbs.sub(reference).sub(kl!).mul(beta);
      // 1 - σ(x) = σ(-x).
      const isDesirable = desirable.greater(0.5);
      return where(isDesirable, gain.neg().sigmoid().mul(desirableWeight), gain.sigmoid().mul(undesirableWeight));
    },
  };
}
