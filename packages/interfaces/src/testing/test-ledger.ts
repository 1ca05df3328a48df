import assert from 'node:assert/strict';
import type { Cost, LedgerLimits } from '../ledger/cost.js';
import { isLimit, type Ledger, type Reservation } from '../ledger/ledger.js';
import { createRandom } from '../random/index.js';
import type { TestFunction } from './kit.js';

/** What a run reserves, spends and settles with: `Ledger`, or what stands before one. */
export type AnyLedger = Pick<Ledger, 'limits' | 'spent' | 'held' | 'left' | 'reserve'>;

/** Options of `testLedger`. */
export interface TestLedgerOptions {
  /** Pieces of work that are begun and ended in a random order. Default 200. */
  readonly pieces?: number;
}

/**
 * Registers the checks that every ledger must pass, given what makes one of limits: spent + held ≤ limit at every moment, whatever is
 * reserved, settled, forfeited and tried again in whatever order; what is refused would not have fitted; a reservation ends once; kinds
 * without a limit are counted and not refused.
 */
export function testLedger(
  it: TestFunction,
  name: string,
  make: (limits: LedgerLimits) => AnyLedger,
  { pieces = 200 }: TestLedgerOptions = {},
): void {
  const limits = { completions: 20, completionTokens: 300 } as const;
  const kinds = ['completions', 'completionTokens'] as const;
  it(`the ledger ${name} never has more spent and held than its limits`, async () => {
    const [ledger, random] = [make(limits), createRandom(7)];
    const open: Reservation[] = [];
    let [refused, granted] = [0, 0];
    const used = (kind: (typeof kinds)[number]) => ledger.spent[kind] + (ledger.held[kind] ?? 0);
    for (let i = 0; i < pieces; i++) {
      const bound: Cost = {
        completions: random.integer(0, 2),
        completionTokens: random.integer(0, 30),
        promptTokens: i,
      };
      const fits = kinds.every((kind) => used(kind) + bound[kind]! <= limits[kind]);
      const reserved = ledger.reserve(bound);
      assert.equal(!isLimit(reserved), fits, `piece ${i}: whether there is room for ${JSON.stringify(bound)}`);
      if (isLimit(reserved)) refused++;
      else {
        granted++;
        open.push(reserved);
      }
      if (open.length > 0 && random.float() < 0.8) {
        const [one] = open.splice(random.integer(0, open.length - 1), 1) as [Reservation];
        const actual = { completionTokens: random.integer(0, Math.min(2, one.bound.completionTokens!)) };
        const before = ledger.spent.completionTokens;
        const end = random.integer(0, 9);
        if (end === 0) {
          const again = one.retry(actual);
          if (!isLimit(again)) open.push(again);
        } else if (end === 1) one.forfeit(actual);
        else one.settle(actual);
        assert.equal(ledger.spent.completionTokens, before + actual.completionTokens, `piece ${i}: what was settled`);
        assert.equal(one.isOpen, false, `piece ${i}: it has ended`);
        assert.throws(() => one.settle({}), `piece ${i}: it ends once`);
      }
      for (const kind of kinds) {
        assert.ok(used(kind) <= limits[kind], `piece ${i}: ${used(kind)} ${kind} are more than ${limits[kind]}`);
        assert.equal(ledger.left(kind), limits[kind] - used(kind), `piece ${i}: what is left of ${kind}`);
      }
    }
    assert.ok(refused > 0 && granted > 10, `${granted} pieces were begun, ${refused} refused`);
    assert.equal(ledger.left('promptTokens'), Number.POSITIVE_INFINITY, 'a kind without a limit');
  });

  it(`the ledger ${name} says who has spent more than was reserved`, async () => {
    const reserved = make(limits).reserve({ completionTokens: 3 });
    assert.ok(!isLimit(reserved), 'there is room');
    assert.throws(() => reserved.settle({ completionTokens: 4 }), 'more was spent than was reserved');
  });
}
