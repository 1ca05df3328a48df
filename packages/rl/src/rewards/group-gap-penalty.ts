import {
  custom,
  type Given,
  type HasSettings,
  number,
  options,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { alike } from '../rollout.js';
import { verdictsOf, verifierOption } from './members.js';

const groupGapOptions = options('groupGapPenalty', {
  /** The reward, which may prefer one group of answers to another. */
  verifier: verifierOption,
  /** The group that an answer is of: a dialect, whom it speaks of; undefined: none, and nothing is taken off. */
  groupOf: custom<(request: VerifyRequest) => string | undefined>()(
    'a function of a request',
    (value) => typeof value === 'function',
    { settings: (groupOf) => String(groupOf) },
  ),
  /** λ: which part of the gap is taken off. Default 1: groups are worth the same on average. */
  weight: number({ default: 1, min: 0 }),
});
/** Options of `groupGapPenalty`. */
export type GroupGapPenaltyOptions = Given<typeof groupGapOptions>;

/**
 * A reward without the gap between groups of answers (bias-aware reinforcement; the residual of a regression on the group, after arXiv 1802.08139's
 * mean difference): r'_i = r_i - λ (r̄_g(i) - r̄), with r̄_g the mean reward of i's group among the answers that are scored together, a step's, and r̄ the mean
 * of all that have a group. With λ = 1 no group is paid more than another, and within a group the differences stay what they are. It is blind to why groups
 * differ: where one of them is better by right, that is taken off too.
 *
 * @throws OptionError; what the verifier throws
 */
export function groupGapPenalty(given: GroupGapPenaltyOptions): Verifier & HasSettings {
  const { verifier, groupOf, weight } = groupGapOptions.read(given);
  return {
    name: 'groupGapPenalty',
    settings: groupGapOptions.settings(given),
    async verify(requests) {
      const scores = (await verdictsOf(verifier, requests)).map(({ score }) => score);
      const counted = requests.flatMap((request, i) => {
        const [score, group] = [scores[i]!, groupOf(request)];
        return score === null || group === undefined ? [] : [{ i, group, score }];
      });
      const all = meanOf(counted.map(({ score }) => score));
      for (const group of alike(counted, ({ group: name }) => name)) {
        const gap = meanOf(group.map(({ score }) => score)) - all;
        for (const { i, score } of group) scores[i] = score - weight * gap;
      }
      return scores.map((score) => ({ score }));
    },
  };
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
