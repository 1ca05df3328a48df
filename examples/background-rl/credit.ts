// Which token of a completion is paid for what came of it, where one alone decides.
import { Key } from '@posttrain/core-tensor';
import {
  type Advantage,
  gae,
  leaveOneOut,
  mdpEnvironment,
  play,
  policyValues,
  rolloutOfCompletion,
  softmaxPolicy,
  tablePolicy,
  tdLambda,
  tokenMdp,
  vinePpo,
} from '@posttrain/rl';

const [VOCABULARY, LENGTH, DECISIVE] = [3, 5, 2];

export interface Credit {
  /** The share of Σ |A| over a completion that is at the token that decides. */
  readonly share: number;
  /** How often that token has the largest |A| of its completion, and no other as large a one. */
  readonly found: number;
}

/** What each way of sharing out makes of a policy that is drawn: means over all completions, by their probability. */
export async function credit(seed: number): Promise<Record<string, Credit>> {
  const mdp = tokenMdp({
    vocabulary: VOCABULARY,
    maxLength: LENGTH,
    reward: (tokens) => (tokens[DECISIVE] === 1 ? 1 : 0),
  });
  const key = Key.fromSeed(seed);
  const uniforms = key.child(0).uniformHost(mdp.states * VOCABULARY);
  const policy = softmaxPolicy(
    Array.from({ length: mdp.states }, (_, s) =>
      Array.from({ length: VOCABULARY }, (__, a) => 2 * uniforms[VOCABULARY * s + a]!),
    ),
  );
  const exact = policyValues(mdp, policy).values;
  const all = mdp.completions(policy);

  /** The mean of so many completions from each state. */
  const sampled = (count: number) =>
    exact.map((value, state) => {
      const draws = key.child(1).child(state).uniformHost(count);
      // What comes behind a state pays 1 with the probability of its value.
      return draws.reduce((sum, u) => sum + (u < value ? 1 / count : 0), 0);
    });
  const environment = mdpEnvironment(mdp);
  const acting = tablePolicy(mdp, policy);
  const td = tdLambda({ features: mdp.states, learningRate: 0.1, lambda: 0.9, initial: 0.5 });
  for (const { observations, rewards } of await play({
    environment,
    policy: acting,
    episodes: 500,
    maxSteps: LENGTH,
    seed,
  })) {
    observations.forEach((seen, t) => {
      td.step({ from: seen[0]!, reward: rewards[t]!, to: observations[t + 1]?.[0] ?? null });
    });
  }
  const everyToken = Array.from({ length: VOCABULARY }, (_, token) => token);
  const ways: Record<string, readonly [Advantage, readonly number[]]> = {
    'outcome (RLOO)': [leaveOneOut(), exact],
    'GAE, λ = 1, exact critic': [gae({ lambda: 1, whiten: false }), exact],
    'GAE, λ = 0.95, exact critic': [gae({ whiten: false }), exact],
    'GAE, λ = 0, exact critic': [gae({ lambda: 0, whiten: false }), exact],
    'GAE, λ = 0, critic by TD(0.9) of 500 episodes': [gae({ lambda: 0, whiten: false }), [...td.weights]],
    'VinePPO, 9 completions a state': [vinePpo({ stepTokens: everyToken }), sampled(9)],
    'VinePPO, 64 completions a state': [vinePpo({ stepTokens: everyToken }), sampled(64)],
  };
  return Object.fromEntries(
    Object.entries(ways).map(([name, [advantage, values]]) => {
      // A second completion is what the first is compared with: the mean one, where it is compared at all.
      const own = all.map((one) => {
        const rollout = rolloutOfCompletion(one, values);
        const [first] = advantage.compute([rollout, { ...rollout, reward: exact[0]! }]);
        const of = (t: number) => Math.abs(typeof first === 'number' ? first : first![t]!);
        return Array.from({ length: LENGTH }, (_, t) => of(t));
      });
      const mean = (of: (sizes: readonly number[]) => number) =>
        all.reduce((sum, { probability }, i) => sum + probability * of(own[i]!), 0);
      return [
        name,
        {
          share: mean((sizes) => sizes[DECISIVE]! / sizes.reduce((a, b) => a + b, 0)),
          found: mean((sizes) => (sizes.every((x, t) => t === DECISIVE || x < sizes[DECISIVE]! - 1e-12) ? 1 : 0)),
        },
      ];
    }),
  );
}
