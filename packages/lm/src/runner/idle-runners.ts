import type { Adapter } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { ModelRunner } from './model-runner.js';
import { cacheCapacity, type ModelRunnerOptions } from './runner-options.js';

/** Pool of runners that are not in use, by network, most recently used last. */
const idle = new WeakMap<Network, ModelRunner[]>();

/**
 * A runner with the weights, and what it still has in its cache; one that was used with other weights begins anew in the
 * memory it has. Give it back with `returnRunner`. The options are those of `ModelRunner`.
 */
export function takeRunner(
  network: Network,
  weights: Weights,
  options: Pick<ModelRunnerOptions, 'cacheTokens' | 'packWeights' | 'kvCacheDtype'> = {},
): ModelRunner {
  const runners = idle.get(network) ?? [];
  const { cacheTokens, packWeights = 'auto', kvCacheDtype = 'float32' } = options;
  const capacity = cacheTokens === undefined ? undefined : cacheCapacity(network, cacheTokens, kvCacheDtype);
  const fits = (runner: ModelRunner) =>
    runner.packWeights === packWeights &&
    runner.kvCacheDtype === kvCacheDtype &&
    (capacity === undefined || runner.capacity === capacity);
  const found =
    runners.findLast((runner) => fits(runner) && runner.weights === weights) ??
    runners.findLast((runner) => fits(runner));
  if (!found)
    return new ModelRunner(
      { network, weights },
      { packWeights, kvCacheDtype, ...(cacheTokens !== undefined && { cacheTokens }) },
    );
  runners.splice(runners.indexOf(found), 1);
  if (found.weights !== weights) found.reset(weights);
  return found;
}

/** All its sequences must have been released. One whose pass has failed is not used again. */
export function returnRunner(runner: ModelRunner): void {
  if (runner.failure) return;
  runner.computesApart = false;
  const runners = idle.get(runner.network) ?? [];
  idle.set(runner.network, runners);
  runners.push(runner);
}

/** `ModelRunner.forget` of the runners that are not in use. */
export async function forgetAdapter(network: Network, adapter: Adapter): Promise<void> {
  await Promise.all((idle.get(network) ?? []).map((runner) => runner.forget(adapter)));
}
