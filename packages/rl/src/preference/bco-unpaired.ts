import { logSigmoid, where } from '@posttrain/core-tensor';
import { boolean, type Given, number, options } from '@posttrain/interfaces';
import type { UnpairedLoss } from './unpaired-loss.js';

const bcoUnpairedOptions = options('bcoUnpairedLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** Whether undesirable completions count as the column `density_ratio` says, which `densityRatio` of data writes. Default false. */
  matchUnderlyingDistribution: boolean({ default: false }),
});
/** Options of `bcoUnpairedLoss`. */
export type BcoUnpairedLossOptions = Given<typeof bcoUnpairedOptions>;

/**
 * Binary Classifier Optimization (arXiv 2404.04656, eq. 12), as TRL's BCOTrainer has it: -log σ(r - δ) for desirable and
 * -log σ(-(r - δ)) for undesirable completions, with r = β(log π(y|x) - log π_ref(y|x)). The reward shift δ is the mean of r over all
 * completions so far, with those of the step, each as it was in its step; it gets no gradient, and a resumed run goes on with it. The whole
 * step is seen before its update, however it is split. Evaluations have the δ of the last step (0 before the first), and do not change
 * it. With `matchUnderlyingDistribution` the loss of an undesirable completion is multiplied with how much likelier its prompt is among the
 * desirable ones. Logged: `delta`, and `delta_count`, of how many completions it is.
 */
export function bcoUnpairedLoss(given: BcoUnpairedLossOptions = {}): UnpairedLoss {
  const { beta, matchUnderlyingDistribution } = bcoUnpairedOptions.read(given);
  return {
    kind: 'unpaired',
    name: 'bco',
    settings: bcoUnpairedOptions.settings(given),
    beta,
    scalars: ['delta', 'delta_count'],
    ...(matchUnderlyingDistribution && { columns: ['density_ratio'] }),
    async before({ logRatios, previous, isEvaluation }) {
      const { delta = 0, delta_count: known = 0 } = previous ?? {};
      if (isEvaluation) return { delta, delta_count: known };
      const ratios = await logRatios();
      const count = known + ratios.length;
      const sum = ratios.reduce((a, b) => a + b, 0) * beta;
      return { delta: delta + (sum - ratios.length * delta) / count, delta_count: count };
    },
    compute({ logProbs, reference, desirable, columns: { density_ratio: ratio } }, { delta }) {
      const above = logProbs.sub(reference).mul(beta).sub(delta!);
      const undesirable = logSigmoid(above.neg());
      const weighted = ratio ? undesirable.mul(ratio) : undesirable;
      return where(desirable.greater(0.5), logSigmoid(above), weighted).neg();
    },
  };
}
