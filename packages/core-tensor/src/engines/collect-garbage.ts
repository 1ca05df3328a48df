import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Lets everything that waits for the event loop run once. */
export const nextTask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let collector: (() => void) | undefined;

/**
 * Collects garbage and lets finalizers run, which are tasks of their own. To the collector a tensor of an engine with
 * memory of its own is a few bytes, so by itself it comes long after that memory is full.
 */
export async function collectGarbage(): Promise<void> {
  if (!collector) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
  }
  // Until the present task of the event loop ends, it may hold what it has made.
  await nextTask();
  collector();
  await nextTask();
}
