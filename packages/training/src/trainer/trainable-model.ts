import type { Weights } from '@posttrain/lm';
import type { TrainableConfig, TrainableNetwork } from '../loss/trainable-network.js';

/**
 * What a trainer needs of a model: `CausalLM`, `SequenceClassifier` (reward models), `TokenClassifier` and `ValueModel` have it, and
 * so can a model without a tokenizer. It computes on the engine of the network.
 */
export interface TrainableModel {
  /** For messages. */
  readonly name: string;
  readonly config: TrainableConfig;
  readonly network: TrainableNetwork;
  readonly weights: Weights;
  /** Where it has one, checkpoints hold its files, beside those of the model. */
  readonly tokenizer?: { readonly folder?: string | undefined };
  /** The same model with other weights. */
  withWeights(weights: Weights): this;
  /** Writes a folder that loads it. Left out: checkpoints hold its parameters only. */
  save?(folder: string): Promise<void>;
}
