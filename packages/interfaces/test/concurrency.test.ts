import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allOrAbort, createLimiter, linkedController, sleep, withDeadline } from '../src/concurrency/index.js';
import { COST_KINDS, type Cost, isLimit, Ledger, LedgerError, type Reservation } from '../src/ledger/index.js';

const tick = () => new Promise((resolve) => setTimeout(resolve, 1));
const never = () => new Promise<never>(() => {});

describe('createLimiter', () => {
  it('lets so many run at a time, in the order they came, and goes on after one that failed', async () => {
    const limit = createLimiter(2);
    const begun: number[] = [];
    let running = 0;
    let most = 0;
    const results = await Promise.allSettled(
      Array.from({ length: 7 }, (_, i) =>
        limit(async () => {
          begun.push(i);
          most = Math.max(most, ++running);
          await tick();
          running--;
          if (i % 3 === 0) throw new Error(String(i));
          return i;
        }),
      ),
    );
    expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(most).toBe(2);
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual([false, true, true, false, true, true, false]);
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d at a time', (concurrency) => {
    expect(() => createLimiter(concurrency)).toThrow(/concurrency is .*; it must be a whole number of at least 1/);
  });
});

describe('withDeadline', () => {
  const timeoutError = () => new Error('too late');

  it('settles at the deadline or the signal, whatever the work does, and tells it', async () => {
    let told: AbortSignal | undefined;
    const stuck = (signal: AbortSignal) => {
      told = signal;
      return never();
    };
    await expect(withDeadline(stuck, { timeoutMs: 5, timeoutError })).rejects.toThrow('too late');
    expect(told!.aborted).toBe(true);
    const { controller } = linkedController([]);
    const running = withDeadline(stuck, { signal: controller.signal, timeoutMs: undefined, timeoutError });
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    await expect(
      withDeadline(stuck, { signal: controller.signal, timeoutMs: undefined, timeoutError }),
    ).rejects.toThrow('enough');
  });

  it('gives what the work gives, in time', async () => {
    expect(await withDeadline(async () => 7, { timeoutMs: 1000, timeoutError })).toBe(7);
  });
});

describe('sleep', () => {
  it('ends with the signal', async () => {
    const controller = new AbortController();
    const asleep = sleep(100_000, controller.signal);
    controller.abort(new Error('up'));
    await expect(asleep).rejects.toThrow('up');
    await expect(sleep(1, controller.signal)).rejects.toThrow('up');
  });
});

describe('allOrAbort', () => {
  it('throws the first failure, and tells the others: those that run, and those that wait', async () => {
    const seen: boolean[] = [];
    const tasks = [
      async (signal: AbortSignal) => {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        seen.push(signal.aborted);
      },
      async () => {
        await tick();
        throw new Error('first');
      },
      async (signal: AbortSignal) => void seen.push(signal.aborted),
    ];
    await expect(allOrAbort([], tasks, createLimiter(2))).rejects.toThrow('first');
    await tick();
    expect(seen).toEqual([true, true]);
  });

  it('hears any of the signals, and many tasks that listen are no leak', async () => {
    const warnings: string[] = [];
    const onWarning = ({ name }: Error) => warnings.push(name);
    process.on('warning', onWarning);
    const [one, two] = [new AbortController(), new AbortController()];
    const tasks = Array.from({ length: 50 }, () => (signal: AbortSignal) => sleep(100_000, signal));
    const running = allOrAbort([one.signal, two.signal, two.signal, undefined], tasks);
    two.abort(new Error('stop'));
    await expect(running).rejects.toThrow('stop');
    await tick();
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });
});

const reserved = (ledger: Ledger, bound: Cost, node?: string): Reservation => {
  const it = ledger.reserve(bound, node);
  if (isLimit(it)) throw new Error(`refused by ${it}`);
  return it;
};

