import { join } from 'node:path';
import { Fields } from '../config/fields.js';
import {
  InvalidModelFileError,
  isJsonObject,
  type JsonObject,
  parseJson,
  readJsonObject,
  readJsonObjectIfPresent,
  readTextIfPresent,
} from '../files.js';
import type { Pooling } from './pooling.js';

/** What a sentence-transformers folder says beside the model's own files. */
export interface SentenceTransformersFolder {
  /** The folder of config.json, weights and tokenizer. */
  readonly modelFolder: string;
  readonly pooling: Pooling;
  readonly normalize: boolean;
  /** Most tokens of a text, special tokens included; undefined: what the model can take. */
  readonly maxTokens: number | undefined;
  readonly lowercase: boolean;
  /** Written before every text unless the caller says otherwise. */
  readonly prompt: string;
  /** Texts to write before a text, by name: `query`, `document`. */
  readonly prompts: ReadonlyMap<string, string>;
}

/** By the values of `pooling_mode`, and by the switches of before. */
const POOLING_NAMES: Readonly<Record<string, Pooling>> = {
  ...{ cls: 'cls', mean: 'mean', max: 'max', lasttoken: 'last' },
  ...{ pooling_mode_cls_token: 'cls', pooling_mode_mean_tokens: 'mean' },
  ...{ pooling_mode_max_tokens: 'max', pooling_mode_lasttoken: 'last' },
};
const ALL_POOLING_KEYS = [
  ...['pooling_mode_cls_token', 'pooling_mode_max_tokens', 'pooling_mode_mean_tokens', 'pooling_mode_lasttoken'],
  ...['pooling_mode_mean_sqrt_len_tokens', 'pooling_mode_weightedmean_tokens'],
];
const POOLING_FILE_KEYS = [
  ...[...ALL_POOLING_KEYS, 'pooling_mode', 'include_prompt'],
  ...['word_embedding_dimension', 'embedding_dimension'],
];
/** The similarity is the caller's business. */
const PROMPT_FILE_KEYS = ['prompts', 'default_prompt_name', 'model_type', '__version__', 'similarity_fn_name'];
const LIMITS_FILE_KEYS = ['max_seq_length', 'do_lower_case', 'unpad_inputs'];
/** What sentence-transformers 6 writes of a model that takes texts, and gives their tokens' states. */
const USUAL: JsonObject = {
  transformer_task: 'feature-extraction',
  module_output_name: 'token_embeddings',
  modality_config: { text: { method: 'forward', method_output_name: 'last_hidden_state' } },
};
/** The first that is there counts, as in sentence-transformers. */
const LIMITS_FILES = [
  ...['sentence_bert_config.json', 'sentence_roberta_config.json', 'sentence_distilbert_config.json'],
  ...['sentence_camembert_config.json', 'sentence_albert_config.json', 'sentence_xlm-roberta_config.json'],
  'sentence_xlnet_config.json',
];

/**
 * Reads `modules.json` and the files it names; undefined when the folder has none. Modules: Transformer, Pooling (of one
 * kind) and Normalize, in this order.
 *
 * @throws InvalidModelFileError for any other module or pooling: they would change the embeddings
 */
export async function readSentenceTransformersFolder(folder: string): Promise<SentenceTransformersFolder | undefined> {
  const path = join(folder, 'modules.json');
  const text = await readTextIfPresent(path);
  if (text === undefined) return undefined;
  const modules = parseModules(text, path);
  const kinds = modules.map(({ type }) => type.slice(type.lastIndexOf('.') + 1));
  if (!/^Transformer Pooling( Normalize)?$/.test(kinds.join(' '))) {
    throw new InvalidModelFileError(
      path,
      `the modules ${kinds.join(', ')} are not supported; Transformer, Pooling and, if wanted, Normalize are.`,
    );
  }
  const modelFolder = join(folder, modules[0]!.path);
  return {
    modelFolder,
    pooling: await readPooling(join(folder, modules[1]!.path, 'config.json')),
    normalize: kinds.length === 3,
    ...(await readLimits(modelFolder)),
    ...(await readPrompts(join(folder, 'config_sentence_transformers.json'))),
  };
}

