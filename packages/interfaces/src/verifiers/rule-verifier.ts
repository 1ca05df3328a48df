import type { DecisiveSettings, HasSettings } from '../settings.js';
import type { Verdict, Verifier, VerifyRequest } from '../verify.js';

/** A verifier that knows of a row alone that it can score no completion of it. */
export interface ChecksRows {
  /** Why every completion of the row would get null; undefined where it would not. */
  cannotScore(row: object): string | undefined;
}

/**
 * A verifier from a rule: judges each completion by itself, at once, with nothing to wait for or to limit. `settings` are
 * what the rule was made with, which a resumed run must share.
 */
export function ruleVerifier(
  name: string,
  settings: DecisiveSettings,
  judge: (request: VerifyRequest) => Verdict | number | null,
  checks: Partial<ChecksRows> = {},
): Verifier & HasSettings & Partial<ChecksRows> {
  const verdictOf = (request: VerifyRequest): Verdict => {
    const verdict = judge(request);
    return typeof verdict === 'object' && verdict !== null ? verdict : { score: verdict };
  };
  return { name, settings, verify: async (requests) => requests.map(verdictOf), ...checks };
}
