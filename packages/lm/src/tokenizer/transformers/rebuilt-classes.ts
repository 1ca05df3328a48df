import { Fields, shown, TokenizerComponentError } from '../fields.js';
import { PLAIN } from './tokenizer-class.js';

type Json = Readonly<Record<string, unknown>>;

/** What a class of transformers makes of the vocabulary and the merges of tokenizer.json, whatever else stands there. */
export interface RebuiltClass {
  /** Type of model that the vocabulary is for. */
  readonly model: 'BPE' | 'WordPiece';
  /** Named special tokens where the configuration does not name them. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Normalizer, pre-tokenizer, decoder, and what the model has beside vocabulary and merges. */
  build(options: Fields, special: (role: string) => string | null): Json;
  /** The post-processor, where the class does not take the file's: `template` of special tokens before and after. */
  readonly around?: readonly [before: readonly string[], after: readonly string[]];
  /** Named special tokens are added anew, without the flags they have in the file. */
  readonly resetsSpecialTokens?: boolean;
}

const SPACE_MARK = '\u2581';
const byteLevel = (addPrefixSpace: boolean, useRegex = true): Json => ({
  type: 'ByteLevel',
  add_prefix_space: addPrefixSpace,
  trim_offsets: true,
  use_regex: useRegex,
});
const plainBpe: Json = { fuse_unk: false, byte_fallback: false, continuing_subword_prefix: '', end_of_word_suffix: '' };
const unmark: Json = { type: 'Replace', pattern: { String: SPACE_MARK }, content: ' ' };
const byteFallback: readonly Json[] = [unmark, { type: 'ByteFallback' }, { type: 'Fuse' }];
const nfc: Json = { type: 'NFC' };
const endOfText = '<|endoftext|>';

const gpt2: RebuiltClass = {
  model: 'BPE',
  specialTokens: { unk_token: endOfText, bos_token: endOfText, eos_token: endOfText },
  build: (options) => ({
    normalizer: null,
    pre_tokenizer: byteLevel(options.boolean('add_prefix_space', false)),
    decoder: byteLevel(true),
    model: plainBpe,
  }),
};

const qwen = (pattern: string, resetsSpecialTokens: boolean): RebuiltClass => ({
  model: 'BPE',
  specialTokens: { unk_token: endOfText, eos_token: endOfText, pad_token: endOfText },
  build: (options) => ({
    normalizer: nfc,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
        byteLevel(options.boolean('add_prefix_space', false), false),
      ],
    },
    decoder: byteLevel(true),
    model: plainBpe,
  }),
  resetsSpecialTokens,
});

