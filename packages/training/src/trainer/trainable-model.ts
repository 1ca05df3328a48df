import type { ModelConfig, Network, Weights } from '@posttrain/lm';

/**
 * What a trainer needs of a model: `CausalLM`, `SequenceClassifier` (reward models), `TokenClassifier` and `ValueModel` have it.
 * It computes on the engine of the network.
 */
export interface TrainableModel {
  /** For messages. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly network: Network;
  readonly weights: Weights;
  /** Where it has one, checkpoints hold its files, beside those of the model. */
  readonly tokenizer?: { readonly folder?: string | undefined };
  /** The same model with other weights. */
  withWeights(weights: Weights): this;
  /** Writes a folder that loads it. Left out: checkpoints hold its parameters only. */
  save?(folder: string): Promise<void>;
}
