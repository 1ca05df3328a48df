import { type Given, options } from '@posttrain/interfaces';
import type { Rollout } from '../rollout.js';
import { nStepShape, segmentReturns } from '../td/n-step-returns.js';
import type { Advantage } from './advantage.js';
import { stepsOf } from './gae.js';

const nStepOptions = options('nStepAdvantage', nStepShape);
/** Options of `nStepAdvantage`. */
export type NStepAdvantageOptions = Given<typeof nStepOptions>;

/** The trained tokens of a rollout, with V before each and the return that its segment has; none of what is not scorable. */
export function nStepTargets(rollout: Rollout, given: NStepAdvantageOptions) {
  if (rollout.reward === null) return { at: [], values: [], returns: [] };
  const { at, values, rewards } = stepsOf(rollout);
  return { at, values, returns: segmentReturns(rewards, values, given) };
}

/**
 * The advantage of A2C and A3C (arXiv 1602.01783, algorithm S3), one a token: A_t = G_t - V(s_t), where G_t sums the rewards to the end of the
 * segment of `nSteps` tokens and has a critic's value for the rest. It needs `values`. Segments of one step are the temporal difference of
 * the first actor and critic (Barto, Sutton and Anderson, 1983), and those longer than a completion the return less the value.
 *
 * @throws OptionError
 */
export function nStepAdvantage(given: NStepAdvantageOptions = {}): Advantage {
  nStepOptions.read(given);
  return {
    name: 'n-step',
    settings: nStepOptions.settings(given),
    needs: ['values'],
    level: 'token',
    compute: (rollouts) =>
      rollouts.map((rollout) => {
        const all = rollout.completionTokens.map(() => 0);
        const { at, values, returns } = nStepTargets(rollout, given);
        at.forEach((t, i) => {
          all[t] = returns[i]! - values[i]!;
        });
        return all;
      }),
  };
}
