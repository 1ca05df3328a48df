import { tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { showValue } from '@posttrain/interfaces';
import { AdapterConfigError } from '../adapters/errors.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { PROMPT_EMBEDDINGS, promptFacts, promptPlan } from './prompt-learning.js';

/** Options of `promptTuning`, by PEFT's names in camel case. */
export interface PromptTuningConfig {
  /** Virtual tokens before every sequence. No default. */
  readonly numVirtualTokens: number | null;
  /**
   * `RANDOM`: normal with deviation 1. `SAMPLE_VOCAB`: embeddings of tokens drawn from the vocabulary. `TEXT`: embeddings of the
   * tokens of a text, given to `createAdapter` as the only one of its `rows`, repeated or cut. Default `RANDOM`.
   */
  readonly promptTuningInit: 'RANDOM' | 'SAMPLE_VOCAB' | 'TEXT';
  /** What the tokens of `TEXT` were, for the file. */
  readonly promptTuningInitText: string | null;
  readonly tokenizerNameOrPath: string | null;
  readonly modulesToSave: readonly string[] | null;
}

/**
 * Prompt tuning (arXiv 2104.08691): embeddings P [v, width] of v virtual tokens stand before those of the tokens, and nothing
 * else is trained.
 */
export const promptTuning: PeftMethod<PromptTuningConfig> = {
  peftType: 'PROMPT_TUNING',
  defaults: {
    numVirtualTokens: null,
    promptTuningInit: 'RANDOM',
    promptTuningInitText: null,
    tokenizerNameOrPath: null,
    modulesToSave: null,
  },
  fileDefaults: { tokenizer_kwargs: null },
  factNames: promptFacts.names,
  facts: ({ model }) => promptFacts.of(model, { width: model.hiddenSize, heads: model.numAttentionHeads }),

  plan(model, config, strictness) {
    const { promptTuningInit: init } = config;
    if (!['RANDOM', 'SAMPLE_VOCAB', 'TEXT'].includes(init)) {
      throw new AdapterConfigError(
        `promptTuningInit ${showValue(init)}: there are "RANDOM", "SAMPLE_VOCAB" and "TEXT"`,
      );
    }
    return promptPlan(model, config, strictness);
  },

  parameters: ({ config, model }) => config.numVirtualTokens! * model.hiddenSize,

  async prepare({ config, base, rows, key }): Promise<Named> {
    const { promptTuningInit: init, numVirtualTokens } = config;
    const count = numVirtualTokens!;
    const { vocabSize } = base.config;
    if (init === 'RANDOM') return {};
    const [text] = rows;
    // A loaded adapter has its own numbers.
    if (init === 'TEXT' && !text) return {};
    if (text?.length === 0 || rows.length > 1) {
      throw new AdapterConfigError('promptTuningInit "TEXT" needs the tokens of one text: rows: [tokenIds]');
    }
    const drawn = key.uniformHost(count);
    const ids = Array.from({ length: count }, (_, i) =>
      init === 'TEXT' ? text![i % text!.length]! : Math.floor(drawn[i]! * vocabSize),
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
