import { type Given, oneOf, options } from '@posttrain/interfaces';
import { type Rollout, trainedTokens } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import type { Advantage, RolloutNeed } from './advantage.js';

/** What the cross-entropy of each token counts: 0 of one that was sampled. */
export const mixerXent = rolloutField('mixer.xent', { per: 'token' });
/** What REINFORCE counts at each token: 0 of one of the reference. */
export const mixerReinforce = rolloutField('mixer.reinforce', { per: 'token' });

export const mixerShape = {
  /**
   * b, which is taken off the reward: nothing, the mean reward of the step's sampled completions, or the `baseline` of each rollout, which an annotator
   * gives (`movingAverageBaseline()`, `greedyBaseline()`; the paper learns one for every state). Default `batch-mean`.
   */
  baseline: oneOf(['none', 'batch-mean', 'annotated'], { default: 'batch-mean' }),
};
const mixerOptions = options('mixer', mixerShape);
/** Options of `mixer`. */
export type MixerOptions = Given<typeof mixerOptions>;

/** Whether the policy wrote any of it. */
const isSampled = (rollout: Rollout): boolean => {
  const counts = mixerReinforce.of(rollout);
  return trainedTokens(rollout).some((isTrained, t) => isTrained === 1 && counts[t] !== 0);
};

/**
 * The advantage of MIXER (arXiv 1511.06732), for rollouts of `mixerRollouts` or `annealedRollouts`: x_t + ρ_t (r - b), where x_t is what the
 * cross-entropy counts at a token of the reference and ρ_t what REINFORCE counts at a sampled one. Since the surrogate `policyGradient` is -A log π,
 * an advantage of 1 is the cross-entropy of its token.
 *
 * @throws OptionError
 */
export function mixer(given: MixerOptions = {}): Advantage {
  const { baseline } = mixerOptions.read(given);
  const needs: RolloutNeed[] = [mixerXent.need, mixerReinforce.need];
  return {
    name: 'mixer',
    settings: mixerOptions.settings(given),
    needs: baseline === 'annotated' ? [...needs, 'baseline'] : needs,
    compute(rollouts) {
      const known = rollouts.filter((rollout) => rollout.reward !== null && isSampled(rollout));
      const mean = known.reduce((sum, { reward }) => sum + reward!, 0) / Math.max(known.length, 1);
      return rollouts.map((rollout) => {
        const [xent, reinforce] = [mixerXent.of(rollout), mixerReinforce.of(rollout)];
        const b = { none: 0, 'batch-mean': mean, annotated: rollout.baseline ?? 0 }[baseline];
        const gained = rollout.reward === null ? 0 : rollout.reward - b;
        return rollout.completionTokens.map((_, t) => xent[t]! + reinforce[t]! * gained);
      });
    },
  };
}
