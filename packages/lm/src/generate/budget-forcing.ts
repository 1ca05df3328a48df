import { custom, type Given, integer, listOf, options, PosttrainError, showValue } from '@posttrain/interfaces';
import type { DecodeHook, DecodeState, DecodeStep } from '../sampling/decode-hook.js';

const tokens = listOf(integer({ min: 0 }), { default: [] });
const budgetForcingOptions = options('budgetForcing', {
  /**
   * The tokens that end thinking. The model ends it by drawing the first of them; at the cap all are put in, so that
   * more than the delimiter can be given (s1: the start of the answer's message).
   */
  endOfThinking: listOf(integer({ min: 0 }), {}),
  /** Further tokens that end thinking when drawn, such as the end of the text. Default: none. */
  otherEnds: tokens,
  /** Thinking has at least this many tokens. Default 0. */
  minTokens: integer({ default: 0, min: 0 }),
  /** Thinking has at most this many tokens. Default: no cap. */
  maxTokens: custom<number>()('a number of at least minTokens', (value) => typeof value === 'number', {
    default: Number.POSITIVE_INFINITY,
  }),
  /** Put in instead of an end of thinking (s1: the tokens of "Wait"). Default: none. */
  wait: tokens,
  /** How many ends of thinking `wait` takes the place of. Default: 1 when there is `wait`, else 0. */
  waits: integer({ optional: true, min: 0 }),
});
/** Options of budget forcing (s1, arXiv 2501.19393): how long a model thinks at least and at most. */
export type BudgetForcingOptions = Given<typeof budgetForcingOptions>;

/**
 * Budget forcing (s1, arXiv 2501.19393 §3.1) for one completion, whose thinking begins with its first token. The end of
 * thinking is suppressed: replaced by `wait` for the first `waits` times, and after that not drawn before `minTokens`. At
 * `maxTokens` it is forced. All tokens before the end count, `wait` included; a `wait` that does not fit under the
 * cap is left out.
 *
 * @throws PosttrainError `BUDGET_FORCING` for options that cannot be met
 */
export function budgetForcing(given: BudgetForcingOptions): DecodeHook {
  const { endOfThinking, otherEnds, minTokens, maxTokens, wait, ...rest } = budgetForcingOptions.read(given);
  const { waits = wait.length > 0 ? 1 : 0 } = rest;
  const fail = (what: string) => {
    throw new PosttrainError('BUDGET_FORCING', `budgetForcing: ${what}`);
  };
  const [delimiter] = endOfThinking;
  if (delimiter === undefined) return fail('endOfThinking has no tokens');
  if (!(maxTokens >= minTokens))
    fail(`maxTokens must be at least minTokens (${minTokens}), not ${showValue(maxTokens)}`);
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
