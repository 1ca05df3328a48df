import { logSumExp, stopGradient, type Tensor, where } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { type Loss, sequenceLogProb, type TrainingRow, weightedSum } from '@posttrain/training';
import { groupsOf, type Rollout, trainedTokens } from '../rollout.js';

export const minimumRiskOptions = options('minimumRisk', {
  /** α, how sharp Q is: 0 weighs all candidates alike, 1 as the model does. Default 0.005, as in the paper. */
  alpha: number({ default: 0.005, min: 0 }),
});
/** Options of `minimumRisk`. */
export type MinimumRiskOptions = Given<typeof minimumRiskOptions>;

/** Stands for a candidate of another group. */
const NEVER = -1e30;

/** log Q of each row among the rows of its group, [b]. */
function logShares(logProbs: Tensor, groups: Tensor, alpha: number): Tensor {
  const b = groups.shape[0]!;
  const isSame = groups.expandDims(1).equal(groups.expandDims(0));
  const powers = logProbs.mul(alpha);
  const others = where(isSame, powers.expandDims(0).broadcastTo([b, b]), NEVER);
  return powers.sub(logSumExp(others).squeeze(1));
}

/**
 * Minimum risk training (MRT, arXiv 1512.02433, eq. 8 and 9): Σ over groups of Σ_{y in S} Q(y) Δ(y), with Q(y) = p(y)^α
 * / Σ_{y' in S} p(y')^α over the sampled candidates S of a prompt, and Δ their risks.
 *
 * A row is a candidate, its `group` the prompt, its weights are not 0 on the tokens that p is the product of, and the
 * largest is how much the group counts: 1 / groups of the step for their mean. The annotation `risks` [b] has Δ in any
 * unit. `minimumRiskRows` makes such rows of rollouts. Metrics: `risk`, the loss, and `candidate_entropy`, the entropy
 * of Q in nats.
 *
 * @throws OptionError
 */
export function minimumRisk(given: MinimumRiskOptions = {}): Loss {
  const { alpha } = minimumRiskOptions.read(given);
  return {
    name: 'minimum-risk',
    annotations: [{ name: 'risks', per: 'row' }],
    groupSize: 'any',
    computeFrom(read, { weights, annotations, groups }) {
      const logQ = logShares(read(sequenceLogProb), groups!, alpha);
      const counted = logQ.exp().mul(weights.max(1));
      const risk = weightedSum(counted, annotations.risks!);
      return { loss: risk, metrics: { risk, candidate_entropy: stopGradient(weightedSum(counted, logQ.neg())) } };
    },
  };
}

/**
 * Rows for `minimumRisk`: the rollouts of each prompt as its candidates, with the risk -reward. S is a set, so that a
 * completion that was sampled twice is one candidate; without a reward or a trained token it is none.
 */
export function minimumRiskRows(rollouts: readonly Rollout[]): TrainingRow[] {
  const sets = groupsOf(rollouts).map((group) => {
    const known = new Map(group.map((rollout) => [rollout.completionTokens.join(), rollout]));
    return [...known.values()].filter((rollout) => rollout.reward !== null && trainedTokens(rollout).includes(1));
  });
  const count = sets.filter(({ length }) => length > 0).length;
  return sets.flat().map((rollout) => ({
    tokens: [...rollout.promptTokens, ...rollout.completionTokens],
    weights: [
      ...new Array<number>(rollout.promptTokens.length - 1).fill(0),
      ...trainedTokens(rollout).map((isTrained) => isTrained / count),
    ],
    group: rollout.group,
    annotations: { risks: [-rollout.reward!] },
  }));
}
