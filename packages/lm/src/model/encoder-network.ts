import type { Engine, Tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import type { EncoderConfig } from '../config/index.js';
import type { ParameterInfo } from './family.js';
import type { LayerHooks, ModuleInfo, Weights } from './layers.js';
import type { SequenceInput } from './network.js';

/** An encoder as a pure function of its weights. */
export interface EncoderNetwork {
  readonly config: EncoderConfig;
  /** What everything that is compiled for this network computes on. */
  readonly engine: Engine;
  readonly parameters: readonly ParameterInfo[];
  /** Every place where an adapter can enter, by module path. */
  readonly modules: ReadonlyMap<string, ModuleInfo>;
  /**
   * Final hidden states [b, s, width]: `last_hidden_state` of transformers. Tokens see all tokens of the same segment;
   * padding has a segment of its own.
   */
  hidden(weights: Weights, input: SequenceInput, hooks?: LayerHooks): Tensor;
}

/** @throws PosttrainError PREFIX for hooks that only a causal model has a place for */
export function refusePrefix({ prefix, virtualTokens }: LayerHooks): void {
  if (!prefix && !virtualTokens) return;
  throw new PosttrainError('PREFIX', 'an encoder takes no virtual tokens and no prefix: they are for causal models');
}
