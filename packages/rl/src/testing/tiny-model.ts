import { currentEngine, perEngine } from '@posttrain/core-tensor';
import { CausalLM, initialWeights, networkOf, parseModelConfig, Tokenizer } from '@posttrain/lm';

/** Letters, an end token, and what a tokenizer of them needs. */
const letters = [...'abcdefg'];

const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [
      { id: 7, content: '</s>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ],
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', vocab: Object.fromEntries([...letters, '</s>'].map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});

const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: 8, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 32, initializer_range: 0.2, eos_token_id: 7 },
});

/** One for all models on an engine, so that what is compiled for it is compiled once. */
const networkFor = perEngine(() => networkOf(config));

/** A Llama of one small block over the letters a to g with random weights: a policy that kits train for a step. */
export const tinyPolicy = async (seed = 0): Promise<CausalLM> => {
  const network = networkFor(currentEngine());
  const weights = await initialWeights(network, seed);
  return new CausalLM({ config, tokenizer, name: 'tiny-policy', weights }, network);
};
