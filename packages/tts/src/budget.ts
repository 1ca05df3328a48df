import { type Given, integer, type OptionHints, type Options, options } from '@posttrain/interfaces';
import { LONGEST_TIMER_MS } from '@posttrain/interfaces/concurrency';
import type { LedgerLimit, LedgerLimits } from '@posttrain/interfaces/ledger';
import { assertInteger, InvalidArgumentError } from './errors.js';

const budgetShape = {
  /** Completions asked of the generator. */
  maxCompletions: integer({ optional: true, min: 0 }),
  /**
   * Generated tokens. Needs `sampling.maxTokens`: a completion is begun only when that many tokens are left, and what
   * it did not use is given back.
   */
  maxCompletionTokens: integer({ optional: true, min: 0 }),
  /** Completions given to the verifier. */
  maxVerifierCalls: integer({ optional: true, min: 0 }),
  /** Tokens that the verifier takes, prompts and judgements together. Needs `tokensPerVerifierCall`. */
  maxVerifierTokens: integer({ optional: true, min: 0 }),
  /** The most tokens that the verifier takes to judge one completion: its upper bound, which the ledger reserves. */
  tokensPerVerifierCall: integer({ optional: true, min: 1 }),
  /**
   * Milliseconds from the start. When they are over, calls in flight are aborted and get one more second to hand back
   * what they have; what does not come back by then is counted as asked for, its tokens unknown. A timer waits 24 days at
   * most.
   */
  maxWallTimeMs: integer({ optional: true, min: 0, max: LONGEST_TIMER_MS }),
};

/**
 * What one search may spend. Every limit is optional. Completions, completion tokens, verifier calls and verifier tokens are
 * never exceeded: work that could go over is not begun. A search that meets a limit stops, returns the best it has and
 * names the limit in `exhausted`; with nothing to return it throws `NoCandidateError`.
 */
export type Budget = Given<Options<typeof budgetShape>>;

/** The name of a limit of a budget. */
export type BudgetLimit = Exclude<keyof Budget, 'tokensPerVerifierCall'>;

const LIMITS = [
  ['maxCompletions', 'completions'],
  ['maxCompletionTokens', 'completionTokens'],
  ['maxVerifierCalls', 'verifierCalls'],
  ['maxVerifierTokens', 'verifierTokens'],
  ['maxWallTimeMs', 'wallTimeMs'],
] as const satisfies readonly (readonly [keyof Budget, LedgerLimit])[];

const BUDGET_HINTS: OptionHints = {
  aliases: { maxTokens: 'maxCompletionTokens', maxTimeMs: 'maxWallTimeMs', timeoutMs: 'maxWallTimeMs' },
};

/** What a search has spent so far. */
export interface Spending {
  /** Completions asked for, including those that were aborted. */
  completions: number;
  /** As the generator counts them: a prompt read once for several completions may be counted once. */
  promptTokens: number;
  completionTokens: number;
  /** Calls of `generator.generate`. */
  generatorCalls: number;
  /** Completions given to the verifier. */
  verifierCalls: number;
  /** Tokens that the verifier says it took, prompts and judgements together; absent when it says nothing. */
  verifierTokens?: number;
  /** Completions that were asked for and never came back (wall time over): their tokens are in no count. */
  lostCompletions: number;
  wallTimeMs: number;
}

/** The limits as the ledger has them. */
export function ledgerLimits(budget: Budget): LedgerLimits {
  return Object.fromEntries(
    LIMITS.map(([name, kind]) => [kind, budget[name]]).filter(([, limit]) => limit !== undefined),
  );
}

/** A ledger's limit by the name that it has in a budget. */
export function budgetLimit(limit: LedgerLimit): BudgetLimit {
  const found = LIMITS.find(([, kind]) => kind === limit);
  if (!found) throw new InvalidArgumentError(`a budget has no limit of ${limit}.`);
  return found[0];
}

/** Throws unless the budget makes sense together with `maxTokens`, the most tokens one completion may have. */
export function assertBudget(where: string, budget: Budget, maxTokens: number | undefined): void {
  const { tokensPerVerifierCall } = options(`${where}: budget`, budgetShape, BUDGET_HINTS).read(budget);
  if (maxTokens !== undefined) assertInteger(`${where}: sampling.maxTokens`, maxTokens, 1);
  if (budget.maxVerifierTokens !== undefined && tokensPerVerifierCall === undefined) {
    throw new InvalidArgumentError(
      `${where}: budget.maxVerifierTokens can only be kept when budget.tokensPerVerifierCall says how many tokens one ` +
        'judgement takes at most.',
    );
  }
  if (budget.maxCompletionTokens !== undefined && maxTokens === undefined) {
    throw new InvalidArgumentError(
      `${where}: budget.maxCompletionTokens can only be kept when sampling.maxTokens is set; set it to the longest ` +
        'completion you allow.',
    );
  }
}
