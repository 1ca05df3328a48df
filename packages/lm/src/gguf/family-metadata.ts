import type { ModelConfig, RotaryModelConfig } from '../config/index.js';
import type { RopeConfig } from '../config/rope-config.js';
import { float32, type GgufEntries, list, text, uint32 } from './gguf-writer.js';
import { llama3Divisors } from './llama3-scaling.js';

/** What a GGUF file says of a model beside its weights. */
export interface ArchitectureMetadata {
  readonly entries: GgufEntries;
  /** Small float32 tensors that belong to the metadata: divisors of frequencies. By their GGUF names. */
  readonly factors: Readonly<Record<string, Float32Array>>;
}

/** `general.architecture` of a model; undefined where there is none that is read here. */
export function architectureNameOf({ modelType }: ModelConfig): string | undefined {
  const names: Partial<Record<ModelConfig['modelType'], string>> = {
    ...{ llama: 'llama', mistral: 'llama', mixtral: 'llama', qwen2: 'qwen2', qwen3: 'qwen3', qwen3_moe: 'qwen3moe' },
    ...{ gpt2: 'gpt2', gemma2: 'gemma2', gemma3_text: 'gemma3', phi3: 'phi3', olmo2: 'olmo2' },
  };
  return names[modelType];
}

/**
 * The metadata under a model's architecture, by the keys that llama.cpp's converter writes. What it has no key for is left
 * out; the file is read back to see whether it means the same model.
 */
export function architectureMetadata(config: ModelConfig, name: string): ArchitectureMetadata {
  const { entries, factors = {} } = familyMetadata(config);
  return {
    entries: Object.fromEntries(Object.entries(entries).map(([key, value]) => [`${name}.${key}`, value])),
    factors,
  };
}

interface FamilyMetadata {
  readonly entries: GgufEntries;
  readonly factors?: Readonly<Record<string, Float32Array>>;
}

function familyMetadata(config: ModelConfig): FamilyMetadata {
  const common = {
    block_count: uint32(config.numHiddenLayers),
    context_length: uint32(config.maxPositionEmbeddings),
    embedding_length: uint32(config.hiddenSize),
    feed_forward_length: uint32(config.intermediateSize),
    'attention.head_count': uint32(config.numAttentionHeads),
    vocab_size: uint32(config.vocabSize),
  };
  if (config.modelType === 'gpt2') {
    return { entries: { ...common, 'attention.layer_norm_epsilon': float32(config.layerNormEps) } };
  }
  if ('keys' in config) return { entries: common };
  const heads = {
    ...common,
    'attention.head_count_kv': uint32(config.numKeyValueHeads),
    'attention.key_length': uint32(config.headDim),
    'attention.value_length': uint32(config.headDim),
    'attention.layer_norm_rms_epsilon': float32(config.rmsNormEps),
    'rope.freq_base': float32(config.rope.theta),
  };
  const { headDim } = config;
  switch (config.modelType) {
    case 'gemma2':
    case 'gemma3_text': {
      const slides = config.layerTypes.map((type) => type === 'sliding_attention');
      const cap = (key: string, value: number | undefined) => (value === undefined ? {} : { [key]: float32(value) });
      const { entries, factors } = ropeMetadata(config.rope, headDim);
      return {
        factors: factors ?? {},
        entries: {
          ...heads,
          ...entries,
          'rope.dimension_count': uint32(headDim),
          ...(config.slidingWindow !== undefined && { 'attention.sliding_window': uint32(config.slidingWindow) }),
          // Gemma 2's alternate, which needs no word.
          ...(config.modelType === 'gemma3_text' && {
            'attention.sliding_window_pattern': list('bool', slides),
            'rope.freq_base_swa': float32(config.slidingRope.theta),
          }),
          ...cap('attn_logit_softcapping', config.attnLogitSoftcapping),
          ...cap('final_logit_softcapping', config.finalLogitSoftcapping),
        },
      };
    }
    case 'phi3': {
      const { rope, slidingWindow } = config;
      const isLong = rope.type === 'longrope';
      return {
        entries: {
          ...heads,
          'rope.dimension_count': uint32(Math.round(headDim * config.partialRotaryFactor)),
          'attention.sliding_window': uint32(slidingWindow ?? 0),
          ...(isLong && {
            context_length: uint32(rope.extendedMaxPositionEmbeddings),
            'rope.scaling.original_context_length': uint32(rope.originalMaxPositionEmbeddings),
            'rope.scaling.attn_factor': float32(rope.attentionFactor),
          }),
        },
        factors: isLong
          ? {
              rope_factors_long: Float32Array.from(rope.longFactor),
              rope_factors_short: Float32Array.from(rope.shortFactor),
            }
          : {},
      };
    }
    default: {
      const { entries, factors } = ropeMetadata(config.rope, headDim);
      return {
        factors: factors ?? {},
        entries: {
          ...heads,
          ...entries,
          'rope.dimension_count': uint32(headDim),
          ...(config.modelType !== 'olmo2' && windowAndExperts(config)),
        },
      };
    }
  }
}

function windowAndExperts({ slidingWindow, layerTypes, experts, modelType }: RotaryModelConfig): GgufEntries {
  const slides = layerTypes.includes('sliding_attention');
  return {
    ...(slides && slidingWindow !== undefined && { 'attention.sliding_window': uint32(slidingWindow) }),
    ...(experts && {
      expert_count: uint32(experts.count),
      expert_used_count: uint32(experts.perToken),
      ...(modelType === 'qwen3_moe' && { expert_feed_forward_length: uint32(experts.intermediateSize) }),
    }),
  };
}

function ropeMetadata(rope: RopeConfig, headDim: number): FamilyMetadata {
  switch (rope.type) {
    case 'linear':
      return { entries: { 'rope.scaling.type': text('linear'), 'rope.scaling.factor': float32(rope.factor) } };
    case 'yarn':
      return {
        entries: {
          'rope.scaling.type': text('yarn'),
          'rope.scaling.factor': float32(rope.factor),
          'rope.scaling.original_context_length': uint32(rope.originalMaxPositionEmbeddings),
          'rope.scaling.yarn_beta_fast': float32(rope.betaFast),
          'rope.scaling.yarn_beta_slow': float32(rope.betaSlow),
        },
      };
    case 'llama3':
      return { entries: {}, factors: { rope_freqs: llama3Divisors(rope, headDim) } };
    default:
      return { entries: {} };
  }
}
