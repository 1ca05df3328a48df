// How much an estimate of the policy gradient varies, by estimator: exactly, by the enumeration of every group that could be drawn.
import {
  type Advantage,
  batchMean,
  type EnumeratedCompletion,
  gae,
  groupNormalized,
  leaveOneOut,
  noBaseline,
  nStepAdvantage,
  policyGradients,
  policyValues,
  type Rollout,
  reMax,
  rolloutOfCompletion,
  softmaxPolicy,
  tokenMdp,
} from '@posttrain/rl';

/** Completions of a prompt in a step. */
const GROUP = 4;
/** Rewards of the nine completions of two tokens: grades, and one that is right. */
export const REWARDS = {
  graded: [2.1, 1.4, 1.9, 3.2, 2.5, 0.8, 1.7, 2.9, 2.2],
  sparse: [0, 0, 0, 0, 0, 0, 0, 1, 0],
} as const;
const LOGITS = [
  [0.3, -0.4, 0.2],
  [0.5, 0.1, -0.6],
  [-0.2, 0.4, 0],
  [0, -0.5, 0.6],
];

export interface Spread {
  /** The cosine between the mean of the estimates and the exact gradient. */
  readonly cosine: number;
  /** tr Cov / ‖mean‖²: the noise of one step beside its signal. */
  readonly noise: number;
}

/** A list for every list of indices of completions. */
const groups = (count: number, length: number): number[][] =>
  length === 0
    ? [[]]
    : groups(count, length - 1).flatMap((head) => Array.from({ length: count }, (_, i) => [...head, i]));

const given = (name: string, values: (rollout: Rollout) => number): Advantage => ({
  name,
  compute: (rollouts) => rollouts.map((rollout) => rollout.reward! - values(rollout)),
});

/** The spread of every estimator where completions are worth so much. */
export function variance(rewards: readonly number[]): Record<string, Spread> {
  const mdp = tokenMdp({ vocabulary: 3, maxLength: 2, reward: ([a, b]) => rewards[3 * a! + b!]! });
  const policy = softmaxPolicy(LOGITS);
  const exact = policyGradients(mdp, LOGITS).flat();
  const { values } = policyValues(mdp, policy);
  const all = mdp.completions(policy);
  const greedy = all.reduce((best, one) => (firstOf(policy, one) > firstOf(policy, best) ? one : best));
  /** ∇ log π of each token of each completion. */
  const scores = all.map(({ states, tokens }) =>
    states.map((state, t) => {
      const score = new Array<number>(exact.length).fill(0);
      policy[state]!.forEach((p, a) => {
        score[3 * state + a] = (a === tokens[t] ? 1 : 0) - p;
      });
      return score;
    }),
  );
  const squares = scores.map((own) => {
    const sum = own[0]!.map((x, j) => x + own[1]![j]!);
    return sum.reduce((a, x) => a + x * x, 0);
  });
  const over = (of: (i: number) => number) => all.reduce((sum, { probability }, i) => sum + probability * of(i), 0);
  // Of all constants it leaves the least variance: E[r s²] / E[s²].
  const best = over((i) => all[i]!.reward * squares[i]!) / over((i) => squares[i]!);
  const estimators: Record<string, Advantage> = {
    'REINFORCE, no baseline': noBaseline(),
    'REINFORCE, mean of the step': batchMean(),
    'REINFORCE, best constant': given('constant', () => best),
    'SCST, ReMax: greedy completion': reMax(),
    RLOO: leaveOneOut(),
    'GRPO, divided by the spread': groupNormalized(),
    'return less V (exact critic)': gae({ lambda: 1, whiten: false }),
    'A2C, one step (exact critic)': nStepAdvantage({ nSteps: 1 }),
  };
  const drawn = groups(all.length, GROUP).map((members) => ({
    members,
    probability: members.reduce((product, i) => product * all[i]!.probability, 1),
    rollouts: members.map((i) => ({ ...rolloutOfCompletion(all[i]!, values), baseline: greedy.reward })),
  }));
  return Object.fromEntries(
    Object.entries(estimators).map(([name, advantage]) => {
      const mean = exact.map(() => 0);
      let square = 0;
      for (const { members, probability, rollouts } of drawn) {
        const estimate = exact.map(() => 0);
        advantage.compute(rollouts).forEach((own, i) => {
          scores[members[i]!]!.forEach((score, t) => {
            const a = typeof own === 'number' ? own : own[t]!;
            score.forEach((x, j) => {
              estimate[j] = estimate[j]! + (a * x) / GROUP;
            });
          });
        });
        estimate.forEach((x, j) => {
          mean[j] = mean[j]! + probability * x;
          square += probability * x * x;
        });
      }
      const norm = Math.hypot(...mean);
      const cosine = mean.reduce((sum, x, j) => sum + x * exact[j]!, 0) / norm / Math.hypot(...exact);
      return [name, { cosine, noise: (square - norm ** 2) / norm ** 2 }];
    }),
  );
}

/** How likely a completion is where every token is the likeliest: 1 or less. */
const firstOf = (policy: readonly (readonly number[])[], { states, tokens }: EnumeratedCompletion): number =>
  states.filter((state, t) => policy[state]![tokens[t]!] === Math.max(...policy[state]!)).length;
