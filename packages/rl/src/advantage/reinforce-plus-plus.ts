import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { alike, type Rollout } from '../rollout.js';
import { type Advantage, nanMean } from './advantage.js';
import { generalizedAdvantages, stepsOf } from './gae.js';

export const reinforcePlusPlusShape = {
  /** γ: what a reward one token later is worth. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /**
   * What is taken off the reward before it is whitened: nothing (REINFORCE++, for which one completion a prompt is enough), or
   * the mean reward of the prompt (`group`: REINFORCE++-baseline). Default `none`.
   */
  baseline: oneOf(['none', 'group'], { default: 'none' }),
};
const reinforcePlusPlusOptions = options('reinforcePlusPlus', reinforcePlusPlusShape);
/** Options of `reinforcePlusPlus`. */
export type ReinforcePlusPlusOptions = Given<typeof reinforcePlusPlusOptions>;

/** The least variance that is divided by, as in OpenRLHF. */
const LEAST_VARIANCE = 1e-8;

/** The mean reward of each rollout's group, of those that are scorable; 0 without a baseline. */
function baselinesOf(rollouts: readonly Rollout[], baseline: 'none' | 'group'): ReadonlyMap<number, number> {
  if (baseline === 'none') return new Map();
  const groups = alike(rollouts, ({ group }) => group);
  return new Map(groups.map((all) => [all[0]!.group, nanMean(all.map(({ reward }) => reward ?? Number.NaN))]));
}

/**
 * The advantage of REINFORCE++ (arXiv 2501.03262), one a token: the return G_t = Σ_{i ≥ t} γ^(i - t) r_i, where the reward is paid
 * with the last token and every token pays its part of the KL, whitened over all trained tokens of the step,
 * (G - mean) / √max(var, 1e-8) with ddof 0, as OpenRLHF does.
 */
export function reinforcePlusPlus(given: ReinforcePlusPlusOptions = {}): Advantage {
  const { gamma, baseline } = reinforcePlusPlusOptions.read(given);
  return {
    name: baseline === 'none' ? 'reinforce++' : 'reinforce++-baseline',
    settings: reinforcePlusPlusOptions.settings(given),
    needsGroup: baseline === 'group',
    level: 'token',
    compute(rollouts) {
      const baselines = baselinesOf(rollouts, baseline);
      const returns = rollouts.map((rollout) => {
        const { reward, group } = rollout;
        if (reward === null) return { at: [], values: [] };
        const { at, rewards } = stepsOf({ ...rollout, reward: reward - (baselines.get(group) ?? 0) });
        const none = rewards.map(() => 0);
        return { at, values: generalizedAdvantages(rewards, none, { gamma, lambda: 1 }) };
      });
      const all = returns.flatMap(({ values }) => values);
      const mean = nanMean(all);
      const variance = nanMean(all.map((x) => (x - mean) ** 2));
      const divisor = Math.sqrt(Math.max(variance, LEAST_VARIANCE));
      return rollouts.map(({ completionTokens }, i) => {
        const advantages = completionTokens.map(() => 0);
        const { at, values } = returns[i]!;
        at.forEach((t, j) => {
          advantages[t] = (values[j]! - mean) / divisor;
        });
        return advantages;
      });
    },
  };
}
