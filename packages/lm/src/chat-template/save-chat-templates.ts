import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChatTemplate } from './chat-template.js';

/** Writes the templates where `ChatTemplate.load` and `transformers` look first. */
export async function saveChatTemplates(folder: string, { templates }: ChatTemplate): Promise<void> {
  const { default: main, ...others } = templates;
  if (main !== undefined) await writeFile(join(folder, 'chat_template.jinja'), main);
  if (Object.keys(others).length === 0) return;
  await mkdir(join(folder, 'additional_chat_templates'));
  for (const [name, template] of Object.entries(others)) {
    await writeFile(join(folder, 'additional_chat_templates', `${name}.jinja`), template);
  }
}
