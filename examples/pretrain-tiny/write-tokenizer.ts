/**
 * Writes `tokenizer/tokenizer.json` and `tokenizer/tokenizer_config.json`: a character-level tokenizer in the Hugging
 * Face format (byte-level BPE without merges) over printable ASCII and the newline.
 *
 * Run: `npx tsx examples/pretrain-tiny/write-tokenizer.ts [folder]`
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** In id order, from 0. Padding has a token of its own, so it can never be taken for an end. */
export const SPECIAL_TOKENS = [
  '<|pad|>',
  '<|endoftext|>',
  '<|system|>',
  '<|user|>',
  '<|assistant|>',
  '<|end|>',
  '<|unk|>',
] as const;

/** Role token, content, `<|end|>`; the markers make the assistant's text and its `<|end|>` the trained part. */
export const CHAT_TEMPLATE = `{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{- '<|assistant|>' -}}{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}
{%- elif message['role'] == 'user' or message['role'] == 'system' -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- else -%}
{{- raise_exception('Unknown role ' + message['role'] + ': use system, user or assistant.') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}`;

/** Byte-level BPE writes the byte of a space as U+0120 and that of a newline as U+010A; other ASCII is itself. */
const alphabet = ['\u010a', '\u0120', ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))];

export function tokenizerFiles(): Readonly<Record<string, unknown>> {
  const vocab = Object.fromEntries([...SPECIAL_TOKENS, ...alphabet].map((token, id) => [token, id]));
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: SPECIAL_TOKENS.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: null,
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: '<|unk|>',
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab,
        merges: [],
      },
    },
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      model_max_length: 256,
      clean_up_tokenization_spaces: false,
      eos_token: '<|end|>',
      pad_token: '<|pad|>',
      unk_token: '<|unk|>',
      chat_template: CHAT_TEMPLATE,
    },
  };
}

export function writeTokenizer(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(tokenizerFiles())) {
    const path = join(folder, name);
    writeFileSync(`${path}.tmp`, `${JSON.stringify(content, null, 2)}\n`, { flush: true });
    renameSync(`${path}.tmp`, path);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  writeTokenizer(process.argv[2] ?? join(fileURLToPath(new URL('.', import.meta.url)), 'tokenizer'));
}
