import { type Tensor, tensor } from '@posttrain/core-tensor';
import { boolean, integer, type Read } from '@posttrain/interfaces';
import type { ModelConfig } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { methodOptions, orNull } from '../adapters/method-options.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { PROMPT_EMBEDDINGS, promptFacts, promptOptions, promptPlan } from './prompt-learning.js';

const prefixTuningOptions = methodOptions('PREFIX_TUNING', {
  ...promptOptions,
  /** Hidden width of the MLP that PEFT trains with `prefixProjection`, for the file. Default: null, PEFT's, the width. */
  encoderHiddenSize: orNull(integer({ min: 1 })),
  /** Compute the prefix by an MLP in training. Not supported: true is refused. Default false. */
  prefixProjection: boolean({ default: false }),
});
/** Options of `prefixTuning`, complete, by PEFT's names in camel case. */
export type PrefixTuningConfig = Read<typeof prefixTuningOptions>;

/**
 * Prefix tuning (arXiv 2101.00190) without reparameterisation, which is P-tuning v2 (arXiv 2110.07602): in every layer keys and
 * values of v positions are trained that every token sees before its own sequence.
 *
 * `prompt_embeddings` [v, layers · 2 · kv heads · head width]: of each position the keys of layer 0, its values, the keys of
 * layer 1, … They are what attention reads: rotated already where the model rotates.
 */
export const prefixTuning: PeftMethod<PrefixTuningConfig> = {
  peftType: 'PREFIX_TUNING',
  options: prefixTuningOptions,
  fileDefaults: { init_weights: null },
  factNames: promptFacts.names,
  facts({ model }) {
    const { heads, headDim } = headsOf(model);
    return promptFacts.of(model, { width: heads * headDim, heads });
  },

  plan(model, given, strictness) {
    if (given.prefixProjection !== false) {
      throw new AdapterConfigError(
        'prefixProjection is not supported: the prefix itself is trained. A file of PEFT with it holds the MLP’s result; set prefix_projection to false in its adapter_config.json to use that.',
      );
    }
    const { heads, headDim } = headsOf(model.config);
    return promptPlan(model, { ...given, encoderHiddenSize: given.encoderHiddenSize ?? heads * headDim }, strictness);
  },

  parameters: ({ config, model }) => config.numVirtualTokens! * widthOf(model),

  init({ config, model }, _, key) {
    const shape = [config.numVirtualTokens!, widthOf(model)] as const;
    // As torch initialises an embedding.
    const values = key.child(0).normalHost(shape[0] * shape[1]);
    return { trained: { [PROMPT_EMBEDDINGS]: tensor(values, [...shape]) }, frozen: {} };
  },

  fileKey: promptFacts.fileKey,
  virtualTokens: ({ numVirtualTokens }) => numVirtualTokens!,

  hooks({ config, model }, { trained }) {
    const count = config.numVirtualTokens!;
    const { heads, headDim } = headsOf(model);
    const all = trained[PROMPT_EMBEDDINGS]!.reshape([count, 2 * model.numHiddenLayers, heads, headDim]);
    const part = (i: number): Tensor =>
      all
        .slice(1, i, i + 1)
        .reshape([count, heads, headDim])
        .transpose([1, 0, 2]);
    return { prefix: (layer) => ({ keys: part(2 * layer), values: part(2 * layer + 1) }) };
  },
};

/** Heads that keys and values have. */
function headsOf(model: ModelConfig): { readonly heads: number; readonly headDim: number } {
  const own = model as { readonly numKeyValueHeads?: number; readonly headDim?: number };
  return {
    heads: own.numKeyValueHeads ?? model.numAttentionHeads,
    headDim: own.headDim ?? model.hiddenSize / model.numAttentionHeads,
  };
}

function widthOf(model: ModelConfig): number {
  const { heads, headDim } = headsOf(model);
  return 2 * model.numHiddenLayers * heads * headDim;
}