describe('Ledger', () => {
  it('holds a bound until it is settled, and gives back what was not used', () => {
    const ledger = new Ledger({ completionTokens: 10, completions: 5 });
    const first = reserved(ledger, { completions: 1, completionTokens: 6 });
    expect(ledger.left('completionTokens')).toBe(4);
    expect(ledger.reserve({ completions: 1, completionTokens: 5 })).toBe('completionTokens');
    expect(ledger.met).toBe('completionTokens');
    first.settle({ completions: 1, completionTokens: 2 });
    expect([ledger.left('completionTokens'), ledger.left('completions'), ledger.left('verifierCalls')]).toEqual([
      8,
      4,
      Number.POSITIVE_INFINITY,
    ]);
    reserved(ledger, { completionTokens: 8 });
    expect(ledger.refusal({ completionTokens: 1 })).toBe('completionTokens');
  });

  it('charges a retry: the failed attempt keeps its bound, for nobody knows what it took', () => {
    const ledger = new Ledger({ completionTokens: 10 });
    const again = reserved(ledger, { completionTokens: 4 }, 'a').retry();
    expect(isLimit(again)).toBe(false);
    expect(ledger.left('completionTokens')).toBe(2);
    expect((again as Reservation).retry({ completionTokens: 1 })).toBe('completionTokens');
    expect(ledger.spent.completionTokens).toBe(1);
    expect(ledger.held.completionTokens).toBe(7);
    expect(ledger.costOf('a')).toEqual({ completionTokens: 1 });
  });

  it('begins nothing when the wall time is over', () => {
    let now = 5;
    const ledger = new Ledger({ wallTimeMs: 10 }, { now: () => now });
    now = 14;
    expect(ledger.left('wallTimeMs')).toBe(1);
    reserved(ledger, { completions: 1 });
    now = 15;
    expect(ledger.reserve({})).toBe('wallTimeMs');
  });

  it('tells who spends more than it had said, and counts it all the same', () => {
    const ledger = new Ledger({ completionTokens: 10 });
    const it = reserved(ledger, { completionTokens: 2 });
    expect(() => it.settle({ completionTokens: 3 })).toThrow(
      /3 completionTokens were spent where at most 2 were reserved/,
    );
    expect(ledger.left('completionTokens')).toBe(7);
    expect(() => it.settle({})).toThrow(LedgerError);
    expect(() => ledger.charge({ completionTokens: 8 })).toThrow(/no room for a charge/);
    expect(() => new Ledger({ tokens: 3 } as never)).toThrow(/kind is "tokens"; it must be one of completions/);
    expect(() => ledger.reserve({ completionTokens: 0.5 })).toThrow(/a whole number of at least 0/);
  });

  it('is never exceeded, whatever runs together, fails, is lost or tried again, and its nodes add up to what was spent', async () => {
    const amounts = fc.record(Object.fromEntries(COST_KINDS.map((kind) => [kind, fc.nat(6)])), { requiredKeys: [] });
    const limits = fc.record(Object.fromEntries(COST_KINDS.map((kind) => [kind, fc.nat(30)])), { requiredKeys: [] });
    const job = fc.record({
      bound: amounts,
      used: fc.double({ min: 0, max: 1, noNaN: true }),
      wait: fc.nat(3),
      retries: fc.nat(2),
      end: fc.constantFrom('settle' as const, 'forfeit' as const),
      node: fc.constantFrom('a', 'b', 'c'),
    });
    await fc.assert(
      fc.asyncProperty(limits, fc.array(job, { maxLength: 30 }), async (limit, jobs) => {
        const ledger = new Ledger(limit);
        const check = () => {
          for (const kind of COST_KINDS) {
            const used = ledger.spent[kind] + (ledger.held[kind] ?? 0);
            expect(used).toBeLessThanOrEqual(limit[kind] ?? Number.POSITIVE_INFINITY);
            expect(ledger.held[kind] ?? 0).toBeGreaterThanOrEqual(0);
          }
        };
        const truth: Partial<Record<string, number>> = {};
        const spend = ({ bound, used }: (typeof jobs)[number]): Cost => {
          const actual = Object.entries(bound).map(([kind, most]) => [kind, Math.floor(used * most!)] as const);
          for (const [kind, amount] of actual) truth[kind] = (truth[kind] ?? 0) + amount;
          return Object.fromEntries(actual);
        };
        await Promise.all(
          jobs.map(async (it) => {
            for (let i = 0; i < it.wait; i++) await Promise.resolve();
            let open = ledger.reserve(it.bound, it.node);
            check();
            for (let attempt = 0; attempt < it.retries && !isLimit(open); attempt++) {
              await Promise.resolve();
              open = open.retry();
              check();
            }
            if (isLimit(open)) return;
            await Promise.resolve();
            open[it.end](spend(it));
            check();
          }),
        );
        for (const kind of COST_KINDS) {
          expect(ledger.spent[kind]).toBe(truth[kind] ?? 0);
          expect(['a', 'b', 'c'].reduce((sum, node) => sum + (ledger.costOf(node)[kind] ?? 0), 0)).toBe(
            ledger.spent[kind],
          );
        }
      }),
    );
  });
});
