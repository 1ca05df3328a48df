import { join } from 'node:path';
import { type JsonObject, readJsonObject } from '../files.js';
import { type BertConfig, parseBertConfig } from './bert-config.js';
import { type ModernBertConfig, parseModernBertConfig } from './modernbert-config.js';

/** The `model_type`s of encoders. */
export const ENCODER_TYPES = ['bert', 'roberta', 'xlm-roberta', 'modernbert'] as const;

/** An encoder, by `modelType`. */
export type EncoderConfig = BertConfig | ModernBertConfig;

/** Parses a `config.json` of a `model_type` in `ENCODER_TYPES`. @throws InvalidModelFileError */
export const parseEncoderConfig = (json: JsonObject, path = 'config.json'): EncoderConfig =>
  json.model_type === 'modernbert' ? parseModernBertConfig(json, path) : parseBertConfig(json, path);

/** Reads `config.json` of an encoder's folder. @throws InvalidModelFileError */
export async function loadEncoderConfig(folder: string): Promise<EncoderConfig> {
  const path = join(folder, 'config.json');
  return parseEncoderConfig(await readJsonObject(path), path);
}
