import { tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { oneOf, type Read, showValue, text } from '@posttrain/interfaces';
import { AdapterConfigError } from '../adapters/errors.js';
import { methodOptions, orNull } from '../adapters/method-options.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { PROMPT_EMBEDDINGS, promptFacts, promptOptions, promptPlan } from './prompt-learning.js';

const promptTuningOptions = methodOptions('PROMPT_TUNING', {
  ...promptOptions,
  /**
   * `RANDOM`: normal with deviation 1. `SAMPLE_VOCAB`: embeddings of tokens drawn from the vocabulary. `TEXT`: embeddings of the
   * tokens of a text, given to `createAdapter` as the only one of its `rows`, repeated or cut. Default `RANDOM`.
   */
  promptTuningInit: oneOf(['RANDOM', 'SAMPLE_VOCAB', 'TEXT'], { default: 'RANDOM' }),
  /** What the tokens of `TEXT` were, for the file. Default: none. */
  promptTuningInitText: orNull(text({})),
  /** Where the tokens of `TEXT` came from, for the file. Default: none. */
  tokenizerNameOrPath: orNull(text({})),
});
/** Options of `promptTuning`, complete, by PEFT's names in camel case. */
export type PromptTuningConfig = Read<typeof promptTuningOptions>;

/**
 * Prompt tuning (arXiv 2104.08691): embeddings P [v, width] of v virtual tokens stand before those of the tokens, and nothing
 * else is trained.
 */
export const promptTuning: PeftMethod<PromptTuningConfig> = {
  peftType: 'PROMPT_TUNING',
  options: promptTuningOptions,
  fileDefaults: { tokenizer_kwargs: null },
  factNames: promptFacts.names,
  facts: ({ model }) => promptFacts.of(model, { width: model.hiddenSize, heads: model.numAttentionHeads }),

  plan: promptPlan,

  parameters: ({ config, model }) => config.numVirtualTokens! * model.hiddenSize,

  async prepare({ config, base, rows, key }): Promise<Named> {
    const { promptTuningInit: init, numVirtualTokens } = config;
    const count = numVirtualTokens!;
    const { vocabSize } = base.config;
    if (init === 'RANDOM') return {};
    const [words] = rows;
    // A loaded adapter has its own numbers.
    if (init === 'TEXT' && !words) return {};
    if (words?.length === 0 || rows.length > 1) {
      throw new AdapterConfigError('promptTuningInit "TEXT" needs the tokens of one text: rows: [tokenIds]');
    }
    const drawn = key.uniformHost(count);
    const ids = Array.from({ length: count }, (_, i) =>
      init === 'TEXT' ? words![i % words!.length]! : Math.floor(drawn[i]! * vocabSize),
    );
    const wrong = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
    if (wrong !== undefined) throw new AdapterConfigError(`rows: ${showValue(wrong)} is no token id of the model`);
    return { [PROMPT_EMBEDDINGS]: base.network.asVirtualTokens(base.weights, tensor(Int32Array.from(ids))) };
  },

  init({ config, model }, _, key, prepared) {
    const [count, width] = [config.numVirtualTokens!, model.hiddenSize];
    const random = () => tensor(key.child(0).normalHost(count * width), [count, width]);
    return { trained: { [PROMPT_EMBEDDINGS]: prepared[PROMPT_EMBEDDINGS] ?? random() }, frozen: {} };
  },

  fileKey: promptFacts.fileKey,
  virtualTokens: ({ numVirtualTokens }) => numVirtualTokens!,

  hooks: (_, { trained }) => ({ virtualTokens: trained[PROMPT_EMBEDDINGS]! }),
};
