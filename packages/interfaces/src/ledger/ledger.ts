import { PosttrainError } from '../errors.js';
import {
  addCost,
  assertCost,
  COST_KINDS,
  type Cost,
  type CostKind,
  type LedgerLimit,
  type LedgerLimits,
} from './cost.js';

/**
 * Overspending: work took more than its upper bound (a generator more tokens than `maxTokens`), or settled twice. Codes
 * `LEDGER_OVERSPENT` and `LEDGER_SETTLED`.
 */
export class LedgerError extends PosttrainError {}

/** A reservation: the upper bound of work that may begin, held until it is settled. Close it once. */
export interface Reservation {
  readonly bound: Cost;
  /** Until it is settled, forfeited or tried again. */
  readonly isOpen: boolean;
  /**
   * Ends it: `actual` is spent, the rest of the bound is given back. What `actual` has no kind for was not spent.
   *
   * @param isShare `actual` is a share of what was counted for several reservations together, whose sum was within theirs: it
   *   may be more than this bound. Settle all of them in the same turn
   * @throws LedgerError when more of a limited kind was spent than was reserved (it counts all the same), or when it is closed
   */
  settle(actual: Cost, isShare?: boolean): void;
  /**
   * Forfeits it where the cost is unknown (the answer was lost): `known` is spent, the rest of the bound stays held for
   * ever, since it may have been spent too.
   */
  forfeit(known?: Cost): void;
  /**
   * The attempt failed and the work is to be tried again: the attempt is forfeited (all of its bound stays charged, but for
   * what `known` says), and the same bound is reserved anew. Gives the limit where there is no room for that.
   */
  retry(known?: Cost): Reservation | LedgerLimit;
}

/** What `reserveEach` has held. */
export interface ReservedNodes {
  /** What stood in the way of the rest; null when all fit. */
  readonly limit: LedgerLimit | null;
  /** For each part, one reservation for each of the first nodes. */
  readonly reservations: readonly (readonly Reservation[])[];
}

/** Options of `Ledger`. */
export interface LedgerOptions {
  /** Milliseconds of a monotonous clock. Default `performance.now`. */
  readonly now?: () => number;
}

/**
 * What a run may spend, and what it has: everybody reserves an upper bound before it spends and settles what it took
 * after. For every kind with a limit
 *
 *   spent + held ≤ limit
 *
 * at every moment and at any concurrency, because a bound is held in the same turn of the event loop in which it is found to
 * fit. Wall time is no amount: when it is over nothing is begun any more. Costs are kept per node, too: a name that the
 * caller gives to a piece of the work.
 *
 * @throws OptionError for limits that are no whole numbers
 */
