import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidModelFileError, isJsonObject, type JsonObject, readTextIfPresent } from '../files.js';

/** Chat templates by name; a folder with a single one calls it `default`. */
export type ChatTemplates = Readonly<Record<string, string>>;

/**
 * The chat templates of a model folder, as `transformers` finds them: `chat_template.jinja` (and further ones in
 * `additional_chat_templates/`) before the `chat_template` of `tokenizer_config.json`, which is a text or a list of
 * `{ name, template }`. Empty when the folder has none.
 *
 * @throws InvalidModelFileError when `chat_template` is neither
 */
export async function loadChatTemplates(folder: string, tokenizerConfig: JsonObject): Promise<ChatTemplates> {
  const templates: Record<string, string> = {};
  const file = await readTextIfPresent(join(folder, 'chat_template.jinja'));
  if (file !== undefined) templates.default = file;
  const additional = join(folder, 'additional_chat_templates');
  for (const name of await readdir(additional).catch(() => [] as string[])) {
    if (name.endsWith('.jinja')) templates[name.slice(0, -6)] = (await readTextIfPresent(join(additional, name)))!;
  }
  if (Object.keys(templates).length > 0) return templates;
  return parseChatTemplates(tokenizerConfig.chat_template ?? undefined, join(folder, 'tokenizer_config.json'));
}

/** Parses the `chat_template` field of `tokenizer_config.json`. */
export function parseChatTemplates(value: unknown, path: string): ChatTemplates {
  if (value === undefined) return {};
  if (typeof value === 'string') return { default: value };
  const named = (entry: unknown): entry is { name: string; template: string } =>
    isJsonObject(entry) && typeof entry.name === 'string' && typeof entry.template === 'string';
  if (Array.isArray(value) && value.every(named)) {
    return Object.fromEntries(value.map(({ name, template }) => [name, template]));
  }
  throw new InvalidModelFileError(path, '"chat_template" must be a text or a list of { name, template }.');
}
