import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChatMessage } from '@posttrain/interfaces';

export const tokenizerGoldens = join(import.meta.dirname, '../../../../goldens/tokenizers');
export const tokenizerKinds = ['byte-level-bpe', 'sentencepiece-bpe', 'unigram'] as const;

/** `expected.json` and `chat.json`; `goldens/README.md` says what each field is. */
export interface TokenizerGolden {
  readonly vocab_size: number;
  readonly special_ids: Readonly<Record<string, number>>;
  readonly special_flag_ids: readonly number[];
  readonly encode: readonly {
    readonly text: string;
    readonly ids: number[];
    readonly ids_no_special: number[];
    readonly tokens_no_special: string[];
    readonly decoded: string;
    readonly decoded_skip_special: string;
    readonly decoded_no_special: string;
  }[];
  readonly decode: readonly {
    readonly ids: number[];
    readonly decoded: string;
    readonly decoded_skip_special: string;
  }[];
  readonly templates: Readonly<Record<string, string>>;
  readonly chat: readonly {
    readonly name: string;
    readonly messages: ChatMessage[];
    readonly template: string | null;
    readonly options: Readonly<Record<string, unknown>>;
    readonly error?: string;
    readonly rendered?: string;
    readonly ids?: number[];
    readonly assistant_mask?: number[];
  }[];
}

export function readTokenizerGolden(kind: string): TokenizerGolden {
  const read = (file: string) => JSON.parse(readFileSync(join(tokenizerGoldens, kind, file), 'utf8'));
  return { ...read('expected.json'), ...read('chat.json') };
}
