import { type Given, type HasSettings, number, oneOf, options, type Verifier } from '@posttrain/interfaces';
import { verdictsOf, verifiersOption } from './members.js';

const rewardEnsembleOptions = options('rewardEnsemble', {
  /** Its members: reward models of several seeds, say, whose rewards are on one scale. */
  verifiers: verifiersOption,
  /** `mean`; `wco`, the least of them; `uwo`, the mean less λ times the variance; `lcb`, less λ times the deviation. Default `uwo`. */
  objective: oneOf(['mean', 'wco', 'uwo', 'lcb'], { default: 'uwo' }),
  /** λ of `uwo` and `lcb`. Default 0.5. */
  uncertaintyWeight: number({ default: 0.5, min: 0 }),
});
/** Options of `rewardEnsemble`. */
export type RewardEnsembleOptions = Given<typeof rewardEnsembleOptions>;

/**
 * An ensemble of reward models against over-optimisation (arXiv 2310.02743, §3.2), a reward or verifier: the mean of k rewards; worst-case
 * optimisation (WCO), min_i r_i; uncertainty-weighted optimisation (UWO), r̄ - λ (1 / k) Σ (r_i - r̄)²; or the lower confidence bound r̄ - λ σ, σ² being that
 * variance, in the units of the reward. What one member cannot score, the ensemble cannot. Rewards of pairs are known but for a constant: train the members with `centerRewardsCoefficient`, or the least of
 * them is always the same one.
 *
 * @throws OptionError; what the members throw
 */
export function rewardEnsemble(given: RewardEnsembleOptions): Verifier & HasSettings {
  const { verifiers, objective, uncertaintyWeight } = rewardEnsembleOptions.read(given);
  const combine = {
    mean: meanOf,
    wco: (rewards: readonly number[]) => Math.min(...rewards),
    uwo: (rewards: readonly number[]) => meanOf(rewards) - uncertaintyWeight * varianceOf(rewards),
    lcb: (rewards: readonly number[]) => meanOf(rewards) - uncertaintyWeight * Math.sqrt(varianceOf(rewards)),
  }[objective];
  return {
    name: `rewardEnsemble(${objective})`,
    settings: rewardEnsembleOptions.settings(given),
    async verify(requests) {
      const verdicts = await Promise.all(verifiers.map((verifier) => verdictsOf(verifier, requests)));
      return requests.map((_, i) => {
        const rewards = verdicts.map((own) => own[i]!.score);
        return { score: rewards.includes(null) ? null : combine(rewards as number[]) };
      });
    },
  };
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function varianceOf(values: readonly number[]): number {
  const mean = meanOf(values);
  return meanOf(values.map((value) => (value - mean) ** 2));
}
