import { describe, expect, it } from 'vitest';
import { allOrAbort, createLimiter, linkedController, sleep, withDeadline } from '../src/concurrency/index.js';

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
