// Conversations to tokens and back, with the files of the exported folder.
import { Template } from '@huggingface/jinja';
import { Tokenizer } from '@huggingface/tokenizers';
import { fetchFile } from './generator.js';

/** Loads the tokenizer of a folder that `exportGenerator` wrote; `manifest` is its generator.json. */
export async function loadText(url, { chat }) {
  const tokenizer = new Tokenizer(
    await fetchFile(`${url}tokenizer.json`, 'json'),
    await fetchFile(`${url}tokenizer_config.json`, 'json'),
  );
  const template = chat && new Template(chat.template);
  return {
    /** What a user says becomes a conversation where the model has a chat template, and stays plain text otherwise. */
    encode(text) {
      const messages = [{ role: 'user', content: text }];
      const rendered = template?.render({ ...chat.specialTokens, messages, add_generation_prompt: true });
      return tokenizer.encode(rendered ?? text, { add_special_tokens: !template }).ids;
    },
    decode: (ids) => (ids.length === 0 ? '' : tokenizer.decode(ids, { skip_special_tokens: true })),
  };
}
