import { adamW, type Optimizer, type ParameterGroupsState, parameterGroups } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';

export interface LoraPlusOptions {
  /** η_B / η_A, at least 1. Default 16, as in the paper. */
  readonly learningRateRatio?: number;
  /**
   * Rate of LoRA on embeddings, both factors, as a multiple of η_A; give it exactly when there is some. PEFT's default is
   * a rate of 1e-6.
   */
  readonly embeddingFactor?: number;
  /** The rule for all of them. Default AdamW. */
  readonly optimizer?: Optimizer<object>;
}

/**
 * LoRA+ (arXiv 2402.12354), with the groups of PEFT's `create_loraplus_optimizer`: the factors A are trained with the
 * given rate η_A, the factors B, and all parameters with one axis, with `learningRateRatio` times that.
 */
export function loraPlus(options: LoraPlusOptions = {}): Optimizer<ParameterGroupsState> {
  assertKnownOptions('loraPlus', options, ['learningRateRatio', 'embeddingFactor', 'optimizer']);
  const { learningRateRatio = 16, embeddingFactor, optimizer = adamW() } = options;
  if (!(learningRateRatio >= 1)) {
    throw new PosttrainError('LORA_PLUS', `loraPlus: learningRateRatio ${learningRateRatio} must be 1 or more`);
  }
  const groups = parameterGroups([
    ...(embeddingFactor === undefined ? [] : [{ match: EMBEDDING, optimizer, learningRateFactor: embeddingFactor }]),
    {
      match: (name, parameter) => !EMBEDDING.test(name) && (/lora_B/.test(name) || parameter.rank === 1),
      optimizer,
      learningRateFactor: learningRateRatio,
    },
    { match: (name) => embeddingFactor !== undefined || !EMBEDDING.test(name), optimizer },
  ]);
  return { ...groups, name: `loraPlus(${optimizer.name})` };
}

const EMBEDDING = /lora_embedding_[AB]/;
