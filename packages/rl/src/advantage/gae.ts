import { boolean, type Given, number, options, PosttrainError, type Read } from '@posttrain/interfaces';
import { type Rollout, trainedTokens } from '../rollout.js';
import type { Advantage } from './advantage.js';

export const gaeShape = {
  /** γ: what a reward one token later is worth. Default 1, as in TRL's PPO. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /** λ: 0 is δ (least variance, biased by the critic), 1 the return minus the value (unbiased). Default 0.95. */
  lambda: number({ default: 0.95, min: 0, max: 1 }),
  /**
   * Length-adaptive λ (VAPO, arXiv 2504.05118): α in λ = 1 - 1 / (α l) of a completion with l trained tokens, not below 0, in the place of
   * `lambda`, so that Σ λ^t is α l whatever the length. Default: none.
   */
  lengthAlpha: number({ optional: true, above: 0 }),
  /** Pay the turns' rewards where they were earned; leave them out of `reward` then. Default false. */
  turnRewards: boolean({ default: false }),
  /**
   * Divide the rewards of all tokens of the step, the KL in them included, by their standard deviation, and leave their mean:
   * (r - mean) / √(var + 1e-8) + mean, ddof 1, as TRL's `whiten_rewards` does. Default false.
   */
  whitenRewards: boolean({ default: false }),
  /**
   * A rollout that ended (and was not cut off) has one more state, behind its last token: it has a value, which is trained, and the
   * reward is paid there, as TRL's PPOTrainer does for end tokens before the limit. Default false: it is paid with the last token.
   */
  endState: boolean({ default: false }),
};
const gaeOptions = options('gae', {
  ...gaeShape,
  /** Whiten over all trained tokens of the step: (A - mean) / √(var + 1e-8), ddof 1, as TRL's PPO does. Default true. */
  whiten: boolean({ default: true }),
});
/** Options of `gae`. */
export type GaeOptions = Given<typeof gaeOptions>;

const stepOptions = options('gaeSteps', gaeShape);
/** How a rollout is made into steps with rewards, and advantages of them. */
export type GaeStepOptions = Given<typeof stepOptions>;

/**
 * Generalized advantage estimation (arXiv 1506.02438): δ_t = r_t + γ V_{t+1} - V_t, A_t = Σ_l (γλ)^l δ_{t+l}.
 *
 * @param rewards r_t of each step
 * @param values V(s_t) before each step
 * @param last V of the state behind the last step: 0 where the episode is over, and not only cut off
 */
export function generalizedAdvantages(
  rewards: readonly number[],
  values: readonly number[],
  { gamma, lambda }: { readonly gamma: number; readonly lambda: number },
  last = 0,
): number[] {
  const advantages = new Array<number>(rewards.length);
  let [next, following] = [last, 0];
  for (let t = rewards.length - 1; t >= 0; t--) {
    following = rewards[t]! + gamma * next - values[t]! + gamma * lambda * following;
    next = values[t]!;
    advantages[t] = following;
  }
  return advantages;
}

/** A rollout as steps. */
export interface RolloutSteps {
  /** Index of the token that each step writes; of the state behind the last token, the number of tokens. */
  readonly at: readonly number[];
  /** What is paid for each. */
  readonly rewards: readonly number[];
  /** V of the state before each. */
  readonly values: readonly number[];
}

/**
 * A rollout as the steps of its trained tokens: what an environment said is part of the next state. `reward` is paid with
 * the last one, a turn's reward with the turn's last one, and the reward of an untrained token with the trained one before it.
 *
 * @throws PosttrainError OBJECTIVE for an `endState` without `endValue`
 */
