// Conversations to tokens and back, with the files of the exported folder.
import { ChatRenderer, TextTokenizer } from '@posttrain/lm/text';
import { fetchFile } from './generator.js';

/** Loads the tokenizer of a folder that `exportGenerator` wrote; `manifest` is its generator.json. */
export async function loadText(url, { chat }) {
  const tokenizer = new TextTokenizer({
    tokenizer: await fetchFile(`${url}tokenizer.json`, 'json'),
    config: await fetchFile(`${url}tokenizer_config.json`, 'json'),
  });
  const template = chat && new ChatRenderer(tokenizer, chat.template);
  return {
    /** What a user says becomes a conversation where the model has a chat template, and stays plain text otherwise. */
    encode(text) {
      const messages = [{ role: 'user', content: text }];
      return template?.renderChat(messages, { addGenerationPrompt: true }).tokenIds ?? tokenizer.encode(text);
    },
    decode: (ids) => tokenizer.decode(ids, { skipSpecialTokens: true }),
  };
}
