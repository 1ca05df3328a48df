import { type Given, type HasSettings, integer, OptionError, options, type Verifier } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { tokensOf } from './tokens.js';

const softOverlongPunishmentOptions = options('softOverlongPunishment', {
  /** L_max: tokens at which the punishment is complete. */
  maxCompletionLength: integer({ min: 1 }),
  /** L_cache: over how many tokens before that it grows. */
  softPunishCache: integer({ min: 1 }),
});
/** Options of `softOverlongPunishment`. */
export type SoftOverlongPunishmentOptions = Given<typeof softOverlongPunishmentOptions>;

/**
 * Soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13) of a completion of n tokens: 0 for n ≤ L_max - L_cache, then
 * (L_max - L_cache - n) / L_cache, and -1 for n > L_max. For completions of exactly L_max both give -1.
 *
 * @throws OptionError
 */
export function softOverlongPunishment(given: SoftOverlongPunishmentOptions): Verifier & HasSettings {
  const { maxCompletionLength: max, softPunishCache: cache } = softOverlongPunishmentOptions.read(given);
  if (cache > max) {
    const problem = `softPunishCache ${cache} exceeds maxCompletionLength ${max}.`;
    throw new OptionError('INVALID_OPTION', 'softOverlongPunishment', 'softPunishCache', problem);
  }
  const settings = softOverlongPunishmentOptions.settings(given);
  return ruleVerifier('softOverlongPunishment', settings, (request) => {
    const length = tokensOf('softOverlongPunishment', request);
    return Math.max(-1, Math.min(0, (max - cache - length) / cache));
  });
}
