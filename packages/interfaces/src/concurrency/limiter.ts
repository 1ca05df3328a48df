import { assertArgument } from '../options/option-error.js';

/** Runs a task as soon as it may. */
export type Limiter = <T>(task: () => Promise<T>) => Promise<T>;

/**
 * Semaphore: runs at most `concurrency` tasks at a time, in FIFO order, over all callers that share it.
 *
 * @throws OptionError unless `concurrency` is a whole number of at least 1
 */
export function createLimiter(concurrency: number, where = 'createLimiter'): Limiter {
  const isCount = Number.isSafeInteger(concurrency) && concurrency >= 1;
  assertArgument(where, 'concurrency', concurrency, isCount, 'a whole number of at least 1');
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (task) => {
    if (running >= concurrency) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}
