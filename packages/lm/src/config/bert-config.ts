import type { JsonObject } from '../files.js';
import { ACTIVATIONS, type HiddenActivation, parseLayers } from './common-config.js';
import { Fields } from './fields.js';

/** The `model_type`s of encoders that are BERT, with positions counted from elsewhere or not. */
const BERT_TYPES = ['bert', 'roberta', 'xlm-roberta'] as const;

/** A BERT encoder (arXiv 1810.04805), RoBERTa (arXiv 1907.11692) or XLM-RoBERTa (arXiv 1911.02116). Sizes are numbers of elements. */
export interface BertConfig {
  readonly modelType: (typeof BERT_TYPES)[number];
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Tokens that a text may have. */
  readonly maxPositionEmbeddings: number;
  /**
   * Of RoBERTa: the id of padding, p. Its table of positions has p + 1 rows before that of the first position; a padding token inside a
   * text has row p, and no position is counted for it.
   */
  readonly paddedFrom?: number;
  /** Kinds of segments; text is all of kind 0 here. */
  readonly typeVocabSize: number;
  readonly hiddenAct: HiddenActivation;
  readonly layerNormEps: number;
}

/**
 * Parses a `config.json` of `model_type` bert, roberta or xlm-roberta with the defaults of transformers. Dropout is not read.
 *
 * @param path named in errors
 * @throws InvalidModelFileError
 */
export function parseBertConfig(json: JsonObject, path = 'config.json'): BertConfig {
  const fields = new Fields(path, json);
  const modelType = fields.oneOf('model_type', BERT_TYPES);
  fields.oneOf('position_embedding_type', ['absolute'], 'absolute');
  if (fields.boolean('is_decoder', false)) fields.fail('is_decoder', 'false (an encoder)');
  if (fields.raw('quantization_config') !== undefined) fields.fail('quantization_config', 'absent for an encoder');
  const hiddenSize = fields.size('hidden_size', 768);
  const numAttentionHeads = fields.size('num_attention_heads', 12);
  if (hiddenSize % numAttentionHeads !== 0) {
    fields.fail('hidden_size', `a multiple of num_attention_heads (${numAttentionHeads})`);
  }
  const isBert = modelType === 'bert';
  const padding = isBert || !fields.has('pad_token_id') ? 1 : fields.tokenId('pad_token_id');
  if (padding === undefined) return fields.fail('pad_token_id', 'a token id, since positions are counted from it');
  const rows = fields.size('max_position_embeddings', 512);
  const tokens = isBert ? rows : rows - padding - 1;
  if (tokens < 1) fields.fail('max_position_embeddings', `more than pad_token_id + 1 (${padding + 1})`);
  return {
    modelType,
    vocabSize: fields.size('vocab_size', 30522),
    hiddenSize,
    intermediateSize: fields.size('intermediate_size', 3072),
    numHiddenLayers: parseLayers(fields, 12),
    numAttentionHeads,
    maxPositionEmbeddings: tokens,
    ...(!isBert && { paddedFrom: padding }),
    typeVocabSize: fields.size('type_vocab_size', 2),
    hiddenAct: fields.oneOf('hidden_act', ACTIVATIONS, 'gelu'),
    layerNormEps: fields.positive('layer_norm_eps', 1e-12),
  };
}
