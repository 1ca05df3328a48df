import { currentEngine } from '@posttrain/core-tensor';
import { assertKnownOptions, assertPath } from '@posttrain/interfaces';
import { ChatTemplate } from '../chat-template/index.js';
import { saveChatTemplates } from '../chat-template/save-chat-templates.js';
import { type GenerationConfig, loadModelConfig, type ModelConfig, saveGenerationConfig } from '../config/index.js';
import { DOWNLOAD_OPTIONS } from '../hub/download-model.js';
import { type DownloadModelOptions, resolveModelFolder } from '../hub/index.js';
import { Tokenizer } from '../tokenizer/index.js';
import type { Weights } from './layers.js';
import { LOAD_HINTS } from './load-hints.js';
import type { Network } from './network.js';
import { type LoadWeightsOptions, loadWeights, type SaveWeightsOptions, saveWeights } from './weights.js';

/** What a model folder holds. */
interface ModelFiles {
  readonly config: ModelConfig;
  readonly network: Network;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate | undefined;
}

/** The folder of a model that is named by it or by its name on the hub, and the options of loading what is in it. */
export async function pretrainedFolder(
  where: string,
  nameOrFolder: string,
  given: DownloadModelOptions & LoadWeightsOptions,
): Promise<{ readonly folder: string; readonly options: LoadWeightsOptions }> {
  const known = [...DOWNLOAD_OPTIONS, 'quantization', 'longContext', 'engine'];
  assertKnownOptions(where, given, known, { hints: LOAD_HINTS });
  const { quantization, longContext, engine = currentEngine(), ...download } = given;
  const options = {
    engine,
    ...(quantization !== undefined && { quantization }),
    ...(longContext !== undefined && { longContext }),
  };
  return { folder: await resolveModelFolder(nameOrFolder, download), options };
}

/**
 * Loads a Hugging Face folder, one file after the other and the large one last: what is wrong with it is found soon and always
 * the same. `readMore` refuses a config, and reads what only its kind of model has.
 */
export async function loadModelFiles<More extends object>(
  folder: string,
  options: LoadWeightsOptions,
  readMore: (config: ModelConfig) => Promise<More>,
): Promise<ModelFiles & More & { readonly name: string }> {
  const more = await readMore(await loadModelConfig(folder));
  const tokenizer = await Tokenizer.load(folder);
  const chatTemplate = await ChatTemplate.load(tokenizer);
  return { ...more, ...(await loadWeights(folder, options)), tokenizer, chatTemplate, name: folder };
}

/** Writes a folder that `loadModelFiles` and `transformers` load: all of it, or, after an error, what was there before. */
export async function saveModelFiles(
  where: string,
  folder: string,
  model: ModelFiles & { readonly generationConfig?: GenerationConfig | undefined },
  options: SaveWeightsOptions,
): Promise<void> {
  assertPath(where, 'folder', folder);
  const { config, weights, tokenizer, chatTemplate, generationConfig, network } = model;
  const writeOthers = async (staging: string) => {
    await tokenizer.save(staging);
    if (chatTemplate) await saveChatTemplates(staging, chatTemplate);
    if (generationConfig) await saveGenerationConfig(staging, generationConfig);
  };
  await saveWeights(folder, config, weights, options, writeOthers, network);
}
