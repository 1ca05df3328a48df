import type { ExpertsConfig, HeadConfig, Network, QuantizationConfig } from '@posttrain/lm';

/** What a trainer reads of a config: every `ModelConfig` has it, and so can a model of another kind. */
export interface TrainableConfig {
  /** Token ids of rows are below this: 1 for a model that reads none, whose rows have 0. */
  readonly vocabSize: number;
  /** Most tokens in a sequence. */
  readonly maxPositionEmbeddings: number;
  readonly hiddenSize: number;
  readonly padTokenId?: number | undefined;
  readonly quantization?: QuantizationConfig;
  readonly head?: HeadConfig;
  readonly experts?: ExpertsConfig;
}

/**
 * What a pass needs of a network. `hidden` may read `inputs` of the batch (see `TrainingRow.inputs`) beside its
 * tokens, or in their place; `outputLayer` throws where the model predicts no tokens. Without `virtualStates` no context has labels.
 */
export interface TrainableNetwork
  extends Pick<Network, 'engine' | 'modules' | 'hidden' | 'outputLayer' | 'logitSoftCap'>,
    Partial<Pick<Network, 'virtualStates'>> {
  readonly config: TrainableConfig;
}
