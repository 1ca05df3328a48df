// A model of one layer over seven letters, and the share of them that are the one asked for.
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';

export const LETTERS = [...'abcdefg'];
export const END = LETTERS.length;
const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [{ ...special, id: END, content: '</s>' }],
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', vocab: Object.fromEntries([...LETTERS, '</s>'].map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});

/** @param range the standard deviation of the weights: the larger, the surer the model is of what it says */
export const modelOf = (seed: number, range = 0.2): Promise<CausalLM> =>
  CausalLM.initialize(
    {
      config: parseModelConfig({
        ...{ model_type: 'llama', vocab_size: END + 1, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1 },
        ...{ num_attention_heads: 2, max_position_embeddings: 16, initializer_range: range, eos_token_id: END },
      }),
      ...{ tokenizer, name: 'letters' },
    },
    seed,
  );

/** The share of a completion's letters that are the one asked for: a prompt is that letter, twice. */
export const right = (text: string, letter: string): number =>
  text.length === 0 ? 0 : [...text].filter((one) => one === letter).length / text.length;

/** A number from 0 to 1 that a text always has and that says nothing of it. */
export function noise(text: string, seed: number): number {
  let hash = 2166136261 ^ (seed * 7919);
  for (const letter of text) hash = Math.imul(hash ^ letter.charCodeAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}
