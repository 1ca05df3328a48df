import { InvalidModelFileError, isJsonObject } from '../json.js';

/** Chat templates by name; a folder with a single one calls it `default`. */
export type ChatTemplates = Readonly<Record<string, string>>;

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