export function stepsOf(
  rollout: Rollout,
  { turnRewards: hasTurns = false, endState = false }: Pick<GaeStepOptions, 'turnRewards' | 'endState'> = {},
): RolloutSteps {
  const { reward, tokenRewards, turnRewards = [], values, endValue, completionTokens, finishReason } = rollout;
  const at = trainedTokens(rollout).flatMap((isTrained, t) => (isTrained ? [t] : []));
  if (at.length === 0) return { at, rewards: [], values: [] };
  const hasEnd = endState && finishReason === 'stop';
  if (hasEnd && endValue === undefined) {
    const problem = 'endState: a rollout has no endValue; criticValues gives it, or leave endState out';
    throw new PosttrainError('OBJECTIVE', `gae: ${problem}`);
  }
  const rewards = at.map(() => 0);
  const pay = (token: number, amount: number) => {
    const step = at.findLastIndex((t) => t <= token);
    rewards[Math.max(step, 0)]! += amount;
  };
  completionTokens.forEach((_, t) => {
    if (tokenRewards?.[t]) pay(t, tokenRewards[t]!);
  });
  if (hasTurns) for (const turn of turnRewards) pay(turn.at, turn.reward);
  if (hasEnd) rewards.push(0);
  rewards[rewards.length - 1]! += reward ?? 0;
  const before = at.map((t) => values?.[t] ?? 0);
  return hasEnd
    ? { at: [...at, completionTokens.length], rewards, values: [...before, endValue!] }
    : { at, rewards, values: before };
}

/** Steps with their advantages, not whitened; the returns of a critic are A_t + V_t. */
export interface GaeSteps extends RolloutSteps {
  readonly advantages: readonly number[];
}

/** Rollouts of a step of training as steps with advantages; one that is not scorable has no steps. */
export function gaeSteps(rollouts: readonly Rollout[], given: GaeStepOptions = {}): readonly GaeSteps[] {
  const settings = stepOptions.read(given);
  const all = rollouts.map((rollout) =>
    rollout.reward === null ? { at: [], rewards: [], values: [] } : stepsOf(rollout, settings),
  );
  const { mean, divisor } = spreadOf(settings.whitenRewards ? all.flatMap(({ rewards }) => rewards) : []);
  return all.map((steps) => {
    const whitened = steps.rewards.map((r) => (r - mean) / divisor + mean);
    const rewards = settings.whitenRewards ? whitened : steps.rewards;
    const { gamma, lambda, lengthAlpha } = settings;
    const own = lengthAlpha === undefined ? lambda : Math.max(0, 1 - 1 / (lengthAlpha * steps.at.length));
    return { ...steps, rewards, advantages: generalizedAdvantages(rewards, steps.values, { gamma, lambda: own }) };
  });
}

/** The advantages of PPO (arXiv 1707.06347) for language models, one a token: GAE over `values`, `tokenRewards` and `reward`. */
export function gae(given: GaeOptions = {}): Advantage {
  const { whiten, ...settings }: Read<typeof gaeOptions> = gaeOptions.read(given);
  return {
    name: 'gae',
    settings: gaeOptions.settings(given),
    needs: ['values', ...(settings.turnRewards ? (['turnRewards'] as const) : [])],
    level: 'token',
    compute(rollouts) {
      // The state behind the last token has an advantage, which no token has a use for.
      const tokens = gaeSteps(rollouts, settings).map(({ at, advantages }, i) =>
        at.flatMap((t, j) => (t < rollouts[i]!.completionTokens.length ? [{ t, advantage: advantages[j]! }] : [])),
      );
      const { mean, divisor } = spreadOf(whiten ? tokens.flat().map(({ advantage }) => advantage) : []);
      return rollouts.map(({ completionTokens }, i) => {
        const all = completionTokens.map(() => 0);
        for (const { t, advantage } of tokens[i]!) all[t] = whiten ? (advantage - mean) / divisor : advantage;
        return all;
      });
    },
  };
}

/** Added to the variance before its root, as TRL does. */
const VARIANCE_EPSILON = 1e-8;

/** Mean, and standard deviation with ddof 1, of what is whitened. */
export function spreadOf(values: readonly number[]): { readonly mean: number; readonly divisor: number } {
  const mean = values.reduce((a, b) => a + b, 0) / Math.max(values.length, 1);
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(values.length - 1, 1);
  return { mean, divisor: Math.sqrt(variance + VARIANCE_EPSILON) };
}
