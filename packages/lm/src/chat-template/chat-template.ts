import type { Tokenizer } from '../tokenizer/index.js';
import { ChatRenderer } from './chat-renderer.js';
import { loadChatTemplates } from './load-chat-templates.js';

/** Turns conversations into text and tokens with a model's Jinja chat template, as `apply_chat_template` does. */
export class ChatTemplate extends ChatRenderer {
  /** The templates of the folder `tokenizer` was loaded from; undefined when it has none (a base model). */
  static async load(tokenizer: Tokenizer): Promise<ChatTemplate | undefined> {
    const templates = await loadChatTemplates(tokenizer.folder ?? '', tokenizer.config);
    return Object.keys(templates).length === 0 ? undefined : new ChatTemplate(tokenizer, templates);
  }
}
