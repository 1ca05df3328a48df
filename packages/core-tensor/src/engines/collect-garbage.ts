import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

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
  collector();
  await new Promise((resolve) => setImmediate(resolve));
}
