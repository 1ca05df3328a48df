import type { Named } from '@posttrain/core-tensor/optim';
import { oneOf, type Read } from '@posttrain/interfaces';
import { methodOptions } from '../adapters/method-options.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import {
  PROMPT_EMBEDDINGS,
  promptFacts,
  promptOptions,
  promptPlan,
  promptTextOptions,
  randomStart,
  textStart,
  vocabularyStart,
} from './prompt-learning.js';

const promptTuningOptions = methodOptions('PROMPT_TUNING', {
  ...promptOptions,
  /**
   * `RANDOM`: normal with deviation 1. `SAMPLE_VOCAB`: embeddings of tokens drawn from the vocabulary. `TEXT`: embeddings of the
   * tokens of a text, given to `createAdapter` as the only one of its `rows`, repeated or cut. Default `RANDOM`.
   */
  promptTuningInit: oneOf(['RANDOM', 'SAMPLE_VOCAB', 'TEXT'], { default: 'RANDOM' }),
  ...promptTextOptions,
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

  async prepare(context): Promise<Named> {
    const { promptTuningInit: init, numVirtualTokens: count } = context.config;
    if (init === 'TEXT') return textStart(context, count!);
    return init === 'RANDOM' ? {} : vocabularyStart(context, count!);
  },

  init({ config, model }, _, key, prepared) {
    const own = prepared[PROMPT_EMBEDDINGS] ?? randomStart(key.child(0), config.numVirtualTokens!, model.hiddenSize);
    return { trained: { [PROMPT_EMBEDDINGS]: own }, frozen: {} };
  },

  fileKey: promptFacts.fileKey,
  virtualTokens: ({ numVirtualTokens }) => numVirtualTokens!,

  hooks: (_, { trained }) => ({ virtualTokens: trained[PROMPT_EMBEDDINGS]! }),
};
