import { type Rollout, trainedTokens } from '../rollout.js';

/** A trained token and how its advantage and its log-probability go together. */
export interface TokenCovariance {
  readonly rollout: number;
  readonly token: number;
  readonly covariance: number;
}

/**
 * (A_t - mean A) (log π_old - mean log π_old) of every trained token of a step that is of a scorable completion, whose mean is the covariance that the entropy of a softmax policy falls by
 * (arXiv 2505.22617, theorem 1).
 */
export function tokenCovariances(
  rollouts: readonly Rollout[],
  advantages: readonly (number | ArrayLike<number>)[],
): TokenCovariance[] {
  const tokens = rollouts.flatMap((rollout, i) =>
    trainedTokens(rollout).flatMap((trained, t) => {
      const own = advantages[i]!;
      const advantage = typeof own === 'number' ? own : own[t]!;
      return trained && rollout.reward !== null
        ? [{ rollout: i, token: t, advantage, logProb: rollout.oldLogProbs[t]! }]
        : [];
    }),
  );
  const mean = (of: (one: (typeof tokens)[number]) => number) =>
    tokens.reduce((sum, one) => sum + of(one), 0) / tokens.length;
  const [meanAdvantage, meanLogProb] = [mean((one) => one.advantage), mean((one) => one.logProb)];
  return tokens.map(({ rollout, token, advantage, logProb }) => ({
    ...{ rollout, token },
    covariance: (advantage - meanAdvantage) * (logProb - meanLogProb),
  }));
}
