import { currentEngine, perEngine } from '@posttrain/core-tensor';
import { CausalLM, initialWeights, networkOf, parseModelConfig, Tokenizer } from '@posttrain/lm';
import type { Rollout } from '../src/index.js';

const letters = [...'abcdefg'];

const alphabet = {
  version: '1.0',
  added_tokens: [
    { id: 7, content: '</s>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  ],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: 'Fuse' },
  model: { type: 'BPE', vocab: Object.fromEntries([...letters, '</s>'].map((x, i) => [x, i])), merges: [] },
};

/** A tokenizer of seven letters and an end token. */
export const tokenizer = new Tokenizer({ tokenizer: alphabet, config: { eos_token: '</s>' } });

/** The same, which does not say that the last one is the end token. */
export const endlessTokenizer = new Tokenizer({ tokenizer: alphabet, config: {} });

const config = parseModelConfig({
  model_type: 'llama',
  vocab_size: 8,
  hidden_size: 16,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 32,
  initializer_range: 0.2,
  eos_token_id: 7,
});

/** One for all models on an engine, so that what is compiled for it is compiled once. */
const networkFor = perEngine(() => networkOf(config));

/** A model of one small block with random weights over that alphabet. */
export const toyModel = async (seed: number, words = tokenizer): Promise<CausalLM> => {
  const network = networkFor(currentEngine());
  return new CausalLM({ config, tokenizer: words, name: 'toy', weights: await initialWeights(network, seed) }, network);
};

/** The fraction of a completion's letters that are c. */
export const fractionOfC = (text: string): number =>
  text.length === 0 ? 0 : [...text].filter((letter) => letter === 'c').length / text.length;

export const prompts = letters.map((letter) => ({ prompt: `${letter}ab`, topic: letter }));

/** Rollouts of several prompts as one list. */
export const inGroups = (groups: readonly (readonly Rollout[])[]): Rollout[] =>
  groups.flatMap((rollouts, group) => rollouts.map((rollout) => ({ ...rollout, group })));
