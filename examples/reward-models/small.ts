import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';

/** Single characters, so that every text is as long as it looks. */
const CHARACTERS = 'abcdefghxyz:;\n?YesNo';

/** What a small model has beside its defaults. */
export interface SmallOptions {
  /** Texts that are a token each. Default: none. */
  readonly words?: readonly string[];
  /** Default 32. */
  readonly width?: number;
  /** Default 2. */
  readonly layers?: number;
}

/** A model of small blocks with random weights over these characters, and others. */
export function smallModel(
  seed: number,
  others = '',
  { words = [], width = 32, layers = 2 }: SmallOptions = {},
): Promise<CausalLM> {
  const characters = [...new Set(CHARACTERS + others)];
  const end = characters.length;
  const whole = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const tokenizer = new Tokenizer({
    tokenizer: {
      ...{ version: '1.0', normalizer: null, pre_tokenizer: null, post_processor: null },
      added_tokens: [
        { id: end, content: '</s>', ...whole, special: true },
        ...words.map((content, i) => ({ id: end + 1 + i, content, ...whole, special: false })),
      ],
      decoder: { type: 'Fuse' },
      model: { type: 'BPE', vocab: Object.fromEntries([...characters, '</s>'].map((x, i) => [x, i])), merges: [] },
    },
    config: { eos_token: '</s>' },
  });
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: end + 1 + words.length, hidden_size: width, intermediate_size: 2 * width },
    ...{ num_hidden_layers: layers, num_attention_heads: 2, max_position_embeddings: 64, eos_token_id: end },
    initializer_range: 0.1,
  });
  return CausalLM.initialize({ config, tokenizer, name: 'small' }, seed);
}

/** What all trainers of the study have in common. */
export const quiet = {
  ...({ schedule: 'constant', batchSize: 16, maxLength: 64, loggingSteps: 1000 } as const),
  onWarning: () => {},
};

/** The chain a, b, c … h, a. */
const RING = [...'abcdefgh'];
/** Steps of a solution. */
export const STEPS = 5;

/** A solution of the task: say the next five letters, a step each. */
export interface Chain {
  readonly prompt: string;
  readonly steps: readonly string[];
  readonly answer: string;
  /** The first step that is wrong; undefined where none is. */
  readonly error: number | undefined;
}

/** Solutions, of which a share has an error planted at a step that is drawn; what comes behind goes on from the wrong letter. */
export function chains(count: number, share: number, seed: number): Chain[] {
  const random = createRandom(seed, 'chains');
  return Array.from({ length: count }, () => {
    const start = random.integer(0, 7);
    const error = random.float() < share ? random.integer(0, STEPS - 1) : undefined;
    const slip = random.integer(1, 7);
    const letters = Array.from({ length: STEPS }, (_, i) => {
      const off = error !== undefined && i >= error ? slip : 0;
      return RING[(start + 1 + i + off) % 8]!;
    });
    return { prompt: `${RING[start]}:`, steps: letters, answer: RING[(start + STEPS) % 8]!, error };
  });
}
