import { boolean, type Given, options } from '@posttrain/interfaces';
import { type Advantage, byGroup, nanMean, nanStd, STD_EPSILON } from './advantage.js';

export const leaveOneOutShape = {
  /** Whiten the advantages over the batch: (A - mean) / (std + 1e-4), ddof 1. Default false. */
  normalizeAdvantages: boolean({ default: false }),
};
const leaveOneOutOptions = options('leaveOneOut', leaveOneOutShape);
/** Options of `leaveOneOut`. */
export type LeaveOneOutOptions = Given<typeof leaveOneOutOptions>;

/**
 * The advantage of RLOO (arXiv 2402.14740): A_i = r_i - mean of the other rewards of the same prompt, an unbiased
 * baseline. A completion without a scorable companion gets 0.
 */
export function leaveOneOut(given: LeaveOneOutOptions = {}): Advantage {
  const { normalizeAdvantages } = leaveOneOutOptions.read(given);
  return {
    name: 'leave-one-out',
    settings: leaveOneOutOptions.settings(given),
    needsGroup: true,
    compute: (rollouts) =>
      byGroup(rollouts, (groups) => {
        const advantages = groups.map((group) => group.map((reward, i) => reward - nanMean(group.toSpliced(i, 1))));
        if (!normalizeAdvantages) return advantages;
        const [mean, std] = [nanMean(advantages.flat()), nanStd(advantages.flat())];
        return advantages.map((group) => group.map((value) => (value - mean) / (std + STD_EPSILON)));
      }),
  };
}
