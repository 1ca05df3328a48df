/** A small language whose probabilities are known: letters, each drawn by a table of the two before it. */
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';

const LETTERS = [...'abcdefgh'];
const END = LETTERS.length;

const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [
      { id: END, content: '</s>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ],
    ...{ normalizer: null, pre_tokenizer: null, post_processor: null, decoder: { type: 'Fuse' } },
    model: { type: 'BPE', vocab: Object.fromEntries([...LETTERS, '</s>'].map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});

/** A model of random weights over those letters. */
export function letterModel(name: string, width: number, layers: number, seed: number): Promise<CausalLM> {
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: LETTERS.length + 1, hidden_size: width, intermediate_size: 2 * width },
    ...{ num_hidden_layers: layers, num_attention_heads: 2, max_position_embeddings: 32, eos_token_id: END },
    initializer_range: 0.15,
  });
  return CausalLM.initialize({ config, tokenizer, name }, seed);
}

/** A text in two parts, in the columns of a data set. */
export interface Row extends Record<string, unknown> {
  readonly prompt: string;
  readonly completion: string;
  readonly domain: string;
}

const LENGTH = 16;
const PROMPT = 3;

export interface Language {
  readonly domain: string;
  /** Texts of it: three letters to begin with, thirteen that follow from them. */
  rows(count: number, seed: number): Row[];
}

/**
 * A language by its seed: of every two letters, three that follow, with 60, 30 and 10 per cent. Texts begin with the letter of their
 * domain, so that one can tell them apart.
 */
export function language(domain: string, seed: number): Language {
  const draw = createRandom(seed, 'language');
  const table = Array.from({ length: LETTERS.length ** 2 }, () =>
    Array.from({ length: 3 }, () => draw.integer(0, LETTERS.length - 1)),
  );
  return {
    domain,
    rows(count, seedOfRows) {
      const random = createRandom(seedOfRows, domain);
      const letter = () => random.integer(0, LETTERS.length - 1);
      return Array.from({ length: count }, () => {
        const text = [LETTERS.indexOf(domain), letter(), letter()];
        while (text.length < LENGTH) {
          const [before, last] = text.slice(-2) as [number, number];
          const u = random.float();
          text.push(table[before * LETTERS.length + last]![u < 0.6 ? 0 : u < 0.9 ? 1 : 2]!);
        }
        const written = text.map((id) => LETTERS[id]!).join('');
        return { prompt: written.slice(0, PROMPT), completion: written.slice(PROMPT), domain };
      });
    },
  };
}
