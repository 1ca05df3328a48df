import { type Given, type HasSettings, number, options, type Verifier } from '@posttrain/interfaces';
import { VerifierInputError } from '@posttrain/interfaces/verifiers';
import { verdictsOf, verifierOption } from './members.js';

const stopProperlyOptions = options('stopProperly', {
  /** What a completion is worth that came to its end. */
  verifier: verifierOption,
  /** From 0 to 1: what a reward is multiplied by where the completion was cut off. Below 0: that is the reward then. Default 0. */
  coefficient: number({ default: 0, max: 1 }),
});
/** Options of `stopProperly`. */
export type StopProperlyOptions = Given<typeof stopProperlyOptions>;

/**
 * The penalty for completions that do not stop by themselves (ProRL v2; OpenRLHF and NeMo-RL: `stop_properly_penalty_coef`): the reward of one that was cut
 * off is `coefficient` times what it would be, or `coefficient` itself where that is below 0, as in OpenRLHF. Beside several rewards, wrap each.
 *
 * @throws OptionError; VerifierInputError where nobody says why a completion ended; what the verifier throws
 */
export function stopProperly(given: StopProperlyOptions): Verifier & HasSettings {
  const { verifier, coefficient } = stopProperlyOptions.read(given);
  return {
    name: `stopProperly(${verifier.name})`,
    settings: stopProperlyOptions.settings(given),
    async verify(requests) {
      const unknown = requests.findIndex(({ finishReason }) => finishReason === undefined);
      if (unknown >= 0) {
        throw new VerifierInputError(
          `stopProperly needs the finishReason of completion ${unknown}, which nobody gave.`,
        );
      }
      const verdicts = await verdictsOf(verifier, requests);
      return verdicts.map((verdict, i) => {
        if (verdict.score === null || requests[i]!.finishReason === 'stop') return verdict;
        return { ...verdict, score: coefficient < 0 ? coefficient : verdict.score * coefficient };
      });
    },
  };
}
