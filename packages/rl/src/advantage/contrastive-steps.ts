import { type Given, integer, listOf, options } from '@posttrain/interfaces';
import { groupsOf, type Rollout } from '../rollout.js';
import type { Advantage } from './advantage.js';

const contrastiveOptions = options('contrastiveSteps', {
  /** Ids of tokens that end a step of reasoning. */
  stepTokens: listOf(integer({ min: 0 }), {}),
});
/** Options of `contrastiveSteps`. */
export type ContrastiveStepsOptions = Given<typeof contrastiveOptions>;

/**
 * Contrastive stepwise credit among rollouts that share prefixes (the tree of Segment Policy Optimization, arXiv 2505.23564): with V(p) the mean reward of the
 * group's rollouts that begin with the prefix p, the tokens of a step from p to p' have A = V(p') - V(p), behind the last step the rollout's own reward
 * being V. Steps that all siblings share are paid nothing, the one in which they part is paid what it made of them, and a rollout's steps add up to its
 * reward less the mean of its group. Without shared prefixes all of that is at the first step. `treeRollouts` makes groups that share more; where it
 * draws good states more often, V is that of the tree and not of the policy.
 *
 * Of groups of one nothing is known, nor of what cannot be scored: 0.
 *
 * @throws OptionError
 */
export function contrastiveSteps(given: ContrastiveStepsOptions): Advantage {
  const { stepTokens } = contrastiveOptions.read(given);
  const ends = new Set(stepTokens);
  return {
    name: 'contrastive-steps',
    settings: contrastiveOptions.settings(given),
    needsGroup: true,
    level: 'token',
    compute(rollouts) {
      const advantages = new Map<Rollout, number[]>();
      for (const group of groupsOf(rollouts)) {
        const values = valuesOf(group, ends);
        for (const rollout of group) advantages.set(rollout, creditOf(rollout, values, ends));
      }
      return rollouts.map((rollout) => advantages.get(rollout)!);
    },
  };
}

/** Where steps end: how many tokens of the completion come before. */
const cutsOf = ({ completionTokens }: Rollout, ends: ReadonlySet<number>): number[] =>
  completionTokens.flatMap((token, t) => (ends.has(token) && t + 1 < completionTokens.length ? [t + 1] : []));

const prefixOf = ({ completionTokens }: Rollout, tokens: number): string => completionTokens.slice(0, tokens).join(' ');

/** The mean reward behind each prefix that ends with a step, and of the whole group. */
function valuesOf(group: readonly Rollout[], ends: ReadonlySet<number>): Map<string, number> {
  const rewards = new Map<string, number[]>();
  for (const rollout of group) {
    if (rollout.reward === null) continue;
    for (const cut of [0, ...cutsOf(rollout, ends)]) {
      const prefix = prefixOf(rollout, cut);
      rewards.set(prefix, [...(rewards.get(prefix) ?? []), rollout.reward]);
    }
  }
  return new Map(
    [...rewards].map(([prefix, own]) => [prefix, own.reduce((sum, reward) => sum + reward, 0) / own.length]),
  );
}

function creditOf(rollout: Rollout, values: ReadonlyMap<string, number>, ends: ReadonlySet<number>): number[] {
  const { completionTokens, reward } = rollout;
  const credit = completionTokens.map(() => 0);
  if (reward === null) return credit;
  const cuts = [0, ...cutsOf(rollout, ends)];
  cuts.forEach((cut, j) => {
    const next = cuts[j + 1];
    const after = next === undefined ? reward : values.get(prefixOf(rollout, next))!;
    credit.fill(after - values.get(prefixOf(rollout, cut))!, cut, next ?? completionTokens.length);
  });
  return credit;
}
