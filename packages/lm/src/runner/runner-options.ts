import { PosttrainError, showValue } from '@posttrain/interfaces';
import type { Network } from '../model/network.js';
import { BLOCK_SIZE } from './paged-steps.js';

/** See `ModelRunnerOptions`. */
export type PackWeights = boolean | 'auto' | 'at-once';

/** Options of `ModelRunner`: what its cache holds, and how large a pass may be. */
export interface ModelRunnerOptions {
  /** Most tokens that the cache holds, all sequences together. Default: as many as 1 GiB holds. */
  readonly cacheTokens?: number;
  /** Whether released sequences stay in the cache until their room is needed, for `start`. Default true. */
  readonly prefixReuse?: boolean;
  /** Most tokens, padding included, that one pass computes. Default 1024. */
  readonly maxTokensPerPass?: number;
  /**
   * Whether engines may keep a second copy of the weights, packed for products (a quarter less time on a CPU with one row, half
   * with two). `auto`: after some hundred passes with the same weights, if they take at most 1 GiB; with `int4` layers always,
   * which are unpacked at every pass otherwise. `at-once`: `auto` from the first pass. Packed products round otherwise, so with
   * `auto` last digits depend on what was computed before. Default `auto`.
   */
  readonly packWeights?: PackWeights;
}

const DEFAULT_CACHE_BYTES = 2 ** 30;

/** Tokens that the cache of a runner with this option has room for. */
export function cacheCapacity(network: Network, cacheTokens: ModelRunnerOptions['cacheTokens']): number {
  const tokens = cacheTokens ?? Math.floor(DEFAULT_CACHE_BYTES / network.cacheBytesPerToken);
  checkPositive('cacheTokens', tokens);
  return Math.ceil(tokens / BLOCK_SIZE) * BLOCK_SIZE;
}

/** @throws PosttrainError */
export function checkPositive(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 1) return;
  throw new PosttrainError('MODEL_RUNNER', `ModelRunner: ${name} must be a positive integer, not ${showValue(value)}`);
}
