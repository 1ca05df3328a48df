import type { JsonObject } from '../files.js';
import {
  ACTIVATIONS,
  type CommonConfig,
  decoderToJson,
  type HeadSizes,
  parseCommon,
  parseHeads,
  parseLayers,
} from './common-config.js';
import type { Fields } from './fields.js';
import { refuseOtherLayerTypes } from './refused-keys.js';
import { parseRopeConfig, type RopeConfig, ropeConfigToJson } from './rope-config.js';

/** OLMo 2 (arXiv 2501.00656). */
export interface Olmo2Config extends CommonConfig, HeadSizes {
  readonly modelType: 'olmo2';
  readonly rmsNormEps: number;
  readonly rope: RopeConfig;
  /** Biases of all four attention projections. */
  readonly attentionBias: boolean;
}

/** What transformers takes for absent keys. */
const OLMO2_DEFAULTS: JsonObject = { eos_token_id: 50279, pad_token_id: 1 };

export function parseOlmo2(given: Fields): Olmo2Config {
  const fields = given.withDefaults(OLMO2_DEFAULTS);
  refuseOtherLayerTypes(fields, 'full_attention');
  const heads = parseHeads(fields);
  const maxPositionEmbeddings = fields.size('max_position_embeddings', 2048);
  return {
    modelType: 'olmo2',
    ...parseCommon(fields, { ...heads, numHiddenLayers: parseLayers(fields), maxPositionEmbeddings }),
    ...heads,
    intermediateSize: fields.size('intermediate_size'),
    hiddenAct: fields.oneOf('hidden_act', ACTIVATIONS, 'silu'),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', false),
    rmsNormEps: fields.positive('rms_norm_eps', 1e-5),
    rope: parseRopeConfig(fields, maxPositionEmbeddings),
    attentionBias: fields.boolean('attention_bias', false),
  };
}

export const olmo2ToJson = (config: Olmo2Config): JsonObject => ({
  ...decoderToJson(config),
  ...ropeConfigToJson(config.rope),
  attention_bias: config.attentionBias,
});
