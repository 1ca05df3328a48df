import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';

/** One of each way a linear weight is stored: without bias, with biases, and [in, out]. */
export const TINY_MODEL_TYPES = ['llama', 'qwen2', 'gpt2'] as const;
export type TinyModelType = (typeof TINY_MODEL_TYPES)[number];

const CONFIGS: Readonly<Record<TinyModelType, Readonly<Record<string, unknown>>>> = {
  llama: { tie_word_embeddings: false },
  qwen2: { tie_word_embeddings: true },
  gpt2: { n_embd: 16, n_layer: 2, n_head: 2, n_positions: 32 },
};

/** Works on token ids only. */
const tokenizer = new Tokenizer({
  tokenizer: { version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } },
});

/** A model of two blocks of width 16 with random weights: enough to see every kind of module. */
export function tinyModel(modelType: TinyModelType, seed = 0): Promise<CausalLM> {
  const config = parseModelConfig({
    model_type: modelType,
    vocab_size: 40,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 32,
    // Far enough from zero that a mistake shows.
    initializer_range: 0.3,
    ...CONFIGS[modelType],
  });
  return CausalLM.initialize({ config, tokenizer, name: `tiny-${modelType}` }, seed);
}
