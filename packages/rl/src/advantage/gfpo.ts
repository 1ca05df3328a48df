import { type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { groupsOf, type Rollout, trainedTokens } from '../rollout.js';
import { type Advantage, nanMean, nanStd, STD_EPSILON } from './advantage.js';

export const gfpoShape = {
  /** k: how many completions of a group are learnt from. */
  keep: integer({ min: 2 }),
  /** Which: the shortest, or those with the most reward for a token. Default `length`. */
  metric: oneOf(['length', 'token-efficiency'], { default: 'length' }),
};
const gfpoOptions = options('gfpo', gfpoShape);
/** Options of `gfpo`. */
export type GfpoOptions = Given<typeof gfpoOptions>;

const lengthOf = (rollout: Rollout): number => trainedTokens(rollout).reduce((a: number, b) => a + b, 0);

/**
 * The advantage of GFPO (arXiv 2508.09726): of the completions of a prompt only the k that are shortest (or have the most reward for a token) are
 * learnt from, with mean and deviation of these; the others get 0. Sample more, to think less. Of equals the earlier ones are kept;
 * what is not scorable is not. The deviation has ddof 1, and 1e-4 is added.
 *
 * @throws OptionError
 */
export function gfpo(given: GfpoOptions): Advantage {
  const { keep, metric } = gfpoOptions.read(given);
  const rank = {
    length: (rollout: Rollout) => lengthOf(rollout),
    'token-efficiency': (rollout: Rollout) => -rollout.reward! / Math.max(lengthOf(rollout), 1),
  }[metric];
  return {
    name: `gfpo(${metric})`,
    settings: gfpoOptions.settings(given),
    needsGroup: true,
    compute(rollouts) {
      const advantages = rollouts.map(() => 0);
      for (const group of groupsOf(rollouts.map((rollout, i) => ({ rollout, i, group: rollout.group })))) {
        const scored = group.filter(({ rollout }) => rollout.reward !== null);
        const kept = scored.toSorted((a, b) => rank(a.rollout) - rank(b.rollout)).slice(0, keep);
        const rewards = kept.map(({ rollout }) => rollout.reward!);
        const [mean, std] = [nanMean(rewards), nanStd(rewards)];
        for (const { rollout, i } of kept) {
          if (rewards.length > 1) advantages[i] = (rollout.reward! - mean) / (std + STD_EPSILON);
        }
      }
      return advantages;
    },
  };
}
