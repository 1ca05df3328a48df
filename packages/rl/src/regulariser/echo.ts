import { type Given, number, options } from '@posttrain/interfaces';
import { predictions, weightedSum } from '@posttrain/training';
import { type Rollout, trainedTokens } from '../rollout.js';
import type { Regulariser } from './regulariser.js';

const echoOptions = options('echo', {
  /** α: weight of the cross-entropy. Default 0.1, as in prime-rl. */
  alpha: number({ default: 0.1, min: 0 }),
});
/** Options of `echo`. */
export type EchoOptions = Given<typeof echoOptions>;

const OBSERVED = 'echo_observed';

/** 1 for each token that an environment said. A completion with no token that is trained (cut off, and masked) has none. */
function observed(rollout: Rollout): number[] {
  const trained = trainedTokens(rollout);
  return trained.map((isTrained) => (trained.includes(1) ? 1 - isTrained : 0));
}

/**
 * ECHO (`echo` of prime-rl): + α · the mean of -log p over the tokens of a step that the environment said, beside the policy's own loss over
 * those that it sampled: an agent also learns to foresee what its tools answer. Their denominator is their own. The logits are
 * divided by the run's temperature, as those of the policy. Metric: `echo/nll`, the mean without α.
 *
 * @throws OptionError
 */
export function echo(given: EchoOptions = {}): Regulariser {
  const { alpha } = echoOptions.read(given);
  return {
    name: 'echo',
    settings: echoOptions.settings(given),
    needsReference: false,
    needsPass: true,
    annotations: [OBSERVED],
    annotate(rollout, all) {
      const count = all.reduce((sum, one) => sum + observed(one).filter(Boolean).length, 0);
      return { [OBSERVED]: observed(rollout).map((one) => one / Math.max(count, 1)) };
    },
    compute({ pass, annotations, temperature }) {
      // Not the objective's log-probabilities, which are 0 where nothing is trained.
      const nll = weightedSum(pass!.read(predictions({ temperature })).logProbs.neg(), annotations[OBSERVED]!);
      return { loss: nll.mul(alpha), metrics: { 'echo/nll': nll } };
    },
  };
}
