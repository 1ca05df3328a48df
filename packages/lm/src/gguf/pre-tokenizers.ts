import type { JsonObject } from '../files.js';

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const words = (digits: string) => String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}|${rest}`;
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const before = String.raw`[^\r\n\p{L}\p{N}]?`;
const casedWith = (ending: string) => `${before}${upper}*${lower}+${ending}|${before}${upper}+${lower}*${ending}`;
const symbolsAndSpaces = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const split = (pattern: string): JsonObject => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});
const byteLevel = (useRegex: boolean): JsonObject => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: false,
  use_regex: useRegex,
});
const sequence = (...pretokenizers: JsonObject[]): JsonObject => ({ type: 'Sequence', pretokenizers });

/** How text is cut before byte-level BPE, and what else goes by the same name. */
export interface PreTokenization {
  readonly preTokenizer: JsonObject;
  readonly normalizer?: JsonObject;
  /** A piece that is a token is that token, whatever the merges. */
  readonly ignoreMerges?: boolean;
  /** Whether a begin token is added when the file does not say. */
  readonly addBos?: boolean;
}

const llama3: PreTokenization = {
  preTokenizer: sequence(split(words(String.raw`\p{N}{1,3}`)), byteLevel(false)),
  ignoreMerges: true,
  addBos: true,
};
const qwen2: PreTokenization = {
  normalizer: { type: 'NFC' },
  preTokenizer: sequence(split(words(String.raw`\p{N}`)), byteLevel(false)),
};

/**
 * By `tokenizer.ggml.pre`, which names one of the patterns that llama.cpp has; the patterns are those of the models'
 * own `tokenizer.json`.
 */
export const PRE_TOKENIZATIONS: Readonly<Record<string, PreTokenization>> = {
  'gpt-2': { preTokenizer: byteLevel(true) },
  'llama-bpe': llama3,
  llama3,
  'llama-v3': llama3,
  qwen2,
  'deepseek-r1-qwen': qwen2,
  smollm: { preTokenizer: sequence({ type: 'Digits', individual_digits: true }, byteLevel(true)) },
  // OLMo 2 and Phi-4.
  dbrx: { ...llama3, ignoreMerges: false, addBos: false },
  // Phi-4-mini.
  'gpt-4o': {
    preTokenizer: sequence(split(`${casedWith(`${contractions}?`)}|\\p{N}{1,3}|${symbolsAndSpaces}`), byteLevel(false)),
  },
  tekken: {
    preTokenizer: sequence(split(`${casedWith('')}|\\p{N}|${symbolsAndSpaces}`), byteLevel(false)),
    ignoreMerges: true,
    addBos: true,
  },
};