export class Ledger {
  readonly limits: LedgerLimits;
  readonly #now: () => number;
  readonly #started: number;
  readonly #spent: Record<CostKind, number> = {
    completions: 0,
    generatorCalls: 0,
    promptTokens: 0,
    completionTokens: 0,
    verifierCalls: 0,
    verifierTokens: 0,
  };
  readonly #held: Partial<Record<CostKind, number>> = {};
  readonly #costs = new Map<string, Partial<Record<CostKind, number>>>();
  #met: LedgerLimit | null = null;

  constructor(limits: LedgerLimits = {}, { now = () => performance.now() }: LedgerOptions = {}) {
    assertCost('Ledger', limits, [...COST_KINDS, 'wallTimeMs']);
    this.limits = limits;
    this.#now = now;
    this.#started = now();
  }

  /** What was settled. */
  get spent(): Readonly<Record<CostKind, number>> {
    return { ...this.#spent };
  }

  /** Held: bounds of open reservations, and of forfeited ones of unknown cost. */
  get held(): Cost {
    return { ...this.#held };
  }

  /** Milliseconds since the beginning. */
  get elapsedMs(): number {
    return this.#now() - this.#started;
  }

  /** The limit that refused work last; null while none has. */
  get met(): LedgerLimit | null {
    return this.#met;
  }

  /** How much may still be reserved of a kind, or milliseconds that are left; `Infinity` where there is no limit. */
  left(kind: LedgerLimit): number {
    const limit = this.limits[kind];
    if (limit === undefined) return Number.POSITIVE_INFINITY;
    const used = kind === 'wallTimeMs' ? this.elapsedMs : this.#spent[kind] + (this.#held[kind] ?? 0);
    return Math.max(0, limit - used);
  }

  /** What was spent under a node's name. */
  costOf(node: string): Cost {
    return { ...this.#costs.get(node) };
  }

  /** Dry run: the limit that `bound` exceeds; null when it fits. Reserves nothing. */
  refusal(bound: Cost): LedgerLimit | null {
    if (this.left('wallTimeMs') <= 0) return 'wallTimeMs';
    return COST_KINDS.find((kind) => (bound[kind] ?? 0) > this.left(kind)) ?? null;
  }

  /**
   * Reserves the upper bound of a piece of work, under the name of `node`, or says which limit does not allow it. A limited
   * kind that `bound` leaves out is a promise that nothing of it is spent.
   *
   * @throws OptionError for an amount that is no whole number
   */
  reserve(bound: Cost, node?: string): Reservation | LedgerLimit {
    assertCost('Ledger.reserve', bound);
    const limit = this.refusal(bound);
    if (limit === null) return this.#hold(bound, node);
    this.#met = limit;
    return limit;
  }

  /**
   * The same for as many nodes as there is room for, the first of them first, at one reading of the clock. Each gets a
   * reservation for every one of `parts` (what it takes to write it, and to judge it), or none.
   *
   * @throws OptionError for an amount that is no whole number
   */
  reserveEach(nodes: readonly string[], ...parts: readonly Cost[]): ReservedNodes {
    const unit: Partial<Record<CostKind, number>> = {};
    for (const part of parts) {
      assertCost('Ledger.reserveEach', part);
      addCost(unit, part);
    }
    let granted = nodes.length;
    let limit: LedgerLimit | null = null;
    for (const kind of COST_KINDS) {
      const each = unit[kind] ?? 0;
      const room = each === 0 ? granted : Math.floor(this.left(kind) / each);
      if (room < granted) [granted, limit] = [room, kind];
    }
    if (this.left('wallTimeMs') <= 0) [granted, limit] = [0, 'wallTimeMs'];
    if (limit !== null) this.#met = limit;
    const reserved = nodes.slice(0, granted);
    return { limit, reservations: parts.map((part) => reserved.map((node) => this.#hold(part, node))) };
  }

  /** Counts what has been paid without a reservation. @throws LedgerError where a limit has no room: reserve before spending */
  charge(cost: Cost, node?: string): void {
    assertCost('Ledger.charge', cost);
    const over = COST_KINDS.find((kind) => (cost[kind] ?? 0) > this.left(kind));
    if (over !== undefined) {
      throw new LedgerError('LEDGER_OVERSPENT', `Ledger: ${over} has no room for a charge; reserve before spending.`);
    }
    this.#charge(cost, node);
  }

  #hold(bound: Cost, node: string | undefined): Reservation {
    addCost(this.#held, bound);
    let isOpen = true;
    const close = (actual: Cost, given: Cost, isShare = false): void => {
      if (!isOpen) throw new LedgerError('LEDGER_SETTLED', 'Ledger: a reservation is settled once; reserve again.');
      assertCost('Ledger.settle', actual);
      isOpen = false;
      addCost(this.#held, given, -1);
      this.#charge(actual, node);
      const over = COST_KINDS.find(
        (kind) => this.limits[kind] !== undefined && (actual[kind] ?? 0) > (bound[kind] ?? 0),
      );
      if (over === undefined || isShare) return;
      throw new LedgerError(
        'LEDGER_OVERSPENT',
        `Ledger: ${actual[over]} ${over} were spent where at most ${bound[over] ?? 0} were reserved; whoever spends must ` +
          'keep to the bound that it gave.',
      );
    };
    // What is known is spent and no longer held; the rest of the bound stays held for good.
    const forfeit = (known: Cost = {}) =>
      close(known, Object.fromEntries(COST_KINDS.map((kind) => [kind, Math.min(known[kind] ?? 0, bound[kind] ?? 0)])));
    return {
      bound,
      get isOpen() {
        return isOpen;
      },
      settle: (actual, isShare) => close(actual, bound, isShare),
      forfeit,
      retry: (known) => {
        forfeit(known);
        return this.reserve(bound, node);
      },
    };
  }

  #charge(cost: Cost, node: string | undefined): void {
    addCost(this.#spent, cost);
    if (node === undefined) return;
    const own = this.#costs.get(node) ?? {};
    addCost(own, cost);
    this.#costs.set(node, own);
  }
}

/** Whether `reserve` refused. */
export const isLimit = (reserved: Reservation | LedgerLimit): reserved is LedgerLimit => typeof reserved === 'string';
