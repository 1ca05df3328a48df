import { assertKnownOptions, type HasSettings, type Verifier } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { positiveInteger } from '../positive-integer.js';
import { tokensOf } from './tokens.js';

/** Options of `lengthPenalty`. */
export interface LengthPenaltyOptions {
  /** Tokens at which the penalty is complete. */
  readonly maxCompletionLength: number;
}

/** -min(1, tokens / maxCompletionLength): the shorter the better. Give it a small weight. */
export function lengthPenalty(options: LengthPenaltyOptions): Verifier & HasSettings {
  assertKnownOptions('lengthPenalty', options, ['maxCompletionLength']);
  const max = positiveInteger('lengthPenalty: maxCompletionLength', options.maxCompletionLength);
  return ruleVerifier(
    'lengthPenalty',
    { maxCompletionLength: max },
    (request) => -Math.min(1, tokensOf('lengthPenalty', request) / max),
  );
}
