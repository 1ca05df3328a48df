import { join } from 'node:path';
import { ENCODER_TYPES } from '../config/index.js';
import { readJsonObjectIfPresent, readTextIfPresent } from '../files.js';

/** Whether a `model_type` is one of an encoder. */
export const isEncoder = (modelType: unknown): boolean => (ENCODER_TYPES as readonly unknown[]).includes(modelType);

/**
 * Whether a model folder holds what only embeds: a folder of sentence-transformers (`modules.json`), or an encoder.
 * @throws InvalidModelFileError when its config.json is no JSON object
 */
export async function isEmbeddingFolder(folder: string): Promise<boolean> {
  if (folder.toLowerCase().endsWith('.gguf')) return false;
  if ((await readTextIfPresent(join(folder, 'modules.json'))) !== undefined) return true;
  return isEncoder((await readJsonObjectIfPresent(join(folder, 'config.json')))?.model_type);
}
