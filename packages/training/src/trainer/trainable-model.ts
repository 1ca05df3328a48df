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
  /** The same model with other weights. */
  withWeights(weights: Weights): this;
}
