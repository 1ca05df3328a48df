import { type Given, number, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import { tokenCovariances } from '../advantage/token-covariances.js';
import type { Regulariser } from './regulariser.js';

export const klCovShape = {
  /** The share of trained tokens that are held back, one at least. Default 2e-4. */
  klCovRatio: number({ default: 2e-4, above: 0, max: 1 }),
  /** Weight of the penalty. Default 1. */
  ppoKlCoef: number({ default: 1, min: 0 }),
};
const klCovOptions = options('klCov', klCovShape);
/** Options of `klCov`. */
export type KlCovOptions = Given<typeof klCovOptions>;

const CHOSEN = 'kl_cov_chosen';

/**
 * KL-Cov (arXiv 2505.22617): + coef · |log π - log π_old| on the few tokens of a step whose advantage and log-probability go together most, which is
 * what eats the policy's entropy; aggregated as the surrogate is. The covariance is that of the policy that sampled, over the whole step.
 *
 * @throws OptionError
 */
export function klCov(given: KlCovOptions = {}): Regulariser {
  const { klCovRatio, ppoKlCoef } = klCovOptions.read(given);
  // A step is asked about rollout by rollout.
  const known = new WeakMap<readonly object[], ReadonlySet<string>>();
  return {
    name: 'kl-cov',
    settings: klCovOptions.settings(given),
    needsReference: false,
    annotations: [CHOSEN],
    annotate(rollout, all, advantages) {
      let chosen = known.get(all);
      if (!chosen) {
        const tokens = tokenCovariances(all, advantages).toSorted((a, b) => b.covariance - a.covariance);
        const count = Math.max(Math.floor(tokens.length * klCovRatio), 1);
        chosen = new Set(tokens.slice(0, count).map(({ rollout: i, token }) => `${i},${token}`));
        known.set(all, chosen);
      }
      const i = all.indexOf(rollout);
      return { [CHOSEN]: rollout.completionTokens.map((_, t) => (chosen.has(`${i},${t}`) ? 1 : 0)) };
    },
    compute({ logProbs, oldLogProbs, weights, tokenMean, annotations }) {
      const moved = logProbs.sub(oldLogProbs).abs().mul(annotations[CHOSEN]!);
      return { loss: weightedSum(moved, weights).mul(ppoKlCoef), metrics: { kl_cov: weightedSum(moved, tokenMean) } };
    },
  };
}
