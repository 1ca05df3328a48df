import { join } from 'node:path';
import { type JsonObject, readJsonObject } from '../files.js';
import { ACTIVATIONS, type HiddenActivation, parseLayers } from './common-config.js';
import { Fields } from './fields.js';

/** A BERT encoder (arXiv 1810.04805). Sizes are numbers of elements. */
export interface BertConfig {
  readonly modelType: 'bert';
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly maxPositionEmbeddings: number;
  /** Kinds of segments; text is all of kind 0 here. */
  readonly typeVocabSize: number;
  readonly hiddenAct: HiddenActivation;
  readonly layerNormEps: number;
}

/** Reads `config.json` of a BERT folder. @throws InvalidModelFileError */
export async function loadBertConfig(folder: string): Promise<BertConfig> {
  const path = join(folder, 'config.json');
  return parseBertConfig(await readJsonObject(path), path);
}

/**
 * Parses a `config.json` of `model_type` bert with the defaults of transformers. Dropout is not read.
 *
 * @param path named in errors
 * @throws InvalidModelFileError
 */
export function parseBertConfig(json: JsonObject, path = 'config.json'): BertConfig {
  const fields = new Fields(path, json);
  fields.oneOf('model_type', ['bert']);
  fields.oneOf('position_embedding_type', ['absolute'], 'absolute');
  if (fields.boolean('is_decoder', false)) fields.fail('is_decoder', 'false (an encoder)');
  if (fields.raw('quantization_config') !== undefined) fields.fail('quantization_config', 'absent for an encoder');
  const hiddenSize = fields.size('hidden_size', 768);
  const numAttentionHeads = fields.size('num_attention_heads', 12);
  if (hiddenSize % numAttentionHeads !== 0) {
    fields.fail('hidden_size', `a multiple of num_attention_heads (${numAttentionHeads})`);
  }
  return {
    modelType: 'bert',
    vocabSize: fields.size('vocab_size', 30522),
    hiddenSize,
    intermediateSize: fields.size('intermediate_size', 3072),
    numHiddenLayers: parseLayers(fields, 12),
    numAttentionHeads,
    maxPositionEmbeddings: fields.size('max_position_embeddings', 512),
    typeVocabSize: fields.size('type_vocab_size', 2),
    hiddenAct: fields.oneOf('hidden_act', ACTIVATIONS, 'gelu'),
    layerNormEps: fields.positive('layer_norm_eps', 1e-12),
  };
}
