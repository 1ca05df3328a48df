import { join } from 'node:path';
import { readJsonObjectIfPresent, readTextIfPresent } from '../files.js';

/**
 * Whether a model folder holds what only embeds: a folder of sentence-transformers (`modules.json`), or a BERT.
 * @throws InvalidModelFileError when its config.json is no JSON object
 */
export async function isEmbeddingFolder(folder: string): Promise<boolean> {
  if (folder.toLowerCase().endsWith('.gguf')) return false;
  if ((await readTextIfPresent(join(folder, 'modules.json'))) !== undefined) return true;
  return (await readJsonObjectIfPresent(join(folder, 'config.json')))?.model_type === 'bert';
}
