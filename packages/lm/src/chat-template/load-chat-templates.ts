import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type JsonObject, readTextIfPresent } from '../files.js';
import { type ChatTemplates, parseChatTemplates } from './chat-templates.js';

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
