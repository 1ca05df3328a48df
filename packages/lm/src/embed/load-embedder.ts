import { join } from 'node:path';
import { custom, options as declare, type Given } from '@posttrain/interfaces';
import { readJsonObject } from '../files.js';
import { type DownloadModelOptions, resolveModelFolder } from '../hub/index.js';
import { CausalLM } from '../model/causal-lm.js';
import { BertEncoder } from './bert-encoder.js';
import { isEncoder } from './embedding-folder.js';
import { embedderShape, LocalEmbedder } from './local-embedder.js';
import { readSentenceTransformersFolder } from './sentence-transformers.js';

const loadEmbedderOptions = declare('loadEmbedder', {
  ...embedderShape,
  /** For a model of the hub. */
  download: custom<DownloadModelOptions>()('an object', (value) => typeof value === 'object' && value !== null, {
    default: {},
  }),
});
/** Options of `loadEmbedder`: those of the embedder, and of the download. */
export type LoadEmbedderOptions = Given<typeof loadEmbedderOptions>;

/**
 * Loads an embedding model by its folder, or by its name on the hub: a sentence-transformers folder (`modules.json`), whose
 * pooling, normalisation, limit and prompt are the defaults of the options, or a plain encoder or causal model. Of
 * sentence-transformers it differs in what it does with texts that are too long: see `truncate`.
 *
 * @throws InvalidModelFileError for a folder with modules other than Transformer, Pooling and Normalize
 */
export async function loadEmbedder(nameOrFolder: string, options: LoadEmbedderOptions = {}): Promise<LocalEmbedder> {
  const { download, ...rest } = loadEmbedderOptions.read(options);
  const folder = await resolveModelFolder(nameOrFolder, download);
  const described = await readSentenceTransformersFolder(folder);
  const modelFolder = described?.modelFolder ?? folder;
  const { model_type: modelType } = await readJsonObject(join(modelFolder, 'config.json'));
  const model = isEncoder(modelType) ? await BertEncoder.load(modelFolder) : await CausalLM.load(modelFolder);
  if (!described) return new LocalEmbedder(model, rest);
  const { pooling, normalize, prompt, maxTokens, lowercase } = described;
  return new LocalEmbedder(model, {
    ...{ pooling, normalize, prompt, ...(maxTokens !== undefined && { maxTokens }), ...rest },
    prepare: (text) => (lowercase ? text.trim().toLowerCase() : text.trim()),
  });
}
