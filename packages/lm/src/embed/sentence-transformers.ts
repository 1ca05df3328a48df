import { join } from 'node:path';
import { Fields } from '../config/fields.js';
import {
  InvalidModelFileError,
  isJsonObject,
  type JsonObject,
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
}

const POOLING_KEYS: Readonly<Record<string, Pooling | undefined>> = {
  pooling_mode_cls_token: 'cls',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_max_tokens: 'max',
  pooling_mode_lasttoken: 'last',
};

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
  const limits = new Fields(
    join(modelFolder, 'sentence_bert_config.json'),
    (await readJsonObjectIfPresent(join(modelFolder, 'sentence_bert_config.json'))) ?? {},
  );
  return {
    modelFolder,
    pooling: await readPooling(join(folder, modules[1]!.path, 'config.json')),
    normalize: kinds.length === 3,
    maxTokens: limits.optionalSize('max_seq_length'),
    lowercase: limits.boolean('do_lower_case', false),
    prompt: await readDefaultPrompt(join(folder, 'config_sentence_transformers.json')),
  };
}

function parseModules(text: string, path: string): { readonly type: string; readonly path: string }[] {
  const fail = (problem: string, cause?: unknown): never => {
    throw new InvalidModelFileError(path, problem, { cause });
  };
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    fail(`is not JSON (${(cause as Error).message}).`, cause);
  }
  const isModule = (entry: unknown): entry is { type: string; path: string } =>
    isJsonObject(entry) && typeof entry.type === 'string' && typeof entry.path === 'string';
  if (!Array.isArray(list) || !list.every(isModule)) return fail('must be a list of modules with "type" and "path".');
  const outside = list.find((module) => module.path.split(/[/\\]/).includes('..') || /^([/\\]|\w:)/.test(module.path));
  if (outside) fail(`the path ${JSON.stringify(outside.path)} leaves the folder.`);
  return list;
}

async function readPooling(path: string): Promise<Pooling> {
  const config = await readJsonObject(path);
  const modes = Object.keys(config).filter((key) => key.startsWith('pooling_mode_') && config[key] === true);
  const pooling = modes.length === 1 ? POOLING_KEYS[modes[0]!] : undefined;
  if (pooling === undefined) {
    const supported = Object.keys(POOLING_KEYS).join(', ');
    throw new InvalidModelFileError(
      path,
      `has ${modes.join(', ') || 'no pooling mode'}; one of ${supported} must be true.`,
    );
  }
  if (config.include_prompt === false) {
    throw new InvalidModelFileError(path, '"include_prompt" false is not supported: the prompt counts.');
  }
  return pooling;
}

async function readDefaultPrompt(path: string): Promise<string> {
  const config: JsonObject = (await readJsonObjectIfPresent(path)) ?? {};
  const name = config.default_prompt_name;
  if (typeof name !== 'string') return '';
  const prompt = isJsonObject(config.prompts) ? config.prompts[name] : undefined;
  if (typeof prompt !== 'string') {
    throw new InvalidModelFileError(
      path,
      `"default_prompt_name" is ${JSON.stringify(name)}, but "prompts" has no such text.`,
    );
  }
  return prompt;
}
