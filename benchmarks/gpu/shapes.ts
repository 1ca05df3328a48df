import type { ModelConfig } from '../cases.js';

const COMMON = {
  model_type: 'llama',
  vocab_size: 151_936,
  num_key_value_heads: 2,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  tie_word_embeddings: true,
};

/** The shapes of Qwen2.5 without the three biases a layer, and one to try the programs with. Weights are made up. */
export const GPU_SHAPES: Readonly<Record<'0.5b' | '1.5b' | 'try', ModelConfig>> = {
  '0.5b': {
    ...COMMON,
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
  },
  '1.5b': {
    ...COMMON,
    hidden_size: 1536,
    intermediate_size: 8960,
    num_hidden_layers: 28,
    num_attention_heads: 12,
  },
  try: {
    ...COMMON,
    vocab_size: 512,
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
  },
};
export type GpuShape = keyof typeof GPU_SHAPES;

/** Entries that repeat in every weight; a power of two. peer.py makes the same. */
export const PATTERN = 2 ** 20;

/** Numbers in [-0.5, 0.5) by Knuth's multiplicative hash of their position. */
export function pattern(): Float32Array {
  return Float32Array.from({ length: PATTERN }, (_, i) => (Math.imul(i, 2_654_435_761) >>> 0) / 2 ** 32 - 0.5);
}

/** Where in the pattern weight `index` of the model begins. */
export const patternStart = (index: number): number => (index * 7919) % PATTERN;

/** Standard deviation of the weights. */
export const WEIGHT_DEVIATION = 0.02;
