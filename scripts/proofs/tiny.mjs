// What the proofs share: a Llama that fits in a line, made here, with a tokenizer of single letters and a chat
// template.
import { CausalLM, ChatTemplate, parseModelConfig, Tokenizer } from '@posttrain/lm';

const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789 +=.,:?!"{}_<>/\n', 'U', 'A', 'T'];
export const END = letters.length;
export const idOf = (letter) => letters.indexOf(letter);

const token = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
export const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [{ ...token, id: END, content: '</s>' }],
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', vocab: Object.fromEntries([...letters, '</s>'].map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});

const template =
  "{% for m in messages %}{% if m.role == 'assistant' %}A{% generation %}{{ m.content }}</s>{% endgeneration %}\n" +
  "{% elif m.role == 'tool' %}T{{ m.content }}\n{% else %}U{{ m.content }}\n{% endif %}{% endfor %}" +
  '{% if add_generation_prompt %}A{% endif %}';

const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: END + 1, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2 },
  ...{ num_attention_heads: 2, max_position_embeddings: 96, initializer_range: 0.3, eos_token_id: END },
});

export const tinyModel = (seed = 1) => {
  const chatTemplate = new ChatTemplate(tokenizer, template);
  return CausalLM.initialize({ config, tokenizer, chatTemplate, name: 'tiny' }, seed);
};

/** Numbers of a record of tensors, to be compared. */
export const numbersOf = async (record) =>
  (
    await Promise.all(
      Object.keys(record)
        .sort()
        .map((name) => record[name].toArray()),
    )
  ).flat();

export const rows = ['a b', 'c d', 'e f', 'g h', 'i j', 'k l'].map((text) => {
  const [prompt, completion] = text.split(' ');
  return { prompt, completion, chosen: completion, rejected: 'z', label: completion < 'g', answer: completion };
});
