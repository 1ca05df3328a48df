import type { Limiter } from './limiter.js';

/**
 * A controller that also aborts when any of `signals` does. `dispose` takes its listeners off again.
 * `AbortSignal.any` is not used: Node 20 can collect it, with its timer, before it fires (nodejs/node#57736).
 */
export function linkedController(signals: readonly (AbortSignal | undefined)[]): {
  controller: AbortController;
  dispose: () => void;
} {
  const controller = new AbortController();
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
 * Deadline: runs `work` with a signal that fires when `signal` does or after `timeoutMs`, and settles at that moment even
 * if `work` does not heed it. On time-out it rejects with `timeoutError()`. Nothing can interrupt a synchronous `work`.
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
 * Runs `tasks` at once, or as `limit` lets them. Each gets a signal that fires when any of `signals` does or another task
 * fails; the first failure is what is thrown. Tasks still waiting for `limit` are begun with a signal that has fired.
 */
export async function allOrAbort<T>(
  signals: readonly (AbortSignal | undefined)[],
  tasks: readonly ((signal: AbortSignal) => Promise<T>)[],
  limit: Limiter = (task) => task(),
): Promise<T[]> {
  const { controller: all, dispose } = linkedController([...new Set(signals)]);
  // A signal for each task: on a shared one, Node warns of a leak when many listen.
  const running = new Set<AbortController>();
  all.signal.addEventListener('abort', () => {
    for (const controller of running) controller.abort(all.signal.reason);
  });
  const attempt = async (task: (signal: AbortSignal) => Promise<T>) => {
    const own = new AbortController();
    running.add(own);
    if (all.signal.aborted) own.abort(all.signal.reason);
    try {
      return await task(own.signal);
    } catch (error) {
      all.abort(error);
      throw error;
    } finally {
      running.delete(own);
    }
  };
  try {
    return await Promise.all(tasks.map((task) => limit(() => attempt(task))));
  } finally {
    dispose();
  }
}
