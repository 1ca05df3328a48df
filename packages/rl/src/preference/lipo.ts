import { iota, softplus } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { RankedLoss } from './ranked-loss.js';

const lipoOptions = options('lipoLoss', {
  /** How strongly the policy is held to the reference. Default 0.05. */
  beta: number({ default: 0.05, above: 0 }),
});
/** Options of `lipoLoss`. */
export type LipoLossOptions = Given<typeof lipoOptions>;

/**
 * Listwise Preference Optimization, LiPO-λ (arXiv 2402.01878): Σ_{ψ_i > ψ_j} Δ_ij log(1 + e^(s_j - s_i)) over the completions
 * of a prompt with scores ψ, s = β(log π(y) - log π_ref(y)), and Δ_ij = |2^ψ_i - 2^ψ_j| · |1 / log(1 + τ_i) - 1 / log(1 + τ_j)|, where τ
 * is the rank of a completion by s, from 1, equal ones as they are listed. Scores are best in [0, 1], and refused outside
 * -64 to 64. The weights Δ have no gradient.
 */
export function lipoLoss(given: LipoLossOptions = {}): RankedLoss {
  const { beta } = lipoOptions.read(given);
  return {
    kind: 'ranked',
    name: 'lipo',
    settings: lipoOptions.settings(given),
    beta,
    // Of what 2^ψ is beyond, float32 keeps neither values nor differences.
    scoreRange: [-64, 64],
    compute({ logProbs, reference, scores, together, ahead }) {
      const s = logProbs.sub(reference).mul(beta);
      const [own, other] = [s.expandDims(1), s.expandDims(0)];
      const shape = together.shape;
      // Before training all are equal: without an order of theirs no weight would be above 0.
      const isEarlier = other.equal(own).and(iota(shape, 1).less(iota(shape, 0)));
      const rank = together.mul(other.greater(own).or(isEarlier).cast('float32')).sum(1).add(1);
      const gain = scores.mul(Math.LN2).exp();
      const discount = rank.add(1).log().reciprocal();
      const difference = (values: typeof s) => values.expandDims(1).sub(values.expandDims(0));
      const weight = difference(gain).mul(difference(discount)).abs();
      return ahead
        .mul(weight)
        .mul(softplus(difference(s).neg()))
        .sum(1);
    },
  };
}
