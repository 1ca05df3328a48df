import { join } from 'node:path';
import { custom, options as declare, type Given, PosttrainError, text } from '@posttrain/interfaces';
import { readJsonObject } from '../files.js';
import { type DownloadModelOptions, resolveModelFolder } from '../hub/index.js';
import { BertEncoder } from './bert-encoder.js';
import { loadCausalTrunk } from './causal-trunk.js';
import { isEncoder } from './embedding-folder.js';
import { embedderShape, LocalEmbedder } from './local-embedder.js';
import { readSentenceTransformersFolder } from './sentence-transformers.js';

const loadEmbedderOptions = declare('loadEmbedder', {
  ...embedderShape,
  /**
   * Which of the folder's prompts is written before every text: `query` for what is searched with, `document` for what is
   * searched, where a folder has them. Default: the one that the folder names as its default, else none.
   */
  promptName: text({ optional: true }),
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
 * sentence-transformers it (version 6, which keeps white space around a text) differs in what it does with texts that are too long: see `truncate`.
 *
 * @throws InvalidModelFileError for a folder with modules other than Transformer, Pooling and Normalize
 * @throws PosttrainError EMBEDDER for a `promptName` that the folder has no text for
 */
export async function loadEmbedder(nameOrFolder: string, options: LoadEmbedderOptions = {}): Promise<LocalEmbedder> {
  const { download, promptName, ...rest } = loadEmbedderOptions.read(options);
  const folder = await resolveModelFolder(nameOrFolder, download);
  const described = await readSentenceTransformersFolder(folder);
  const modelFolder = described?.modelFolder ?? folder;
  const named =
    promptName === undefined ? {} : { prompt: namedPrompt(folder, promptName, described?.prompts, rest.prompt) };
  const { model_type: modelType } = await readJsonObject(join(modelFolder, 'config.json'));
  const model = isEncoder(modelType) ? await BertEncoder.load(modelFolder) : await loadCausalTrunk(modelFolder);
  if (!described) return new LocalEmbedder(model, rest);
  const { pooling, normalize, prompt, maxTokens, lowercase } = described;
  return new LocalEmbedder(model, {
    ...{ pooling, normalize, prompt, ...(maxTokens !== undefined && { maxTokens }), ...rest, ...named },
    ...(lowercase && { prepare: (text: string) => text.toLowerCase() }),
  });
}

function namedPrompt(
  folder: string,
  name: string,
  prompts: ReadonlyMap<string, string> = new Map(),
  own: string | undefined,
): string {
  if (own !== undefined) throw new PosttrainError('EMBEDDER', 'loadEmbedder: give prompt or promptName, not both');
  const prompt = prompts.get(name);
  if (prompt !== undefined) return prompt;
  const known = [...prompts.keys()].map((one) => JSON.stringify(one)).join(', ');
  throw new PosttrainError(
    'EMBEDDER',
    `loadEmbedder: ${folder} has no prompt ${JSON.stringify(name)}; it has ${known || 'none'}. Give the text itself as prompt.`,
  );
}

/**
 * The prompt of a query for embedders that are told the task, as Qwen3-Embedding is (arXiv 2506.05176, section 2); documents have none.
 *
 * @param task one sentence in English: "Given a web search query, retrieve relevant passages that answer the query"
 */
export const instructedQuery = (task: string): string => `Instruct: ${task}\nQuery:`;
