import { compile, leavesOf, perEngine, scalar, type Tensor, withLeaves } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, OptionError, oneOf, options } from '@posttrain/interfaces';
import { NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import type { Advantage } from '../advantage/advantage.js';
import type { Annotator, AnnotatorContext } from '../annotator.js';
import { groupsOf, type Rollout, type ScoredRollout, trainedTokens } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';

const bestOfN = integer({ default: 2, min: 2 });
export const bondShape = {
  /** N: what is distilled is the best of N samples of the anchor. Default 2, as in J-BOND. */
  n: bestOfN,
  /** β of the Jeffreys divergence: 0 is the forward KL alone (imitation of the best), 1 the backward one. Default 0.5. */
  beta: number({ default: 0.5, min: 0, max: 1 }),
  /** γ: weight of a further KL(π ‖ anchor), which slows the policy down. Default 0. */
  gamma: number({ default: 0, min: 0 }),
  /** What is subtracted from the reward of a sample: nothing, or the mean reward of the step's others. Default `leave-one-out`. */
  baseline: oneOf(['none', 'leave-one-out'], { default: 'leave-one-out' }),
};
export const bondAnchorShape = {
  n: bestOfN,
  /** M, samples of the anchor for each prompt: at least N. Default: N. */
  anchorSamples: integer({ optional: true, min: 2 }),
  /**
   * How log p≤ is estimated from them, p≤(y) being the share of the anchor's samples that are no better than y: `j_bond` gives −log 16
   * where both of two are better, else 0, which is log ½ on average at p≤ = ½; `empirical` log((1 + count) / (1 + M)). Default
   * `j_bond`, which takes M = 2.
   */
  quantile: oneOf(['j_bond', 'empirical'], { default: 'j_bond' }),
  /** η: how far the anchor goes towards the policy before each step; 0 keeps it. Default 0.02. */
  eta: number({ default: 0.02, min: 0, max: 1 }),
};
const bondOptions = options('bond', bondShape);
const bondAnchorOptions = options('bondAnchor', bondAnchorShape);
/** Options of `bond`. */
export type BondOptions = Given<typeof bondOptions>;
/** Options of `bondAnchor`. */
export type BondAnchorOptions = Given<typeof bondAnchorOptions>;

/** 1 for the best of N samples of the anchor, which is imitated; 0 for a sample of the policy. */
const isBest = rolloutField('bond.is-best', { per: 'rollout' });
/** The estimate of log p≤. */
const quantileReward = rolloutField('bond.reward', { per: 'rollout' });
/** Under the anchor. */
const anchorLogProbs = rolloutField('bond.anchor-log-probs', { per: 'token' });
/** What `bond` reads and `bondAnchor` gives. */
export const bondFields = { isBest, quantileReward, anchorLogProbs };
const needs = Object.values(bondFields).map(({ need }) => need);

/**
 * The advantage of BOND (best-of-N distillation, arXiv 2407.14622): the gradient of the Jeffreys divergence to the anchor's best-of-N
 * distribution π_N(y) = π_a(y) p≤(y)^(N−1) Σ_{i=1..N} (p<(y) / p≤(y))^(i−1),
 *
 *   (1 − β) KL(π_N ‖ π) + β KL(π ‖ π_N) + γ KL(π ‖ π_a)
 *
 * of policy samples and of the best of N samples of the anchor, each a mean of its own kind:
 *
 *   A(best) = 1 − β,    A(y) = β (N − 1) (r(y) − b) − (β + γ) log(π(y) / π_a(y)),   r ≈ log p≤
 *
 * The third factor of π_N, at most N, is left out, as in the paper. It is for `noRatio`, `policyGradient` and `sequenceSum`, with one
 * update a batch; log π(y) is that of `oldLogProbs`.
 *
 * @throws OptionError
 */
export function bond(given: BondOptions = {}): Advantage {
  const { n, beta, gamma, baseline } = bondOptions.read(given);
  return {
    name: 'bond',
    settings: bondOptions.settings(given),
    needs,
    compute(rollouts) {
      const drawn = rollouts.filter((it) => !isBest.of(it) && Number.isFinite(quantileReward.of(it)));
      const best = rollouts.filter((it) => isBest.of(it)).length;
      const total = drawn.reduce((sum, it) => sum + quantileReward.of(it), 0);
      return rollouts.map((it) => {
        if (isBest.of(it)) return ((1 - beta) * rollouts.length) / best;
        const reward = quantileReward.of(it);
        if (!Number.isFinite(reward)) return 0;
        const others = baseline === 'none' || drawn.length < 2 ? 0 : (total - reward) / (drawn.length - 1);
        const worth = beta * (n - 1) * (reward - others) - (beta + gamma) * logRatio(it);
        return (worth * rollouts.length) / drawn.length;
      });
    },
  };
}

/** log(π(y) / π_a(y)) of the trained tokens. */
function logRatio(rollout: Rollout): number {
  const anchor = anchorLogProbs.of(rollout);
  return trainedTokens(rollout).reduce((sum, is, t) => sum + is * (rollout.oldLogProbs[t]! - anchor[t]!), 0);
}

const averaged = perEngine(() =>
  compile(
    (average: Named, now: Named, rate: Tensor) =>
      mapNamed(average, (x, name) => x.mul(scalar(1).sub(rate)).add(now[name]!.mul(rate))),
    { name: 'bondAnchor' },
  ),
);

/**
 * The anchor of BOND: what the policy was when the run began, which follows it as a moving average. It samples `anchorSamples` completions
 * of every prompt, which are scored with the run's rewards; every rollout gets `bond.reward`, the estimate of log p≤ among them, and
 * the best of the first N, of equals the first, is added to the rollouts. Samples without a reward do not count. The anchor is in the
 * run's checkpoints; it is as large as what is trained.
 *
 * @throws OptionError
 */
export function bondAnchor(given: BondAnchorOptions = {}): Annotator {
  const { n, quantile, eta, anchorSamples = n } = bondAnchorOptions.read(given);
  const fail = (option: string, problem: string): never => {
    throw new OptionError('INVALID_OPTION', 'bondAnchor', option, problem);
  };
  if (anchorSamples < n) fail('anchorSamples', `anchorSamples is ${anchorSamples}; the best of ${n} needs as many.`);
  if (quantile === 'j_bond' && anchorSamples !== 2) {
    fail('quantile', `j_bond is an estimate from two samples, not ${anchorSamples}; use quantile: 'empirical'.`);
  }
  let anchor: Named | undefined;
  const move = async ({ model, adapter }: AnnotatorContext): Promise<Named> => {
    const now = namedOf(adapter.hooks === NO_ADAPTER.hooks ? model.weights : adapter.parameters);
    // The first copy is of the policy itself; its tensors are given away to the next update.
    return averaged(model.engine)(anchor ?? now, now, scalar(anchor ? eta : 1));
  };
  return {
    name: 'bond-anchor',
    settings: bondAnchorOptions.settings(given),
    gives: needs,
    async annotate(rollouts, context) {
      const { model, adapter, temperature, sample, score } = context;
      anchor = await move(context);
      const leaves = Object.values(anchor);
      const by =
        adapter.hooks === NO_ADAPTER.hooks
          ? { model: model.withWeights(withLeaves(model.weights, leaves)), adapter }
          : { model, adapter: { ...adapter, parameters: withLeaves(adapter.parameters, leaves) } };
      const prompts = groupsOf(rollouts).map(([rollout]) => ({ rollout: rollout!, n: anchorSamples }));
      const drawn = groupsOf(await score((await sample(prompts, by)).flat()));
      const rewardsOf = new Map(drawn.map((group) => [group[0]!.group, group]));
      const best = drawn.flatMap((group) => bestOf(group.slice(0, n)) ?? []);
      const all = [...rollouts, ...best];
      const sequences = all.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
      const scored = await sequenceLogProbs(by.model, sequences, { adapter: by.adapter, temperature });
      return all.map((rollout, i): ScoredRollout => {
        const { group, reward, promptTokens } = rollout;
        const estimate = i < rollouts.length ? estimateOf(reward, rewardsOf.get(group) ?? [], quantile) : 0;
        const marked = isBest.on(quantileReward.on(rollout, estimate), Number(i >= rollouts.length));
        return anchorLogProbs.on(marked, scored[i]!.logProbs.subarray(promptTokens.length - 1));
      });
    },
    state: () => ({ anchor: anchor ?? {} }),
    load(saved) {
      const { anchor: kept } = saved as { readonly anchor: Named };
      anchor = Object.keys(kept).length > 0 ? kept : undefined;
    },
  };
}

const namedOf = (tree: unknown): Named => Object.fromEntries(leavesOf(tree).map(({ path, tensor }) => [path, tensor]));

function bestOf(group: readonly ScoredRollout[]): ScoredRollout | undefined {
  return group.reduce<ScoredRollout | undefined>((best, one) => {
    if (one.reward === null) return best;
    return best === undefined || one.reward > best.reward! ? one : best;
  }, undefined);
}

/** The estimate of log p≤ of a reward; −∞ where nothing can be said of it. */
function estimateOf(
  reward: number | null,
  anchors: readonly ScoredRollout[],
  quantile: 'j_bond' | 'empirical',
): number {
  const rewards = anchors.flatMap((it) => it.reward ?? []);
  if (reward === null || rewards.length === 0) return Number.NEGATIVE_INFINITY;
  const count = rewards.filter((it) => it <= reward).length;
  if (quantile === 'j_bond') return count === 0 ? -Math.log(16) : 0;
  return Math.log((1 + count) / (1 + rewards.length));
}

/** The law of the best of N samples, of outcomes with these probabilities and rewards: π p≤^(N−1) Σ_i (p< / p≤)^(i−1). */
export function bestOfNLaw(probabilities: readonly number[], rewards: readonly number[], n: number): number[] {
  return probabilities.map((p, y) => {
    const shareOf = (is: (reward: number) => boolean) =>
      probabilities.reduce((sum, q, i) => (is(rewards[i]!) ? sum + q : sum), 0);
    const [below, atMost] = [shareOf((r) => r < rewards[y]!), shareOf((r) => r <= rewards[y]!)];
    if (p === 0) return 0;
    const ties = Array.from({ length: n }, (_, i) => (below / atMost) ** i).reduce((a, b) => a + b);
    return p * atMost ** (n - 1) * ties;
  });
}
