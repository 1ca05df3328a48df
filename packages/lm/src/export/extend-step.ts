import type { Tensor } from '@posttrain/core-tensor';
import type { Adapter } from '../model/adapter.js';
import type { KvCache } from '../model/kv-cache.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';

export interface StepOutput {
  readonly cache: KvCache;
  /** [b, vocabulary]. */
  readonly logits: Tensor;
}

type StepInput = [
  weights: Weights,
  parameters: unknown,
  cache: KvCache,
  tokens: Tensor,
  lengths: Tensor,
  counts: Tensor,
];

/**
 * Appends tokens int32 [b, s] to the rows of the cache (which already hold `lengths` int32 [b]) and gives the logits
 * after the last of each row's `counts` int32 [b] real tokens; the rest of a row is padding.
 */
export const extendStep =
  (network: Network, adapter: Adapter) =>
  (...[weights, parameters, cache, tokens, lengths, counts]: StepInput): StepOutput => {
    const hooks = adapter.hooks(parameters);
    const { hidden, cache: next } = network.extend(weights, { tokens, lengths, cache }, hooks);
    const [b, s, width] = hidden.shape as [number, number, number];
    const at = counts.sub(1).reshape([b, 1, 1]).broadcastTo([b, 1, width]);
    const last = (s === 1 ? hidden : hidden.takeAlongAxis(at, 1)).reshape([b, width]);
    return { cache: next, logits: network.logits(weights, last, hooks) };
  };
