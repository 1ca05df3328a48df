import { type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, oneOf, type Read } from '@posttrain/interfaces';
import type { ModelConfig } from '@posttrain/lm';
import { methodOptions, orNull } from '../adapters/method-options.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { embeddingStart, encoded, sequential, sequentialStart } from './prompt-encoder.js';
import { PROMPT_EMBEDDINGS, promptFacts, promptOptions, promptPlan } from './prompt-learning.js';

const prefixTuningOptions = methodOptions('PREFIX_TUNING', {
  ...promptOptions,
  /** `zero`: keys and values start as zeros. Default: null, at random. */
  initWeights: orNull(oneOf(['zero'], { default: 'zero' })),
  /** Hidden width of the MLP of `prefixProjection`. Default: null, PEFT's, the width of keys. */
  encoderHiddenSize: orNull(integer({ min: 1 })),
  /** Train embeddings and an MLP that computes the prefix of them, in the place of the prefix itself. Default false. */
  prefixProjection: boolean({ default: false }),
});
/** Options of `prefixTuning`, complete, by PEFT's names in camel case. */
export type PrefixTuningConfig = Read<typeof prefixTuningOptions>;

/**
 * Prefix tuning (arXiv 2101.00190), and without `prefixProjection` P-tuning v2 (arXiv 2110.07602): in every layer keys and
 * values of v positions are trained that every token sees before its own sequence.
 *
 * `prompt_embeddings` [v, layers · 2 · kv heads · head width]: of each position the keys of layer 0, its values, the keys of
 * layer 1, … They are what attention reads: rotated already where the model rotates. With `prefixProjection` they are
 * W₂ tanh(W₁ E + b₁) + b₂ of trained embeddings E [v, kv heads · head width]. Files have them and not the MLP: an adapter of such a
 * file computes the same and is saved as the same bytes, but is trained further with `prefixProjection: false` only.
 */
export const prefixTuning: PeftMethod<PrefixTuningConfig> = {
  peftType: 'PREFIX_TUNING',
  options: prefixTuningOptions,
  fileDefaults: {},
  factNames: promptFacts.names,
  facts({ model }) {
    const { heads, headDim } = headsOf(model);
    return promptFacts.of(model, { width: heads * headDim, heads });
  },

  plan(model, given, strictness) {
    const { heads, headDim } = headsOf(model.config);
    return promptPlan(model, { ...given, encoderHiddenSize: given.encoderHiddenSize ?? heads * headDim }, strictness);
  },

  parameters: ({ config, model }) => config.numVirtualTokens! * widthOf(model),

  init({ config, model }, _, key) {
    const { prefixProjection, initWeights, encoderHiddenSize } = config;
    const [count, width] = [config.numVirtualTokens!, widthOf(model)];
    if (prefixProjection) {
      const { heads, headDim } = headsOf(model);
      const mlp = sequentialStart(key.child(1), MLP, [heads * headDim, encoderHiddenSize!, width]);
      const last = Object.entries(mlp).slice(2);
      const zero = initWeights === 'zero' && Object.fromEntries(last.map(([name, { shape }]) => [name, zeros(shape)]));
      return { trained: { ...embeddingStart(key.child(0), count, heads * headDim), ...mlp, ...zero }, frozen: {} };
    }
    // As torch initialises an embedding.
    const random = () => tensor(key.child(0).normalHost(count * width), [count, width]);
    return { trained: { [PROMPT_EMBEDDINGS]: initWeights === 'zero' ? zeros([count, width]) : random() }, frozen: {} };
  },

  toFile: (_, { trained }) => ({ [PROMPT_EMBEDDINGS]: prefixOf(trained) }),
  fromFile: (_, stored) => ({ trained: stored, frozen: {} }),
  fileKey: promptFacts.fileKey,
  virtualTokens: ({ numVirtualTokens }) => numVirtualTokens!,

  hooks({ config, model }, { trained }, dropoutKey) {
    const count = config.numVirtualTokens!;
    const { heads, headDim } = headsOf(model);
    const all = prefixOf(trained, config.prefixProjection ? dropoutKey : undefined).reshape([
      count,
      2 * model.numHiddenLayers,
      heads,
      headDim,
    ]);
    const part = (i: number): Tensor =>
      all
        .slice(1, i, i + 1)
        .reshape([count, heads, headDim])
        .transpose([1, 0, 2]);
    return { prefix: (layer) => ({ keys: part(2 * layer), values: part(2 * layer + 1) }) };
  },
};

const MLP = 'transform';

const prefixOf = (trained: Named, dropoutKey?: Tensor): Tensor =>
  encoded(
    'prefix tuning with prefixProjection',
    { trained },
    (embeddings) => sequential(embeddings, trained, { name: MLP, count: 2, activation: (x) => x.tanh() }),
    'load it with config: { prefixProjection: false } to train the prefix itself',
    dropoutKey,
  );

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
