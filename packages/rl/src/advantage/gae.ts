import { boolean, type Given, number, options } from '@posttrain/interfaces';
import { type Rollout, trainedTokens } from '../rollout.js';
import type { Advantage } from './advantage.js';

export const gaeShape = {
  /** γ: what a reward one token later is worth. Default 1, as in TRL's PPO. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /** λ: 0 is δ (least variance, biased by the critic), 1 the return minus the value (unbiased). Default 0.95. */
  lambda: number({ default: 0.95, min: 0, max: 1 }),
  /** Pay the turns' rewards where they were earned; leave them out of `reward` then. Default false. */
  turnRewards: boolean({ default: false }),
};
const gaeOptions = options('gae', {
  ...gaeShape,
  /** Whiten over all trained tokens of the step: (A - mean) / √(var + 1e-8), ddof 1, as TRL's PPO does. Default true. */
  whiten: boolean({ default: true }),
});
/** Options of `gae`. */
export type GaeOptions = Given<typeof gaeOptions>;

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

/**
 * A rollout as the steps of its trained tokens: what an environment said is part of the next state. `reward` is paid with
 * the last one, a turn's reward with the turn's last one, and the reward of an untrained token with the trained one before it.
 */
export function stepsOf(
  rollout: Rollout,
  { turnRewards: hasTurns = false }: { readonly turnRewards?: boolean } = {},
): {
  /** Indices of the trained tokens. */
  readonly at: readonly number[];
  readonly rewards: number[];
  readonly values: number[];
} {
  const { reward, tokenRewards, turnRewards = [], values } = rollout;
  const at = trainedTokens(rollout).flatMap((isTrained, t) => (isTrained ? [t] : []));
  const rewards = at.map(() => 0);
  const pay = (token: number, amount: number) => {
    const step = at.findLastIndex((t) => t <= token);
    rewards[Math.max(step, 0)]! += amount;
  };
  if (at.length > 0) {
    rollout.completionTokens.forEach((_, t) => {
      if (tokenRewards?.[t]) pay(t, tokenRewards[t]!);
    });
    if (hasTurns) for (const turn of turnRewards) pay(turn.at, turn.reward);
    rewards[at.length - 1]! += reward ?? 0;
  }
  return { at, rewards, values: at.map((t) => values?.[t] ?? 0) };
}

/** The advantages of PPO (arXiv 1707.06347) for language models, one a token: GAE over `values`, `tokenRewards` and `reward`. */
export function gae(given: GaeOptions = {}): Advantage {
  const { gamma, lambda, whiten, turnRewards } = gaeOptions.read(given);
  return {
    name: 'gae',
    settings: gaeOptions.settings(given),
    needs: ['values', ...(turnRewards ? (['turnRewards'] as const) : [])],
    level: 'token',
    compute(rollouts) {
      const all = rollouts.map((rollout) => {
        const { at, rewards, values } = stepsOf(rollout, { turnRewards });
        const isScorable = rollout.reward !== null;
        return { at: isScorable ? at : [], advantages: generalizedAdvantages(rewards, values, { gamma, lambda }) };
      });
      const moved = whiten
        ? whitening(all.flatMap(({ at, advantages }) => at.map((_, i) => advantages[i]!)))
        : undefined;
      return rollouts.map(({ completionTokens }, i) => {
        const tokens = completionTokens.map(() => 0);
        const { at, advantages } = all[i]!;
        at.forEach((t, j) => {
          tokens[t] = moved ? moved(advantages[j]!) : advantages[j]!;
        });
        return tokens;
      });
    },
  };
}

/** Added to the variance before its root, as TRL does. */
const VARIANCE_EPSILON = 1e-8;

function whitening(values: readonly number[]): (value: number) => number {
  const mean = values.reduce((a, b) => a + b, 0) / Math.max(values.length, 1);
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(values.length - 1, 1);
  return (value) => (value - mean) / Math.sqrt(variance + VARIANCE_EPSILON);
}
