/** What a reward later is worth, and how far ahead an estimate looks. */
export interface LambdaDiscounts {
  /** γ. */
  readonly gamma: number;
  /** λ: 0 looks one step ahead, 1 to the end. */
  readonly lambda: number;
}

/**
 * The λ-returns of an episode, the forward view of TD(λ) (Sutton, 1988): G_t = r_t + γ ((1 - λ) V_{t+1} + λ G_{t+1}), the mean of all
 * n-step returns with weights (1 - λ) λ^(n-1). Less the values they are the advantages of GAE.
 *
 * @param rewards r_t of each step
 * @param values V(s_t) before each step
 * @param last V of the state behind the last step: 0 where the episode is over
 */
export function lambdaReturns(
  rewards: readonly number[],
  values: readonly number[],
  { gamma, lambda }: LambdaDiscounts,
  last = 0,
): number[] {
  const returns = new Array<number>(rewards.length);
  let following = last;
  for (let t = rewards.length - 1; t >= 0; t--) {
    const next = t + 1 < values.length ? values[t + 1]! : last;
    following = rewards[t]! + gamma * ((1 - lambda) * next + lambda * following);
    returns[t] = following;
  }
  return returns;
}
