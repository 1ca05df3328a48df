import { currentEngine, perEngine } from '@posttrain/core-tensor';
import { CausalLM, ChatTemplate, initialWeights, networkOf, parseModelConfig, Tokenizer } from '@posttrain/lm';
import type { Environment, PromptRow } from '../src/index.js';

const symbols = [...'012+=utAn'];
const END = symbols.length;

const special = { id: END, content: '</s>', single_word: false, lstrip: false, rstrip: false, normalized: false };
const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [{ ...special, special: true }],
    ...{ normalizer: null, pre_tokenizer: null, post_processor: null, decoder: { type: 'Fuse' } },
    model: { type: 'BPE', vocab: Object.fromEntries([...symbols, '</s>'].map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});

/** Behind the end token of a message is a symbol that nobody samples. */
const template =
  "{% for m in messages %}{% if m.role == 'assistant' %}A{% generation %}{{ m.content }}</s>{% endgeneration %}n" +
  "{% elif m.role == 'tool' %}t{{ m.content }}n{% else %}u{{ m.content }}n{% endif %}{% endfor %}" +
  '{% if add_generation_prompt %}A{% endif %}';

const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: END + 1, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 32, initializer_range: 0.2, eos_token_id: END },
});

const networkFor = perEngine(() => networkOf(config));

/** A model of one small block that talks about digits, with a chat template. */
export const chatModel = async (seed: number, text = template): Promise<CausalLM> => {
  const network = networkFor(currentEngine());
  const weights = await initialWeights(network, seed);
  const chatTemplate = new ChatTemplate(tokenizer, text);
  return new CausalLM({ config, tokenizer, chatTemplate, name: 'chat-toy', weights }, network);
};

export const sums = ['0+0', '0+1', '0+2'].map((prompt) => ({
  prompt: [{ role: 'user', content: prompt }],
}));

/**
 * A calculator: a reply that begins with `=` calls it, and it says the sum. Half of the reward is for calling it, the other
 * half for answering what it said, and a tenth for any other digit.
 */
export const calculator: Environment<PromptRow> = {
  name: 'calculator',
  settings: {},
  start({ prompt }) {
    const [question] = prompt as readonly { role: string; content: string }[];
    const sum = String(question!.content.split('+').reduce((a, b) => a + Number(b), 0));
    let called = false;
    return {
      messages: [question!],
      step({ content }) {
        if (called)
          return {
            messages: [],
            reward: content.startsWith(sum) ? 0.5 : '012'.includes(content[0] ?? '+') ? 0.1 : 0,
            done: true,
          };
        called = content.startsWith('=');
        return { messages: [{ role: 'tool', content: sum }], reward: called ? 0.5 : 0, done: !called };
      },
    };
  },
};
