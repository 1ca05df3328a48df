import { assertKnownOptions, type HasSettings, PosttrainError, type Verifier } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { positiveInteger } from '../positive-integer.js';
import { tokensOf } from './tokens.js';

/** Options of `softOverlongPunishment`. */
export interface SoftOverlongPunishmentOptions {
  /** L_max: tokens at which the punishment is complete. */
  readonly maxCompletionLength: number;
  /** L_cache: over how many tokens before that it grows. */
  readonly softPunishCache: number;
}

/**
 * Soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13) of a completion of n tokens: 0 for n ≤ L_max - L_cache, then
 * (L_max - L_cache - n) / L_cache, and -1 for n > L_max. For completions of exactly L_max both give -1.
 */
export function softOverlongPunishment(options: SoftOverlongPunishmentOptions): Verifier & HasSettings {
  assertKnownOptions('softOverlongPunishment', options, ['maxCompletionLength', 'softPunishCache']);
  const max = positiveInteger('softOverlongPunishment: maxCompletionLength', options.maxCompletionLength);
  const cache = positiveInteger('softOverlongPunishment: softPunishCache', options.softPunishCache);
  if (cache > max) {
    throw new PosttrainError(
      'OPTION',
      `softOverlongPunishment: softPunishCache ${cache} exceeds maxCompletionLength ${max}`,
    );
  }
  const settings = { maxCompletionLength: max, softPunishCache: cache };
  return ruleVerifier('softOverlongPunishment', settings, (request) => {
    const length = tokensOf('softOverlongPunishment', request);
    return Math.max(-1, Math.min(0, (max - cache - length) / cache));
  });
}
