import { type Given, integer, number, options } from '@posttrain/interfaces';
import { checkPolicy, type FiniteMdp, MdpError, type PolicyTable } from '../mdp/finite-mdp.js';

const branchShape = {
  /** States that a context has before a branch may begin: T. */
  context: integer({ min: 0 }),
  /** Steps of a branch: k. */
  length: integer({ min: 0 }),
  /** The probability that a branch begins in a state: p. */
  share: number({ min: 0, max: 1 }),
};
const branchOptions = options('multiBranchReturn', branchShape);
/** Options of `multiBranchReturn`. */
export type MultiBranchOptions = Given<typeof branchOptions>;

const boundOptions = options('multiBranchReturnBound', {
  ...branchShape,
  /** γ. */
  gamma: number({ min: 0, below: 1 }),
  /** The largest |reward|. */
  maxReward: number({ min: 0 }),
  /** ε: the total variation of the model's next state from the true one, at most. */
  error: number({ min: 0, max: 1 }),
});
/** Options of `multiBranchReturnBound`. */
export type MultiBranchBoundOptions = Given<typeof boundOptions>;

/**
 * How far the return over branches of a model may be from the true one (arXiv 2410.11711, theorem 4.2): 2 γ^T / (1 − γ) · r_max k² p ε.
 *
 * @throws OptionError
 */
export function multiBranchReturnBound(given: MultiBranchBoundOptions): number {
  const { context, length, share, gamma, maxReward, error } = boundOptions.read(given);
  return ((2 * gamma ** context) / (1 - gamma)) * maxReward * length ** 2 * share * error;
}

/** Matrices of next states under a policy, the state behind the end being the last, and the expected reward of each state. */
function chainOf(
  mdp: FiniteMdp,
  policy: PolicyTable,
): { readonly next: readonly Float64Array[]; readonly rewards: readonly number[] } {
  checkPolicy(mdp, policy);
  const end = mdp.states;
  const next = Array.from({ length: end + 1 }, () => new Float64Array(end + 1));
  next[end]![end] = 1;
  const rewards = new Array<number>(end + 1).fill(0);
  policy.forEach((row, state) => {
    row.forEach((chance, action) => {
      for (const outcome of mdp.outcomes(state, action)) {
        next[state]![outcome.next ?? end]! += chance * outcome.probability;
        rewards[state]! += chance * outcome.probability * outcome.reward;
      }
    });
  });
  return { next, rewards };
}

/** ε of a model: max_s ½ Σ_s' |P(s'|s) − P̂(s'|s)| under a policy. @throws MdpError for another number of states or actions */
export function transitionError(mdp: FiniteMdp, model: FiniteMdp, policy: PolicyTable): number {
  checkModel(mdp, model);
  const [own, guessed] = [chainOf(mdp, policy).next, chainOf(model, policy).next];
  return Math.max(...own.map((row, s) => row.reduce((sum, p, i) => sum + Math.abs(p - guessed[s]![i]!) / 2, 0)));
}

const stepped = (mass: Float64Array, next: readonly Float64Array[]): Float64Array => {
  const after = new Float64Array(mass.length);
  mass.forEach((p, s) => {
    if (p > 0) for (let i = 0; i < after.length; i++) after[i]! += p * next[s]![i]!;
  });
  return after;
};

const dot = (mass: Float64Array, rewards: readonly number[]): number =>
  mass.reduce((sum, p, s) => sum + p * rewards[s]!, 0);

/** Where the sum over time ends: what γ leaves of the rest. */
const PRECISION = 1e-14;
const MOST_STEPS = 100_000;

/**
 * The return over branches of a model, without an estimate in it (arXiv 2410.11711, §4.2): Σ_t γ^t E[r(s)], where s is of the true chain, but from t = T on with
 * probability p each one of k states that branches have reached: the i-th after i steps of the model from the true state of t − i, which had T states
 * behind it or more. With p or k 0 it is the policy's own return.
 *
 * @param model the same states and actions with other probabilities; what a state is worth is the true process's
 * @throws OptionError; MdpError for a model of another size, γ of 1, and k p above 1, which is no distribution
 */
export function multiBranchReturn(
  mdp: FiniteMdp,
  model: FiniteMdp,
  policy: PolicyTable,
  given: MultiBranchOptions,
): number {
  const { context, length, share } = branchOptions.read(given);
  checkModel(mdp, model);
  if (share * length > 1)
    throw new MdpError(mdp.name, `${length} steps of a branch with probability ${share} each are more than all states`);
  if (mdp.gamma >= 1) throw new MdpError(mdp.name, 'gamma is 1; returns over branches need one below');
  const { next, rewards } = chainOf(mdp, policy);
  const guessed = chainOf(model, policy).next;
  let mass: Float64Array = Float64Array.from([...mdp.start, 0]);
  // Masses of branches, by the steps that they have made; those of the first steps come last.
  let branches: Float64Array[] = [];
  let [total, discount] = [0, 1];
  for (let t = 0; discount > PRECISION && t < MOST_STEPS; t++) {
    const imagined = branches.reduce((sum, branch) => sum + share * dot(branch, rewards), 0);
    total += discount * ((1 - share * branches.length) * dot(mass, rewards) + imagined);
    // A state of t has t + 1 states of context with itself.
    const begun = t + 1 >= context ? [mass] : [];
    branches = [...begun, ...branches].slice(0, length).map((branch) => stepped(branch, guessed));
    mass = stepped(mass, next);
    discount *= mdp.gamma;
  }
  return total;
}

function checkModel(mdp: FiniteMdp, model: FiniteMdp): void {
  if (model.states === mdp.states && model.actions === mdp.actions) return;
  throw new MdpError(
    mdp.name,
    `it has ${mdp.states} states and ${mdp.actions} actions, its model ${model.states} and ${model.actions}`,
  );
}