function parseModules(text: string, path: string): { readonly type: string; readonly path: string }[] {
  const fail = (problem: string): never => {
    throw new InvalidModelFileError(path, problem);
  };
  const list = parseJson(text, path);
  const isModule = (entry: unknown): entry is { type: string; path: string } =>
    isJsonObject(entry) && typeof entry.type === 'string' && typeof entry.path === 'string';
  if (!Array.isArray(list) || !list.every(isModule)) return fail('must be a list of modules with "type" and "path".');
  const outside = list.find((module) => module.path.split(/[/\\]/).includes('..') || /^([/\\]|\w:)/.test(module.path));
  if (outside) fail(`the path ${JSON.stringify(outside.path)} leaves the folder.`);
  return list;
}

/** By `pooling_mode`, or by the switches of before; without any of them it is the mean. */
async function readPooling(path: string): Promise<Pooling> {
  const config = await readJsonObject(path);
  refuseOthers(path, config, POOLING_FILE_KEYS);
  const fields = new Fields(path, config);
  if (!fields.boolean('include_prompt', true)) fields.fail('include_prompt', 'true (nothing else is supported)');
  const named = [fields.raw('pooling_mode') ?? []].flat();
  const modes = named.length > 0 ? named : ALL_POOLING_KEYS.filter((key) => fields.boolean(key, false));
  const mode: unknown = modes.length === 0 ? 'mean' : modes[0];
  const pooling = typeof mode === 'string' && Object.hasOwn(POOLING_NAMES, mode) ? POOLING_NAMES[mode] : undefined;
  if (pooling !== undefined && modes.length <= 1) return pooling;
  throw new InvalidModelFileError(
    path,
    `has ${modes.join(' and ')}; one of ${Object.keys(POOLING_NAMES).join(', ')} must be true, or named by pooling_mode.`,
  );
}

async function readPrompts(path: string): Promise<Pick<SentenceTransformersFolder, 'prompt' | 'prompts'>> {
  const config: JsonObject = (await readJsonObjectIfPresent(path)) ?? {};
  refuseOthers(path, config, PROMPT_FILE_KEYS);
  const fields = new Fields(path, config);
  fields.oneOf('model_type', ['SentenceTransformer'], 'SentenceTransformer');
  const isText = (entry: readonly [string, unknown]): entry is [string, string] => typeof entry[1] === 'string';
  const prompts = new Map(Object.entries(fields.object('prompts') ?? {}).filter(isText));
  const name = fields.raw('default_prompt_name');
  if (name === undefined) return { prompt: '', prompts };
  const prompt = typeof name === 'string' ? prompts.get(name) : undefined;
  if (prompt !== undefined) return { prompt, prompts };
  throw new InvalidModelFileError(
    path,
    `"default_prompt_name" is ${JSON.stringify(name)}, but "prompts" has no such text.`,
  );
}

async function readLimits(modelFolder: string): Promise<Pick<SentenceTransformersFolder, 'maxTokens' | 'lowercase'>> {
  for (const name of LIMITS_FILES) {
    const path = join(modelFolder, name);
    const config = await readJsonObjectIfPresent(path);
    if (!config) continue;
    const isUsual = (key: string) => JSON.stringify(config[key]) === JSON.stringify(USUAL[key]);
    refuseOthers(path, config, [...LIMITS_FILE_KEYS, ...Object.keys(USUAL).filter(isUsual)]);
    const fields = new Fields(path, config);
    return {
      maxTokens: fields.optionalSize('max_seq_length'),
      lowercase: fields.boolean('do_lower_case', false),
    };
  }
  return { maxTokens: undefined, lowercase: false };
}

/** Refuses keys that might change the embeddings: what is not known here and says something. */
function refuseOthers(path: string, config: JsonObject, known: readonly string[]): void {
  const says = (value: unknown) => value !== null && value !== false && !['{}', '[]'].includes(JSON.stringify(value));
  const unknown = Object.keys(config).filter((key) => !known.includes(key) && says(config[key]));
  if (unknown.length === 0) return;
  throw new InvalidModelFileError(path, `${unknown.map((key) => `"${key}"`).join(', ')} is not supported.`);
}
