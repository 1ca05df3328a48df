import { join } from 'node:path';
import { concat, type Engine, ones, realize, type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors, stageSafetensors } from '@posttrain/core-tensor/io';
import { type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { type ModelConfig, modelConfigToJson, parseModelConfig } from '../config/index.js';
import { InvalidModelFileError, readJsonObject } from '../files.js';
import { type CausalLM, initialWeights } from '../model/causal-lm.js';
import { applyLinear, type LayerHooks, type Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { networkOf } from '../model/network-of.js';
import { passInput } from '../score/passes.js';

const CONFIG_FILE = 'config.json';
const WEIGHTS_FILE = 'model.safetensors';
const EMBEDDING = 'embed_tokens.weight';
/** The norms of a decoder that the head has not: it reads and gives features as they are. */
const LEFT_OUT = ['model.layers.0.input_layernorm', 'model.norm'];

const eagleShapeOptions = options('EagleHead', {
  /** Of the layer's MLP. Default: the model's. */
  intermediateSize: integer({ optional: true, min: 1 }),
  /** Of the layer's rotary positions. Default 10000. */
  ropeTheta: number({ default: 10_000, above: 0 }),
  /** Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of a new EAGLE head. */
export type EagleShape = Given<typeof eagleShapeOptions>;

/**
 * The autoregressive head of EAGLE (arXiv 2401.15077): one Llama decoder layer over features, which are the final, normalised
 * hidden states f_t of a causal language model, and the tokens that came after them,
 *
 *   f̂_(t+1) = layer(W [e(x_(t+1)); f_t] + b)_t,     p̂(x_(t+2)) = softmax(output layer of the model · f̂_(t+1))
 *
 * with the model's embedding e. It has no norm before the layer's attention and none at the end. In a folder as the reference
 * has it: `config.json` (of a Llama with one layer) and `model.safetensors` with `fc.*`, `layers.0.*` and `embed_tokens.weight`.
 */
export class EagleHead {
  readonly config: ModelConfig;
  readonly network: Network;
  /** By the file's names, without the embedding: what is trained. */
  readonly weights: Weights;
  /** [vocabulary, width]: stays as it is. */
  readonly embedding: Tensor;

  private constructor(network: Network, weights: Weights, embedding: Tensor) {
    this.config = network.config;
    this.network = network;
    this.weights = weights;
    this.embedding = embedding;
  }

  /**
   * A head to begin training with: a random layer over the features as they came, with the model's embedding.
   *
   * @throws OptionError
   */
  static async initialize(model: CausalLM, given: EagleShape = {}): Promise<EagleHead> {
    const { intermediateSize, ropeTheta, seed } = eagleShapeOptions.read(given);
    const { network } = model;
    const { hiddenSize: width, numAttentionHeads, maxPositionEmbeddings, vocabSize, initializerRange } = network.config;
    const own = networkOfHead(
      {
        ...{ model_type: 'llama', vocab_size: vocabSize, hidden_size: width, num_hidden_layers: 1 },
        intermediate_size: intermediateSize ?? network.config.intermediateSize,
        ...{ num_attention_heads: numAttentionHeads, num_key_value_heads: network.kvHeads, rope_theta: ropeTheta },
        ...{ max_position_embeddings: maxPositionEmbeddings, initializer_range: initializerRange },
        ...{ hidden_act: 'silu', rms_norm_eps: 1e-6, bos_token_id: null, eos_token_id: null },
      },
      network.engine,
    );
    const { name: embedding } = [...network.modules.values()].find(({ kind }) => kind === 'embedding')!;
    const layer = await initialWeights({ ...own, parameters: own.parameters.filter(isOfLayer) }, seed);
    const through = new Float32Array(2 * width * width);
    for (let i = 0; i < width; i++) through[i * 2 * width + width + i] = 1;
    const fc = { 'fc.weight': tensor(through, [width, 2 * width]), 'fc.bias': tensor(new Float32Array(width)) };
    await realize(Object.values(fc), { engine: own.engine });
    const named = Object.entries(layer).map(([name, weight]) => [name.replace(/^model\./, ''), weight]);
    return new EagleHead(own, { ...Object.fromEntries(named), ...fc }, model.weights[`${embedding}.weight`]!);
  }

  /** Reads a folder. `engine`: the model's. @throws InvalidModelFileError, UnsupportedArchitectureError, what `openSafetensors` throws */
  static async load(folder: string, engine?: Engine): Promise<EagleHead> {
    const path = join(folder, CONFIG_FILE);
    // Whether `fc` has a bias is seen in the weights.
    const { bias: _, ...json } = await readJsonObject(path);
    if (json.num_hidden_layers !== 1) {
      throw new InvalidModelFileError(path, `num_hidden_layers is ${json.num_hidden_layers}; an EAGLE head has one.`);
    }
    const network = networkOfHead(json, engine);
    const file = await openSafetensors(join(folder, WEIGHTS_FILE));
    const read = async (name: string): Promise<Tensor> => {
      const { data, shape } = await file.read(name, { as: 'float32' });
      return tensor(data, shape);
    };
    try {
      const weights: Record<string, Tensor> = { 'fc.weight': await read('fc.weight') };
      if (file.tensors.has('fc.bias')) weights['fc.bias'] = await read('fc.bias');
      for (const { name } of network.parameters.filter(isOfLayer)) {
        const own = name.replace(/^model\./, '');
        weights[own] = await read(own);
      }
      const left = [...file.tensors.keys()].find((name) => name !== EMBEDDING && !(name in weights));
      if (left !== undefined) {
        const problem = `${left} is none of an EAGLE head of the first kind, which is all that is read here.`;
        throw new InvalidModelFileError(file.path, problem);
      }
      return new EagleHead(network, weights, await read(EMBEDDING));
    } finally {
      await file.close();
    }
  }

  /** The same head with other numbers, as training makes them. */
  withWeights(weights: Weights): EagleHead {
    return new EagleHead(this.network, weights, this.embedding);
  }

  /** Writes a folder that the reference reads: both files or none. */
  async save(folder: string): Promise<void> {
    const all = Object.entries({ ...this.weights, [EMBEDDING]: this.embedding });
    const tensors = await Promise.all(
      all.map(async ([name, weight]) => ({
        ...{ name, shape: weight.shape, dtype: 'float32' as const },
        data: Float32Array.from(await weight.toArray()),
      })),
    );
    const config = { ...modelConfigToJson(this.config), bias: this.weights['fc.bias'] !== undefined };
    await writeAtomically(async (files) => {
      const text = `${JSON.stringify(config, null, 2)}\n`;
      await files.stage(join(folder, CONFIG_FILE), (write) => write(new TextEncoder().encode(text)));
      await stageSafetensors(files, join(folder, WEIGHTS_FILE), tensors);
    });
  }

  /** @throws PosttrainError for a head of another width or vocabulary than the model's, and for tensors that are missing */
  checkFits({ network: { config }, name }: CausalLM): void {
    const { hiddenSize: width, vocabSize } = config;
    const wanted: (readonly [string, readonly number[]])[] = [
      ['fc.weight', [width, 2 * width]],
      [EMBEDDING, [vocabSize, width]],
      ...this.network.parameters
        .filter(isOfLayer)
        .map(({ name: own, shape }) => [own.replace(/^model\./, ''), shape] as const),
    ];
    const given: Weights = { ...this.weights, [EMBEDDING]: this.embedding };
    for (const [own, shape] of wanted) {
      const found = given[own]?.shape;
      if (String(found) === String(shape)) continue;
      const is = found ? `has the shape [${found.join(', ')}]` : 'is missing';
      const problem = `${own} ${is}, and ${name} needs [${shape.join(', ')}]`;
      throw new PosttrainError('EAGLE_HEAD', `EagleHead: ${problem}; use the head that was trained for this model`);
    }
  }
}

const isOfLayer = ({ name }: { readonly name: string }): boolean =>
  name.startsWith('model.layers.') && !LEFT_OUT.some((norm) => name.startsWith(`${norm}.`));

const networkOfHead = (json: Readonly<Record<string, unknown>>, engine?: Engine): Network =>
  networkOf(parseModelConfig(json as Parameters<typeof parseModelConfig>[0]), undefined, engine);

/** What a network computes with that is `head`, with weights by the file's names. */
export function eagleWeights(weights: Weights, embedding: Tensor): Weights {
  const width = embedding.shape[1]!;
  return {
    ...Object.fromEntries(Object.entries(weights).map(([name, weight]) => [`model.${name}`, weight])),
    ...Object.fromEntries(LEFT_OUT.map((name) => [`${name}.weight`, ones([width])])),
    [`model.${EMBEDDING}`]: embedding,
  };
}

/** What makes a decoder of one layer the head over features [b, s, width]. */
export const eagleHooks = (weights: Weights, features: Tensor): LayerHooks => ({
  embedding: (tokens, layer) =>
    applyLinear(concat([layer.apply(tokens), features], 2), weights['fc.weight']!, weights['fc.bias'], false),
  norm: (x, layer) => (LEFT_OUT.includes(layer.name) ? x : layer.apply(x)),
});

/**
 * f̂ [b, s, width] of whole sequences: at t what the head says of the feature of token t, from the tokens up to it and the features
 * before it.
 *
 * @param tokens int32 [b, s], x_(t+1) at t; padded on the right
 * @param features f_t at t
 */
export function eagleStates(
  { network, embedding }: Pick<EagleHead, 'network' | 'embedding'>,
  weights: Weights,
  tokens: Tensor,
  features: Tensor,
): Tensor {
  return network.hidden(eagleWeights(weights, embedding), passInput(tokens), eagleHooks(weights, features));
}
