import { assertKnownOptions, PosttrainError, showValue } from '@posttrain/interfaces';
import type { DecodeHook, DecodeState, DecodeStep } from '../sampling/decode-hook.js';

/** Options of budget forcing (s1, arXiv 2501.19393): how long a model thinks at least and at most. */
export interface BudgetForcingOptions {
  /**
   * The tokens that end thinking. The model ends it by drawing the first of them; at the cap all are put in, so that
   * more than the delimiter can be given (s1: the start of the answer's message).
   */
  readonly endOfThinking: readonly number[];
  /** Further tokens that end thinking when drawn, such as the end of the text. Default: none. */
  readonly otherEnds?: readonly number[];
  /** Thinking has at least this many tokens. Default 0. */
  readonly minTokens?: number;
  /** Thinking has at most this many tokens. Default: no cap. */
  readonly maxTokens?: number;
  /** Put in instead of an end of thinking (s1: the tokens of "Wait"). Default: none. */
  readonly wait?: readonly number[];
  /** How many ends of thinking `wait` takes the place of. Default: 1 when there is `wait`, else 0. */
  readonly waits?: number;
}

/**
 * Budget forcing (s1, arXiv 2501.19393 §3.1) for one completion, whose thinking begins with its first token. The end of
 * thinking is suppressed: replaced by `wait` for the first `waits` times, and after that not drawn before `minTokens`. At
 * `maxTokens` it is forced. All tokens before the end count, `wait` included; a `wait` that does not fit under the
 * cap is left out.
 *
 * @throws PosttrainError `BUDGET_FORCING` for options that cannot be met
 */
export function budgetForcing(options: BudgetForcingOptions): DecodeHook {
  assertKnownOptions('budgetForcing', options, [
    ...['endOfThinking', 'otherEnds', 'minTokens', 'maxTokens', 'wait', 'waits'],
  ]);
  const { endOfThinking, otherEnds = [], minTokens = 0, maxTokens = Number.POSITIVE_INFINITY, wait = [] } = options;
  const { waits = wait.length > 0 ? 1 : 0 } = options;
  const fail = (what: string) => {
    throw new PosttrainError('BUDGET_FORCING', `budgetForcing: ${what}`);
  };
  const [delimiter] = endOfThinking;
  if (delimiter === undefined) return fail('endOfThinking has no tokens');
  if (!(Number.isInteger(minTokens) && minTokens >= 0))
    fail(`minTokens must be 0 or more, not ${showValue(minTokens)}`);
  if (!(maxTokens >= minTokens))
    fail(`maxTokens must be at least minTokens (${minTokens}), not ${showValue(maxTokens)}`);
  if (!(Number.isInteger(waits) && waits >= 0)) fail(`waits must be 0 or more, not ${showValue(waits)}`);
  if (waits > 0 && wait.length === 0) fail(`waits is ${waits}, but wait has no tokens`);

  const ends = [delimiter, ...otherEnds];
  let thinking = true;
  let waitsLeft = waits;
  const canWait = (spent: number) => waitsLeft > 0 && spent + wait.length <= maxTokens;

  return {
    next({ generated }: DecodeState): DecodeStep | undefined {
      if (!thinking) return undefined;
      if (generated.length >= maxTokens) {
        thinking = false;
        return { force: endOfThinking };
      }
      return generated.length < minTokens && !canWait(generated.length) ? { forbid: ends } : undefined;
    },
    replace({ generated }: DecodeState, token: number): readonly number[] | undefined {
      if (!thinking || !ends.includes(token)) return undefined;
      if (canWait(generated.length)) {
        waitsLeft--;
        return wait;
      }
      thinking = false;
      return undefined;
    },
  };
}
