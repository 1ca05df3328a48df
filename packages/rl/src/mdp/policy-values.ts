import { checkPolicy, type FiniteMdp, MdpError, type Outcome, type PolicyTable, softmaxPolicy } from './finite-mdp.js';

/** What a policy is worth in an MDP, without an estimate in it. */
export interface PolicyValues {
  /** J: the expected discounted return of an episode. */
  readonly value: number;
  /** V(s): the expected return from each state. */
  readonly values: readonly number[];
  /** Q(s, a): the expected return from each state after each action. */
  readonly actionValues: readonly (readonly number[])[];
  /** A(s, a) = Q(s, a) - V(s). */
  readonly advantages: readonly (readonly number[])[];
  /** d(s) = Σ_t γ^t P(s_t = s): how often each state is met, discounted, with the states behind the end left out. */
  readonly visits: readonly number[];
}

/** Where sweeps end: what the last one has changed, beside the largest value (or 1). */
const PRECISION = 1e-14;
const MOST_SWEEPS = 20_000;

/** r + γ V(s') expected over what follows. */
const lookAhead = (outcomes: readonly Outcome[], values: readonly number[], gamma: number): number =>
  outcomes.reduce((sum, { probability, reward, next }) => {
    return sum + probability * (reward + (next === null ? 0 : gamma * values[next]!));
  }, 0);

/** What follows every action in every state, asked once. */
const tableOf = (mdp: FiniteMdp): (readonly Outcome[])[][] =>
  Array.from({ length: mdp.states }, (_, state) =>
    Array.from({ length: mdp.actions }, (__, action) => mdp.outcomes(state, action)),
  );

/** V = backup(Q) until nothing moves, from the last state to the first: one sweep where states come before what follows them. */
function sweep(
  mdp: FiniteMdp,
  table: readonly (readonly Outcome[])[][],
  backup: (own: number[], state: number) => number,
) {
  const values = new Array<number>(mdp.states).fill(0);
  const actionValues = (state: number) => table[state]!.map((outcomes) => lookAhead(outcomes, values, mdp.gamma));
  for (let round = 0; round < MOST_SWEEPS; round++) {
    let [moved, largest] = [0, 1];
    for (let state = mdp.states - 1; state >= 0; state--) {
      const value = backup(actionValues(state), state);
      moved = Math.max(moved, Math.abs(value - values[state]!));
      largest = Math.max(largest, Math.abs(value));
      values[state] = value;
    }
    if (moved <= PRECISION * largest) return { values, actionValues: values.map((_, state) => actionValues(state)) };
  }
  throw new MdpError(
    mdp.name,
    `its values have not settled in ${MOST_SWEEPS} sweeps: is there an end that is reached?`,
  );
}

/** d = start + γ Pᵀ d, summed step by step. */
function visitsOf(mdp: FiniteMdp, table: readonly (readonly Outcome[])[][], policy: PolicyTable): number[] {
  const visits = new Array<number>(mdp.states).fill(0);
  let mass = [...mdp.start];
  for (let step = 0; step < MOST_SWEEPS; step++) {
    const next = new Array<number>(mdp.states).fill(0);
    let left = 0;
    mass.forEach((p, state) => {
      if (p === 0) return;
      visits[state] = visits[state]! + p;
      table[state]!.forEach((outcomes, action) => {
        for (const outcome of outcomes) {
          if (outcome.next === null) continue;
          const flow = mdp.gamma * p * policy[state]![action]! * outcome.probability;
          next[outcome.next] = next[outcome.next]! + flow;
          left += flow;
        }
      });
    });
    if (left <= PRECISION) return visits;
    mass = next;
  }
  throw new MdpError(mdp.name, `episodes of this policy are not over after ${MOST_SWEEPS} steps`);
}

/**
 * J, V, Q, A and the visits of a policy by dynamic programming (policy evaluation; Bellman, 1957): V(s) = Σ_a π(a|s) Q(s, a), Q(s, a) =
 * E[r + γ V(s')].
 *
 * @throws MdpError for a policy that is none of this MDP, and where episodes do not end
 */
export function policyValues(mdp: FiniteMdp, policy: PolicyTable): PolicyValues {
  checkPolicy(mdp, policy);
  const table = tableOf(mdp);
  const mean = (own: readonly number[], state: number) => own.reduce((sum, q, a) => sum + policy[state]![a]! * q, 0);
  const { values, actionValues } = sweep(mdp, table, mean);
  return {
    value: mdp.start.reduce((sum, p, state) => sum + p * values[state]!, 0),
    ...{ values, actionValues, visits: visitsOf(mdp, table, policy) },
    advantages: actionValues.map((own, state) => own.map((q) => q - values[state]!)),
  };
}

/** V* and Q* of the best policy, by value iteration: V(s) = max_a Q(s, a). @throws MdpError where episodes need not end */
export function optimalValues(mdp: FiniteMdp): Pick<PolicyValues, 'values' | 'actionValues'> {
  return sweep(mdp, tableOf(mdp), (own) => Math.max(...own));
}

/**
 * The policy gradient of a softmax policy in its logits, exactly (the policy gradient theorem; Sutton et al., 2000): ∂J / ∂θ(s, a) = d(s) π(a|s)
 * A(s, a).
 *
 * @param logits θ: a row for every state
 * @returns a table as the logits are
 */
export function policyGradients(mdp: FiniteMdp, logits: readonly (readonly number[])[]): number[][] {
  const policy = softmaxPolicy(logits);
  const { advantages, visits } = policyValues(mdp, policy);
  return policy.map((row, state) => row.map((p, action) => visits[state]! * p * advantages[state]![action]!));
}
