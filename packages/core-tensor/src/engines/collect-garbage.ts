import { isNode, nodeModule } from './node-module.js';

/** Lets everything that waits for the event loop run once. */
export const nextTask = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve);
  });

let collector: (() => void) | undefined;

/**
 * Collects garbage (in Node; a page has no say in it) and lets finalizers run, which are tasks of their own. To the collector
 * a tensor of an engine with memory of its own is a few bytes, so by itself it comes long after that memory is full.
 */
export async function collectGarbage(): Promise<void> {
  if (isNode) collector ??= await findCollector();
  // Until the present task of the event loop ends, it may hold what it has made.
  await nextTask();
  collector?.();
  await nextTask();
}

async function findCollector(): Promise<() => void> {
  const { setFlagsFromString } = await nodeModule<typeof import('node:v8')>('node:v8');
  const { runInNewContext } = await nodeModule<typeof import('node:vm')>('node:vm');
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
