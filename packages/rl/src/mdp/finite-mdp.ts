import { PosttrainError, showValue } from '@posttrain/interfaces';

/** What may follow an action. */
export interface Outcome {
  readonly probability: number;
  readonly reward: number;
  /** The state that comes then; null: the episode is over, and what comes behind is worth 0. */
  readonly next: number | null;
}

/**
 * A Markov decision process that is small enough to be enumerated: states and actions are numbers from 0 up. What a method
 * estimates of it can be held to what it is (`policyValues`, `policyGradients`, `optimalValues`).
 */
export interface FiniteMdp {
  readonly name: string;
  /** How many states there are, those behind the end not counted. */
  readonly states: number;
  /** How many actions there are, in every state the same. */
  readonly actions: number;
  /** With what probability an episode begins in each state. */
  readonly start: readonly number[];
  /** γ: what a reward one step later is worth. */
  readonly gamma: number;
  /** What may follow; its probabilities sum to 1. */
  outcomes(state: number, action: number): readonly Outcome[];
}

/** A policy as a table: the probability of each action, a row for every state. */
export type PolicyTable = readonly (readonly number[])[];

/** An MDP or a policy of which nothing can be enumerated. Code `MDP`. */
export class MdpError extends PosttrainError {
  constructor(where: string, problem: string) {
    super('MDP', `${where}: ${problem}`);
  }
}

/** How far a sum of probabilities may be from 1. */
const TOLERANCE = 1e-9;

const isDistribution = (values: readonly number[]): boolean =>
  values.every((p) => p >= 0) && Math.abs(values.reduce((a, b) => a + b, 0) - 1) <= TOLERANCE;

/**
 * The MDP, once all of it has been looked at.
 *
 * @throws MdpError for probabilities that do not sum to 1, a next state that there is not, a reward that is no number, γ outside 0 … 1
 */
export function finiteMdp(mdp: FiniteMdp): FiniteMdp {
  const { name, states, actions, start, gamma } = mdp;
  const wrong = (problem: string) => new MdpError(name, problem);
  if (!(Number.isInteger(states) && states > 0 && Number.isInteger(actions) && actions > 0)) {
    throw wrong(
      `it has ${showValue(states)} states and ${showValue(actions)} actions; it must have one or more of each`,
    );
  }
  if (!(gamma >= 0 && gamma <= 1)) throw wrong(`gamma is ${showValue(gamma)}; it must be between 0 and 1`);
  if (start.length !== states || !isDistribution(start)) {
    throw wrong(`start must have ${states} probabilities that sum to 1`);
  }
  for (let state = 0; state < states; state++) {
    for (let action = 0; action < actions; action++) {
      const outcomes = mdp.outcomes(state, action);
      const at = `action ${action} in state ${state}`;
      if (!isDistribution(outcomes.map(({ probability }) => probability))) {
        throw wrong(`the probabilities of what follows ${at} do not sum to 1`);
      }
      for (const { next, reward } of outcomes) {
        const isThere = next === null || (Number.isInteger(next) && next >= 0 && next < states);
        if (!isThere) throw wrong(`${at} leads to state ${showValue(next)}, and there are ${states} (null is the end)`);
        if (!Number.isFinite(reward)) throw wrong(`${at} pays ${showValue(reward)}; it must be a number`);
      }
    }
  }
  return mdp;
}

/** Checks that a policy is one of an MDP. @throws MdpError for a table of another size, or with a row that is no distribution */
export function checkPolicy({ name, states, actions }: FiniteMdp, policy: PolicyTable): void {
  if (policy.length !== states)
    throw new MdpError(name, `the policy has ${policy.length} rows, and there are ${states} states`);
  policy.forEach((row, state) => {
    if (row.length === actions && isDistribution(row)) return;
    throw new MdpError(name, `the policy's row ${state} must have ${actions} probabilities that sum to 1`);
  });
}

/** π(a|s) = softmax of the logits of a state: the policy of a table of parameters. */
export const softmaxPolicy = (logits: readonly (readonly number[])[]): number[][] =>
  logits.map((row) => {
    const most = Math.max(...row);
    const powers = row.map((logit) => Math.exp(logit - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  });
