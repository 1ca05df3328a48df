import { adamW, type Optimizer, type ParameterGroupsState, parameterGroups } from '@posttrain/core-tensor/optim';
import { custom, type Given, number, options } from '@posttrain/interfaces';

const loraPlusOptions = options('loraPlus', {
  /** η_B / η_A, at least 1. Default 16, as in the paper. */
  learningRateRatio: number({ default: 16, min: 1 }),
  /**
   * Rate of LoRA on embeddings, both factors, as a multiple of η_A; give it exactly when there is some. PEFT's default is
   * a rate of 1e-6.
   */
  embeddingFactor: number({ optional: true, min: 0 }),
  /** The rule for all of them. Default AdamW. */
  optimizer: custom<Optimizer<object>>()('an optimizer', (value) => typeof value === 'object', { optional: true }),
});
/** Options of `loraPlus` (arXiv 2402.12354). */
export type LoraPlusOptions = Given<typeof loraPlusOptions>;

/**
 * LoRA+ (arXiv 2402.12354), with the groups of PEFT's `create_loraplus_optimizer`: the factors A are trained with the
 * given rate η_A, the factors B, and all parameters with one axis, with `learningRateRatio` times that.
 */
export function loraPlus(given: LoraPlusOptions = {}): Optimizer<ParameterGroupsState> {
  const { learningRateRatio, embeddingFactor, optimizer = adamW() } = loraPlusOptions.read(given);
  const groups = parameterGroups([
    ...(embeddingFactor === undefined ? [] : [{ match: EMBEDDING, optimizer, learningRateFactor: embeddingFactor }]),
    {
      match: (name, parameter) => !EMBEDDING.test(name) && (/lora_B/.test(name) || parameter.rank === 1),
      optimizer,
      learningRateFactor: learningRateRatio,
    },
    { match: (name) => embeddingFactor !== undefined || !EMBEDDING.test(name), optimizer },
  ]);
  return {
    ...groups,
    name: `loraPlus(${optimizer.name})`,
    settings: loraPlusOptions.settings({ ...given, optimizer }),
  };
}

const EMBEDDING = /lora_embedding_[AB]/;
