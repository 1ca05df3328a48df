import { assertKnownOptions, type OptionHints } from '@posttrain/interfaces';
import { assertInteger, assertMilliseconds, InvalidArgumentError } from './errors.js';

/**
 * What one search may spend. Every limit is optional. Completions, completion tokens and verifier calls are never
 * exceeded: work that could go over is not begun. A search that meets a limit stops, returns the best it has and
 * names the limit in `exhausted`; with nothing to return it throws `NoCandidateError`.
 */
export interface Budget {
  /** Completions asked of the generator. */
  readonly maxCompletions?: number;
  /**
   * Generated tokens. Needs `sampling.maxTokens`: a completion is begun only when that many tokens are left, and what
   * it did not use is given back.
   */
  readonly maxCompletionTokens?: number;
  /** Completions given to the verifier. */
  readonly maxVerifierCalls?: number;
  /**
   * Milliseconds from the start. When they are over, calls in flight are aborted and get one more second to hand back
   * what they have; what does not come back by then is counted as asked for, its tokens unknown.
   */
  readonly maxWallTimeMs?: number;
}

/** The name of a limit of a budget. */
export type BudgetLimit = keyof Budget;

const LIMITS: readonly BudgetLimit[] = ['maxCompletions', 'maxCompletionTokens', 'maxVerifierCalls', 'maxWallTimeMs'];

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

export function emptySpending(): Spending {
  return {
    completions: 0,
    promptTokens: 0,
    completionTokens: 0,
    generatorCalls: 0,
    verifierCalls: 0,
    lostCompletions: 0,
    wallTimeMs: 0,
  };
}

/** Throws unless the budget makes sense together with `maxTokens`, the most tokens one completion may have. */
export function assertBudget(where: string, budget: Budget, maxTokens: number | undefined): void {
  assertKnownOptions(`${where}: budget`, budget, LIMITS, BUDGET_HINTS);
  for (const limit of LIMITS) {
    const value = budget[limit];
    if (value === undefined) continue;
    const assert = limit === 'maxWallTimeMs' ? assertMilliseconds : assertInteger;
    assert(`${where}: budget.${limit}`, value, 0);
  }
  if (maxTokens !== undefined) assertInteger(`${where}: sampling.maxTokens`, maxTokens, 1);
  if (budget.maxCompletionTokens !== undefined && maxTokens === undefined) {
    throw new InvalidArgumentError(
      `${where}: budget.maxCompletionTokens can only be kept when sampling.maxTokens is set; set it to the longest ` +
        'completion you allow.',
    );
  }
}

/**
 * How many of `wanted` completions may be begun now without any limit being exceeded, and the limit that stands in
 * the way when it is none. Completions that could not be `verified` are not begun either.
 */
export function grantCompletions(
  budget: Budget,
  spent: Readonly<Spending>,
  wanted: number,
  { maxTokens, verified }: { maxTokens: number | undefined; verified: boolean },
): { granted: number; limit: BudgetLimit | null } {
  const room: [BudgetLimit, number][] = [];
  if (budget.maxCompletions !== undefined) room.push(['maxCompletions', budget.maxCompletions - spent.completions]);
  if (budget.maxCompletionTokens !== undefined && maxTokens !== undefined) {
    const left = budget.maxCompletionTokens - spent.completionTokens;
    room.push(['maxCompletionTokens', Math.floor(left / maxTokens)]);
  }
  if (budget.maxVerifierCalls !== undefined && verified) {
    room.push(['maxVerifierCalls', budget.maxVerifierCalls - spent.verifierCalls]);
  }
  let granted = wanted;
  let limit: BudgetLimit | null = null;
  for (const [name, completions] of room) {
    if (completions < granted) {
      granted = Math.max(0, completions);
      limit = name;
    }
  }
  return { granted, limit: granted === 0 ? limit : null };
}
