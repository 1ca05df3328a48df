import { type Given, type HasSettings, integer, options, type Verifier } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { tokensOf } from './tokens.js';

const lengthPenaltyOptions = options('lengthPenalty', {
  /** Tokens at which the penalty is complete. */
  maxCompletionLength: integer({ min: 1 }),
});
/** Options of `lengthPenalty`. */
export type LengthPenaltyOptions = Given<typeof lengthPenaltyOptions>;

/** -min(1, tokens / maxCompletionLength): the shorter the better. Give it a small weight. @throws OptionError */
export function lengthPenalty(given: LengthPenaltyOptions): Verifier & HasSettings {
  const { maxCompletionLength: max } = lengthPenaltyOptions.read(given);
  return ruleVerifier(
    'lengthPenalty',
    lengthPenaltyOptions.settings(given),
    (request) => -Math.min(1, tokensOf('lengthPenalty', request) / max),
  );
}
