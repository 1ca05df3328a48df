import { boolean, custom, type Given, integer, oneOf, options } from '@posttrain/interfaces';
import type { KvCacheDtype } from '../model/kv-cache.js';
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
/** What the key/value cache holds its numbers as. */
export const kvCacheDtype = oneOf(['float32', 'int8'], { default: 'float32' });
/** Most tokens that a key/value cache holds. */
export const cacheTokens = integer({ optional: true, min: 1, decisive: false });
export const runnerOptions = options('ModelRunner', {
  /** Most tokens that the cache holds, all sequences together. Default: as many as 1 GiB holds. States of recurrent layers are beside them: see `StateStore`. */
  cacheTokens,
  /**
   * What the cache holds keys and values as. `int8`: 8 bits a number, and a scale for every token and head, off by at most 1/254 of the
   * largest number of a token's head: a quarter of the memory and a little, and slower steps. Default `float32`.
   */
  kvCacheDtype,
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

/** Cache bytes of a token. 0 where no layer attends. */
export function cacheBytesPerToken(network: Network, dtype: KvCacheDtype): number {
  const { cacheBytesPerToken: bytes, kvHeads, windows } = network;
  return dtype === 'float32' ? bytes : bytes / 4 + 2 * 4 * kvHeads * windows.length;
}

/** Tokens that the cache of a runner with these options has room for. */
export function cacheCapacity(
  network: Network,
  cacheTokens: ModelRunnerOptions['cacheTokens'],
  dtype: KvCacheDtype = 'float32',
): number {
  const bytes = cacheBytesPerToken(network, dtype);
  const tokens = cacheTokens ?? (bytes === 0 ? TOKENS_WITHOUT_KEYS : Math.floor(DEFAULT_CACHE_BYTES / bytes));
  return Math.ceil(tokens / BLOCK_SIZE) * BLOCK_SIZE;
}
