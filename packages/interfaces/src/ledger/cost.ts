import { assertArgument } from '../options/option-error.js';

/** What can be paid for. All but generator calls belong to one piece of work; a generator call may serve many. */
export const COST_KINDS = [
  'completions',
  'generatorCalls',
  'promptTokens',
  'completionTokens',
  'verifierCalls',
  'verifierTokens',
] as const;

/** A kind of cost: a count of completions, calls or tokens. */
export type CostKind = (typeof COST_KINDS)[number];

/** Amounts by kind; whole numbers, what is absent is 0. */
export type Cost = Readonly<Partial<Record<CostKind, number>>>;

/** The most that may be spent of each kind, and milliseconds from the ledger's beginning. What is absent has no limit. */
export interface LedgerLimits extends Cost {
  readonly wallTimeMs?: number;
}

/** What can end a run. */
export type LedgerLimit = CostKind | 'wallTimeMs';

/** @throws OptionError for an unknown kind, and an amount that is no whole number of at least 0 */
export function assertCost(where: string, cost: Cost, kinds: readonly string[] = COST_KINDS): void {
  for (const [kind, amount] of Object.entries(cost)) {
    assertArgument(where, 'kind', kind, kinds.includes(kind), `one of ${kinds.join(', ')}`);
    const isAmount = amount === undefined || (Number.isSafeInteger(amount) && amount >= 0);
    assertArgument(where, kind, amount, isAmount, 'a whole number of at least 0');
  }
}

/** a + sign·b, kind by kind, into `a`. */
export function addCost(a: Partial<Record<CostKind, number>>, b: Cost, sign: 1 | -1 = 1): void {
  for (const kind of COST_KINDS) {
    const amount = b[kind];
    if (amount !== undefined) a[kind] = (a[kind] ?? 0) + sign * amount;
  }
}
