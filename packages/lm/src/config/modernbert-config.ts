import type { JsonObject } from '../files.js';
import { ACTIVATIONS, type HiddenActivation, type LayerType, parseLayers, parseLayerTypes } from './common-config.js';
import { Fields } from './fields.js';
import { type RopeConfig, readRope } from './rope-config.js';

/** ModernBERT (arXiv 2412.13663). Sizes are numbers of elements. */
export interface ModernBertConfig {
  readonly modelType: 'modernbert';
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Tokens that a text may have. */
  readonly maxPositionEmbeddings: number;
  readonly hiddenAct: HiddenActivation;
  readonly layerNormEps: number;
  readonly biases: { readonly norm: boolean; readonly attention: boolean; readonly mlp: boolean };
  /** One per layer: global attention, or local. */
  readonly layerTypes: readonly LayerType[];
  /** How far away, to either side, a token may be that a token of a local layer sees. */
  readonly localDistance: number;
  /** Rotary positions of global and of local layers. */
  readonly rope: RopeConfig;
  readonly localRope: RopeConfig;
}

/**
 * Parses a `config.json` of `model_type` modernbert with the defaults of transformers, in its names and those of transformers 4
 * (`global_rope_theta`, `local_rope_theta`, `global_attn_every_n_layers`). Dropout is not read.
 *
 * @throws InvalidModelFileError
 */
export function parseModernBertConfig(json: JsonObject, path = 'config.json'): ModernBertConfig {
  const fields = new Fields(path, json);
  const modelType = fields.oneOf('model_type', ['modernbert']);
  if (fields.raw('quantization_config') !== undefined) fields.fail('quantization_config', 'absent for an encoder');
  const hiddenSize = fields.size('hidden_size', 768);
  const numAttentionHeads = fields.size('num_attention_heads', 12);
  if (hiddenSize % (2 * numAttentionHeads) !== 0) {
    fields.fail('hidden_size', `an even multiple of num_attention_heads (${numAttentionHeads})`);
  }
  const headDim = fields.optionalSize('head_dim') ?? hiddenSize / numAttentionHeads;
  if (headDim !== hiddenSize / numAttentionHeads)
    fields.fail('head_dim', `${hiddenSize / numAttentionHeads}, or left out`);
  const numHiddenLayers = parseLayers(fields, 22);
  const maxPositionEmbeddings = fields.size('max_position_embeddings', 8192);
  if (fields.has('local_attention') && fields.raw('local_attention') === undefined) {
    fields.fail('local_attention', 'a positive integer');
  }
  const interval = fields.size('global_attn_every_n_layers', 3);
  const typeOf = (layer: number): LayerType => (layer % interval === 0 ? 'full_attention' : 'sliding_attention');
  return {
    modelType,
    vocabSize: fields.size('vocab_size', 50368),
    hiddenSize,
    intermediateSize: fields.size('intermediate_size', 1152),
    numHiddenLayers,
    numAttentionHeads,
    maxPositionEmbeddings,
    hiddenAct: fields.oneOf('hidden_activation', ACTIVATIONS, 'gelu'),
    layerNormEps: fields.positive('norm_eps', 1e-5),
    biases: {
      norm: fields.boolean('norm_bias', false),
      attention: fields.boolean('attention_bias', false),
      mlp: fields.boolean('mlp_bias', false),
    },
    layerTypes:
      parseLayerTypes(fields, numHiddenLayers) ?? Array.from({ length: numHiddenLayers }, (_, i) => typeOf(i)),
    // What transformers calls so is the distance, where a file says it, and half of the whole window.
    localDistance: fields.optionalSize('sliding_window') ?? Math.floor(fields.size('local_attention', 128) / 2),
    ...readRopes(fields, maxPositionEmbeddings),
  };
}

function readRopes(fields: Fields, context: number): Pick<ModernBertConfig, 'rope' | 'localRope'> {
  const path = `${fields.path} (rope parameters)`;
  const byType = new Fields(path, fields.object('rope_parameters') ?? {});
  for (const name of ['rope_theta', 'rope_type', 'type', 'factor']) {
    if (byType.has(name)) byType.fail(name, 'inside a layer type');
  }
  const scaling = fields.object('rope_scaling') ?? {};
  if ('type' in scaling && !('rope_type' in scaling)) {
    fields.fail('rope_scaling', 'an object with "rope_type": transformers passes over "type" here');
  }
  const of = (type: LayerType, rope_theta: number) =>
    readRope(new Fields(path, { rope_theta, ...byType.object(type), ...scaling }), context);
  return {
    rope: of('full_attention', fields.positive('global_rope_theta', 160000)),
    localRope: of('sliding_attention', fields.positive('local_rope_theta', 10000)),
  };
}
