import { setMaxListeners } from 'node:events';
import { assertInteger } from './errors.js';

export type Limiter = <T>(task: () => Promise<T>) => Promise<T>;

/** Runs at most `concurrency` tasks at a time, in the order they were given. */
export function createLimiter(where: string, concurrency: number): Limiter {
  assertInteger(where, concurrency, 1);
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

/**
 * A controller that also aborts when any of `signals` does. `dispose` takes its listeners off again.
 * `AbortSignal.any` is not used: Node 20 can collect it, with its timer, before it fires (nodejs/node#57736).
 */
export function linkedController(signals: readonly (AbortSignal | undefined)[]): {
  controller: AbortController;
  dispose: () => void;
} {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const listeners = signals.flatMap((signal) => {
    if (!signal) return [];
    const listener = () => controller.abort(signal.reason);
    if (signal.aborted) listener();
    else signal.addEventListener('abort', listener, { once: true });
    return [{ signal, listener }];
  });
  const dispose = () => {
    for (const { signal, listener } of listeners) signal.removeEventListener('abort', listener);
  };
  return { controller, dispose };
}

/** Waits; rejects with the signal's reason as soon as it fires. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, milliseconds);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Runs `work` with a signal that fires when `signal` does or after `timeoutMs`, and settles at that moment even if
 * `work` does not heed it. On time-out it rejects with `timeoutError()`.
 */
export async function withDeadline<T>(
  work: (signal: AbortSignal) => Promise<T>,
  options: { signal?: AbortSignal | undefined; timeoutMs: number | undefined; timeoutError: () => Error },
): Promise<T> {
  const { controller, dispose } = linkedController([options.signal]);
  controller.signal.throwIfAborted();
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => controller.abort(options.timeoutError()), options.timeoutMs);
  try {
    return await new Promise<T>((resolve, reject) => {
      controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
      work(controller.signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    dispose();
  }
}

/**
 * Runs `tasks` at once, or as `limit` lets them, with one signal that fires when any of `signals` does or a task fails;
 * the first failure is what is thrown. Tasks still waiting for `limit` are begun with a signal that has fired.
 */
export async function allOrAbort<T>(
  signals: readonly (AbortSignal | undefined)[],
  tasks: readonly ((signal: AbortSignal) => Promise<T>)[],
  limit: Limiter = (task) => task(),
): Promise<T[]> {
  const { controller, dispose } = linkedController([...new Set(signals)]);
  const attempt = async (task: (signal: AbortSignal) => Promise<T>) => {
    try {
      return await task(controller.signal);
    } catch (error) {
      controller.abort(error);
      throw error;
    }
  };
  try {
    return await Promise.all(tasks.map((task) => limit(() => attempt(task))));
  } finally {
    dispose();
  }
}
