import { Key } from '@posttrain/core-tensor';
import type { SampledRollout } from '../rollout.js';
import { seedOf } from './rollout-source.js';

/** A completion that has begun, or begins. */
export interface OpenCompletion {
  /** Names its random numbers, from its first token on. */
  readonly seed: number;
  /** What there is of it, in order. */
  readonly tokenIds: readonly number[];
  /** log p of each. */
  readonly logProbs: readonly number[];
  /** Most tokens of the whole, those that are there included. */
  readonly maxTokens: number;
}

/** Completions of one prompt that go on. */
export interface OpenGroup {
  /** Its place among the rollouts of the step, as far as it is known. */
  readonly group: number;
  readonly prompt: readonly number[];
  /** Whether the completions' text goes on from the prompt's, or is a message of its own. */
  readonly continuesText: boolean;
  readonly completions: readonly OpenCompletion[];
}

/** A completion, as far as it has come. */
export interface Segment {
  /** The whole, from its first token on. */
  readonly tokenIds: readonly number[];
  readonly logProbs: readonly number[];
  readonly text: string;
  /** `length` where it has `maxTokens`. */
  readonly finishReason: SampledRollout['finishReason'];
  /** Step of the policy that its new tokens are of. */
  readonly version: number;
}

/** The seed of what comes behind so many tokens, where a sampler cannot go on with the random numbers of the start: they are others than those. */
export const laterSeed = (seed: number, tokens: number): number => seedOf(Key.fromSeed(seed).child(tokens));