const REBUILT: Readonly<Record<string, RebuiltClass>> = {
  LlamaTokenizer: {
    model: 'BPE',
    specialTokens: { unk_token: '<unk>', bos_token: '<s>', eos_token: '</s>' },
    build: (options) => {
      const prefix = options.boolean('add_prefix_space', true);
      const scheme = !prefix ? 'never' : options.boolean('legacy', false) ? 'always' : 'first';
      const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
      return {
        normalizer: null,
        pre_tokenizer: { type: 'Metaspace', replacement: SPACE_MARK, prepend_scheme: scheme, split: false },
        decoder: { type: 'Sequence', decoders: [...byteFallback, ...(prefix ? [strip] : [])] },
        model: { fuse_unk: true, byte_fallback: true },
      };
    },
  },
  GemmaTokenizer: {
    model: 'BPE',
    specialTokens: {
      unk_token: '<unk>',
      bos_token: '<bos>',
      eos_token: '<eos>',
      pad_token: '<pad>',
      mask_token: '<mask>',
    },
    build: (_, special) => ({
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: SPACE_MARK },
      pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
      decoder: { type: 'Sequence', decoders: byteFallback },
      model: { fuse_unk: true, byte_fallback: true, unk_token: special('unk_token') ?? 'None' },
    }),
  },
  Qwen2Tokenizer: qwen(
    String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    true,
  ),
  Qwen3_5Tokenizer: qwen(
    String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    false,
  ),
  GPT2Tokenizer: gpt2,
  CodeGenTokenizer: gpt2,
  GPTNeoXTokenizer: {
    ...gpt2,
    specialTokens: { ...gpt2.specialTokens, pad_token: '<|padding|>' },
    build: (options, special) => ({ ...gpt2.build(options, special), normalizer: nfc }),
    around: [[], []],
  },
  CohereTokenizer: {
    model: 'BPE',
    specialTokens: {
      unk_token: '<UNK>',
      bos_token: '<BOS_TOKEN>',
      eos_token: '<|END_OF_TURN_TOKEN|>',
      pad_token: '<PAD>',
      cls_token: '<CLS>',
      sep_token: '<SEP>',
      mask_token: '<MASK_TOKEN>',
    },
    build: (options) => ({
      normalizer: nfc,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Digits', individual_digits: true },
          byteLevel(options.boolean('add_prefix_space', false)),
        ],
      },
      decoder: byteLevel(true),
      model: plainBpe,
    }),
  },
  RobertaTokenizer: {
    model: 'BPE',
    specialTokens: {
      bos_token: '<s>',
      eos_token: '</s>',
      sep_token: '</s>',
      cls_token: '<s>',
      unk_token: '<unk>',
      pad_token: '<pad>',
      mask_token: '<mask>',
    },
    build: gpt2.build,
    around: [['cls_token'], ['sep_token']],
  },
  BertTokenizer: {
    model: 'WordPiece',
    specialTokens: {
      unk_token: '[UNK]',
      sep_token: '[SEP]',
      pad_token: '[PAD]',
      cls_token: '[CLS]',
      mask_token: '[MASK]',
    },
    build: (options, special) => ({
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: options.boolean('tokenize_chinese_chars', true),
        strip_accents: options.raw('strip_accents') === undefined ? null : options.boolean('strip_accents'),
        lowercase: options.boolean('do_lower_case', true),
      },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
      model: {
        unk_token: special('unk_token') ?? 'None',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
      },
    }),
    around: [['cls_token'], ['sep_token']],
  },
};

/** The class by name; undefined for the one that takes tokenizer.json as it is. @throws TokenizerComponentError */
export function rebuiltClass(name: string): RebuiltClass | undefined {
  if (name === PLAIN) return undefined;
  if (Object.hasOwn(REBUILT, name)) return REBUILT[name];
  throw new TokenizerComponentError(
    `tokenizer_class ${JSON.stringify(name)}`,
    `is a class of transformers that does not take tokenizer.json as it is, and is not supported; supported are ` +
      `${Object.keys(REBUILT).join(', ')}. Write "tokenizer_class": "${PLAIN}" to take the file as it is.`,
  );
}

/** tokenizer.json as the class makes it; added tokens come from elsewhere. */
export function rebuild(
  made: RebuiltClass,
  tokenizer: Json,
  config: Json,
  special: (role: string) => string | null,
): Json {
  const fields = new Fields(tokenizer, 'tokenizer.json');
  const model = fields.object('model');
  const type = model.raw('type') ?? made.model;
  if (type !== made.model) {
    throw new TokenizerComponentError(
      'its model',
      `is of type ${shown(type)}; its tokenizer_class makes ${made.model} of it, which is not supported.`,
    );
  }
  const parts = made.build(new Fields(config, 'tokenizer_config.json'), special);
  const vocabulary =
    made.model === 'BPE'
      ? { vocab: model.raw('vocab'), merges: model.raw('merges') ?? [] }
      : { vocab: model.raw('vocab') };
  return {
    version: '1.0',
    post_processor: fields.raw('post_processor') ?? null,
    ...parts,
    added_tokens: [],
    model: { type: made.model, ...(parts.model as Json), ...vocabulary },
  };
}
