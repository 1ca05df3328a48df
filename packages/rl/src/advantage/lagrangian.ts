import { custom, type Given, isPlainObject, number, OptionError, options, PosttrainError } from '@posttrain/interfaces';
import type { Metrics } from '@posttrain/training';
import type { Rollout } from '../rollout.js';
import { type Advantage, nanMean } from './advantage.js';

export const lagrangianShape = {
  /** d_k: the most that a cost may come to in the mean, by the name of the reward that measures it. Give those rewards the weight 0. */
  limits: custom<Readonly<Record<string, number>>>()('numbers by the names of rewards, at least one', isLimits, {
    settings: (limits) => ({ ...limits }),
  }),
  /** λ of every cost in the first step. Default 1. */
  initialMultiplier: number({ default: 1, above: 0 }),
  /** α: how fast multipliers move. Default 0.1. */
  multiplierRate: number({ default: 0.1, min: 0 }),
  /** No multiplier grows beyond it. Default 10. */
  maxMultiplier: number({ default: 10, above: 0 }),
};
const lagrangianOptions = options('lagrangian', lagrangianShape);
/** Options of `lagrangian`. */
export type LagrangianOptions = Given<typeof lagrangianOptions>;

function isLimits(value: unknown): value is Readonly<Record<string, number>> {
  return isPlainObject(value) && Object.keys(value).length > 0 && Object.values(value).every(Number.isFinite);
}

/**
 * Constrained RL by a Lagrangian (Safe RLHF, arXiv 2310.12773, §3.3, eq. 9 and 11): the most reward of which costs stay within their limits,
 *
 *   min_{λ ≥ 0} max_π  E[r] - Σ_k λ_k (E[c_k] - d_k)
 *
 * `advantage` of the reward and of every cost become one, Â = (Â_r - Σ λ_k Â_{c_k}) / (1 + Σ λ_k), and after a step each multiplier follows the mean
 * cost of its rollouts: ln λ_k ← ln λ_k + α λ_k (mean c_k - d_k), at most ln `maxMultiplier`. It rises while the constraint is broken. Multipliers are in
 * the run's checkpoints; one `lagrangian` is for one run. Metrics: `cost/NAME`, and `multiplier/NAME`, that of the step.
 *
 * An advantage that divides by the deviation (`groupNormalized()` as it is) has reward and cost each by its own, and λ then weighs those: take
 * `groupNormalized({ scaleRewards: 'none' })` or `leaveOneOut()` for the trade-off in the units of both. A KL in the reward is taken off the reward
 * alone (there half of it is added to the cost: another λ for the same policy).
 *
 * @throws OptionError for an advantage that needs more than rewards (a critic's values are of the reward, not of the cost), or has a state;
 *   PosttrainError OBJECTIVE for a limit of a reward that no rollout has
 */
export function lagrangian(advantage: Advantage, given: LagrangianOptions): Advantage {
  const { limits, initialMultiplier, multiplierRate, maxMultiplier } = lagrangianOptions.read(given);
  const wrong = (option: string, problem: string) =>
    new OptionError('INVALID_OPTION', 'lagrangian', option, `${problem}.`);
  if (initialMultiplier > maxMultiplier) {
    throw wrong(
      'initialMultiplier',
      `initialMultiplier is ${initialMultiplier}, above maxMultiplier, ${maxMultiplier}`,
    );
  }
  const { needs = [], level, state } = advantage;
  if (needs.length > 0 || level === 'token' || state) {
    const what = needs.length > 0 ? `needs ${needs.join(', ')}` : state ? 'has a state' : 'reads rewards of tokens';
    const remedy = 'take one that reads rewards only, such as leaveOneOut()';
    throw wrong(
      'advantage',
      `the advantage ${advantage.name} ${what}, which is of the reward and not of costs; ${remedy}`,
    );
  }
  const names = Object.keys(limits);
  let logs = names.map(() => Math.log(initialMultiplier));
  const costOf = ({ reward, rewards }: Rollout, name: string) => (reward === null ? null : (rewards?.[name] ?? null));
  return {
    name: `lagrangian(${advantage.name})`,
    settings: { ...advantage.settings, ...lagrangianOptions.settings(given) },
    ...(advantage.needsGroup && { needsGroup: true }),
    needs: ['rewardsByFunction'],
    compute(rollouts) {
      const known = new Set(rollouts.flatMap(({ rewards }) => Object.keys(rewards ?? {})));
      const unknown = names.find((name) => !known.has(name));
      if (unknown !== undefined && rollouts.length > 0) {
        const problem = `limits has "${unknown}", and the rewards are ${[...known].join(', ')}`;
        throw new PosttrainError('OBJECTIVE', `lagrangian: ${problem}`);
      }
      const multipliers = logs.map(Math.exp);
      const terms = [
        { weight: 1, values: advantage.compute(rollouts) },
        ...names.map((name, k) => ({
          weight: -multipliers[k]!,
          values: advantage.compute(rollouts.map((rollout) => ({ ...rollout, reward: costOf(rollout, name) }))),
        })),
      ];
      const total = multipliers.reduce((sum, multiplier) => sum + multiplier, 1);
      return rollouts.map(({ completionTokens }, i) => {
        const at = (t: number) =>
          terms.reduce((sum, { weight, values }) => {
            const own = values[i]!;
            return sum + weight * (typeof own === 'number' ? own : own[t]!);
          }, 0) / total;
        return terms.every(({ values }) => typeof values[i] === 'number')
          ? at(0)
          : completionTokens.map((_, t) => at(t));
      });
    },
    learn(rollouts) {
      const metrics: Record<string, number> = {};
      logs = names.map((name, k) => {
        const cost = nanMean(rollouts.map((rollout) => costOf(rollout, name) ?? Number.NaN));
        const multiplier = Math.exp(logs[k]!);
        metrics[`multiplier/${name}`] = multiplier;
        if (Number.isNaN(cost)) return logs[k]!;
        metrics[`cost/${name}`] = cost;
        const moved = logs[k]! + multiplierRate * multiplier * (cost - limits[name]!);
        return Math.min(moved, Math.log(maxMultiplier));
      });
      return metrics satisfies Metrics;
    },
    state: () => ({ logs }),
    load(saved) {
      logs = [...(saved as { readonly logs: readonly number[] }).logs];
    },
  };
}
