import { CausalLM, type ModelConfig, type Network, Tokenizer, type Weights } from '@posttrain/lm';

/** A tokenizer for tests that never look at text: token i is the character with code i. */
const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] },
  },
});

/** A model for tests that work on token ids. */
export const modelOf = (
  { network, ...parts }: { config: ModelConfig; weights: Weights; network?: Network },
  name = 'test',
): CausalLM => new CausalLM({ ...parts, tokenizer, name }, network);
