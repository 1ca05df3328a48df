import { concat, dropout, randomBits, relu, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { methodOptions, orNull } from '../adapters/method-options.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { embeddingStart, encoded, lstm, lstmStart, sequential, sequentialStart } from './prompt-encoder.js';
import { PROMPT_EMBEDDINGS, promptFacts, promptOptions, promptPlan } from './prompt-learning.js';

const pTuningOptions = methodOptions('P_TUNING', {
  ...promptOptions,
  /** The encoder: `MLP`, or `LSTM`, a bidirectional one under an MLP of two layers. Default `MLP`. */
  encoderReparameterizationType: oneOf(['MLP', 'LSTM'], { default: 'MLP' }),
  /** Hidden width of the encoder. Default: null, PEFT's, the model's width. */
  encoderHiddenSize: orNull(integer({ min: 1 })),
  /** Layers of the LSTM; the MLP has three whatever this says, as in PEFT. Default 2. */
  encoderNumLayers: integer({ default: 2, min: 1 }),
  /** Probability with which an element between two layers of the LSTM is dropped in training. Default 0. */
  encoderDropout: number({ default: 0, min: 0, below: 1 }),
});
/** Options of `pTuning`, complete, by PEFT's names in camel case. */
export type PTuningConfig = Read<typeof pTuningOptions>;

const HEAD = 'mlp_head';

/**
 * P-tuning (arXiv 2103.10385): v virtual tokens before those of a sequence are what a small network computes of v trained
 * embeddings E [v, width]. `MLP`: W₃ relu(W₂ relu(W₁ E + b₁) + b₂) + b₃. `LSTM`: W₂ relu(W₁ LSTM(E) + b₁) + b₂.
 *
 * Files have the virtual tokens, `prompt_embeddings` [v, width]. An adapter of a file has them and no encoder: it computes the same
 * and is saved as the same bytes, but it is not trained further.
 */
export const pTuning: PeftMethod<PTuningConfig> = {
  peftType: 'P_TUNING',
  options: pTuningOptions,
  fileDefaults: {},
  factNames: promptFacts.names,
  facts: ({ model }) => promptFacts.of(model, { width: model.hiddenSize, heads: model.numAttentionHeads }),

  plan(model, given, strictness) {
    const encoderHiddenSize = given.encoderHiddenSize ?? model.config.hiddenSize;
    return promptPlan(model, { ...given, encoderHiddenSize }, strictness);
  },

  // What a file has of it.
  parameters: ({ config, model }) => config.numVirtualTokens! * model.hiddenSize,

  stochastic: (config) => (dropsOut(config) ? `encoderDropout is ${config.encoderDropout}` : undefined),

  init({ config, model: { hiddenSize: width } }, _, key) {
    const hidden = config.encoderHiddenSize!;
    const embedding = embeddingStart(key.child(0), config.numVirtualTokens!, width);
    if (config.encoderReparameterizationType === 'MLP') {
      const head = sequentialStart(key.child(1), HEAD, [width, hidden, hidden, width]);
      return { trained: { ...embedding, ...head }, frozen: {} };
    }
    const recurrent = lstmStart(key.child(2), { inputs: width, hidden, layers: config.encoderNumLayers });
    const head = sequentialStart(key.child(1), HEAD, [2 * hidden, 2 * hidden, width]);
    return { trained: { ...embedding, ...recurrent, ...head }, frozen: {} };
  },

  toFile: ({ config }, { trained }) => ({ [PROMPT_EMBEDDINGS]: virtualTokensOf(trained, config) }),
  fromFile: (_, stored) => ({ trained: stored, frozen: {} }),
  fileKey: promptFacts.fileKey,
  virtualTokens: ({ numVirtualTokens }) => numVirtualTokens!,

  hooks: ({ config }, { trained }, dropoutKey) => ({ virtualTokens: virtualTokensOf(trained, config, dropoutKey) }),
};

const dropsOut = ({ encoderReparameterizationType: type, encoderNumLayers, encoderDropout }: PTuningConfig): boolean =>
  type === 'LSTM' && encoderNumLayers > 1 && encoderDropout > 0;

/** [v, width]. */
function virtualTokensOf(trained: Named, config: PTuningConfig, dropoutKey?: Tensor): Tensor {
  const { encoderNumLayers: layers, encoderDropout } = config;
  const keys = dropoutKey && dropsOut(config) ? randomBits(dropoutKey, [layers, 2]) : undefined;
  const between = (x: Tensor, layer: number) =>
    keys ? dropout(x, encoderDropout, keys.slice(0, layer, layer + 1).reshape([2])) : x;
  const encode = (embeddings: Tensor) =>
    config.encoderReparameterizationType === 'MLP'
      ? sequential(embeddings, trained, { name: HEAD, count: 3, activation: relu })
      : sequential(lstm(embeddings, trained, { layers, between }, concat), trained, {
          name: HEAD,
          count: 2,
          activation: relu,
        });
  const instead = 'train prompt_embeddings themselves, as those of an adapter of promptTuning';
  return encoded('P-tuning', { trained }, encode, instead, dropoutKey);
}
