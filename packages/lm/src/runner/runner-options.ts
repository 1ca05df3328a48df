import { boolean, custom, type Given, integer, options } from '@posttrain/interfaces';
import type { Network } from '../model/network.js';
import { BLOCK_SIZE } from './paged-steps.js';

/** See `ModelRunnerOptions`. */
export type PackWeights = boolean | 'auto' | 'at-once';

/** How the weights are packed: declared once for the runner and for what is built on it. */
export const packWeights = custom<PackWeights>()(
  'true, false, "auto" or "at-once"',
  (value) => typeof value === 'boolean' || value === 'auto' || value === 'at-once',
  { default: 'auto' },
);
/** Most tokens that a key/value cache holds. */
export const cacheTokens = integer({ optional: true, min: 1, decisive: false });
export const runnerOptions = options('ModelRunner', {
  /** Most tokens that the cache holds, all sequences together. Default: as many as 1 GiB holds. States of recurrent layers are beside them: see `StateStore`. */
  cacheTokens,
  /** Whether released sequences stay in the cache until their room is needed, for `start`. Default true. */
  prefixReuse: boolean({ default: true, decisive: false }),
  /** Most tokens, padding included, that one pass computes. Default 1024. */
  maxTokensPerPass: integer({ default: 1024, min: 1, decisive: false }),
  /**
   * Whether engines may keep a second copy of the weights, packed for products (a quarter less time on a CPU with one row, half
   * with two). `auto`: after some hundred passes with the same weights, if they take at most 1 GiB; with `int4` layers always,
   * which are unpacked at every pass otherwise. `at-once`: `auto` from the first pass. Packed products round otherwise, so with
   * `auto` last digits depend on what was computed before. Default `auto`.
   */
  packWeights,
});
/** Options of `ModelRunner`: what its cache holds, and how large a pass may be. */
export type ModelRunnerOptions = Given<typeof runnerOptions>;

const DEFAULT_CACHE_BYTES = 2 ** 30;
/** Of a model none of whose layers attend: they are counted only. */
const TOKENS_WITHOUT_KEYS = 2 ** 24;

/** Tokens that the cache of a runner with this option has room for. */
export function cacheCapacity(network: Network, cacheTokens: ModelRunnerOptions['cacheTokens']): number {
  const { cacheBytesPerToken } = network;
  const most = cacheBytesPerToken === 0 ? TOKENS_WITHOUT_KEYS : Math.floor(DEFAULT_CACHE_BYTES / cacheBytesPerToken);
  const tokens = cacheTokens ?? most;
  return Math.ceil(tokens / BLOCK_SIZE) * BLOCK_SIZE;
}
