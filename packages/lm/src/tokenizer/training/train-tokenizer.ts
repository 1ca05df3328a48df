import { custom, type Given, integer, isPlainObject, listOf, oneOf, options, text } from '@posttrain/interfaces';
import type { JsonObject } from '../../json.js';
import { CHARACTER_OF_BYTE } from '../byte-level.js';
import { assertText, TokenizerTrainingError } from '../errors.js';
import { TokenizerPipeline } from '../pipeline.js';
import { Tokenizer } from '../tokenizer.js';
import { trainBpe } from './train-bpe.js';
import { trainUnigram } from './train-unigram.js';
import { trainWordPiece } from './train-word-piece.js';

/** Parts of a tokenizer.json beside the model and the added tokens. */
const PARTS = ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder'] as const;
type Parts = Readonly<Partial<Record<(typeof PARTS)[number], unknown>>>;

const trainTokenizerOptions = options('trainTokenizer', {
  /**
   * `bpe`: byte-level, as GPT-2 and Llama 3 have it, which knows every text. `unigram`: with `▁` for spaces, as T5 and ALBERT have
   * it. `wordpiece`: lower-cased words with `##`, as BERT has it. Default `bpe`.
   */
  model: oneOf(['bpe', 'unigram', 'wordpiece'], { default: 'bpe' }),
  /** Tokens at most, with special tokens. */
  vocabSize: integer({ min: 1 }),
  /** The end of a text. Default `<|endoftext|>`, of unigram `</s>`, of wordpiece `[SEP]`. */
  eosToken: text({ optional: true }),
  /** What stands for what no token is of. Default none for `bpe`, of unigram `<unk>`, of wordpiece `[UNK]`. */
  unkToken: text({ optional: true }),
  /** Padding. Default: the end token. */
  padToken: text({ optional: true }),
  /** Further tokens that no text is cut into, such as `<|im_start|>`. Default: none. */
  specialTokens: listOf(text({}), { default: [] as readonly string[] }),
  /** How often a pair must occur to be joined; not of unigram. Default 2. */
  minFrequency: integer({ default: 2, min: 0 }),
  /** Parts of tokenizer.json in the place of those of the model: `normalizer`, `pre_tokenizer`, `post_processor`, `decoder`; null is none. */
  parts: custom<Parts>()(`an object with ${PARTS.join(', ')}`, (value) => isPlainObject(value) && isParts(value), {
    optional: true,
  }),
});
/** Options of `trainTokenizer`. */
export type TrainTokenizerOptions = Given<typeof trainTokenizerOptions>;

const isParts = (value: object): boolean =>
  Object.keys(value).every((key) => (PARTS as readonly string[]).includes(key));

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
const METASPACE = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };

/** What each kind of tokenizer is made of. */
const KINDS = {
  bpe: {
    eos: '<|endoftext|>',
    unk: undefined,
    parts: { pre_tokenizer: BYTE_LEVEL, decoder: BYTE_LEVEL },
  },
  unigram: {
    eos: '</s>',
    unk: '<unk>',
    parts: { normalizer: { type: 'NFKC' }, pre_tokenizer: METASPACE, decoder: METASPACE },
  },
  wordpiece: {
    eos: '[SEP]',
    unk: '[UNK]',
    parts: {
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: true,
        strip_accents: null,
        lowercase: true,
      },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    },
  },
} as const;

/**
 * Trains a tokenizer on texts: byte-pair encoding, unigram or WordPiece, with the vocabulary that the `tokenizers` library learns. Texts
 * are read once and counted by words, so they need not fit memory; their words must. `save` writes a folder that `Tokenizer.load` and
 * transformers read.
 *
 * @param texts as many as there are
 * @throws OptionError; TokenizerTrainingError where there is no text, or more characters than `vocabSize`
 */
export async function trainTokenizer(
  texts: Iterable<string> | AsyncIterable<string>,
  given: TrainTokenizerOptions,
): Promise<Tokenizer> {
  const { model, vocabSize, specialTokens, minFrequency, ...settings } = trainTokenizerOptions.read(given);
  const kind = KINDS[model];
  const eos = settings.eosToken ?? kind.eos;
  const unk = settings.unkToken ?? kind.unk;
  const pad = settings.padToken ?? eos;
  const parts: Parts = { ...kind.parts, ...settings.parts };
  const special = [...new Set([...(unk === undefined ? [] : [unk]), eos, pad, ...specialTokens])];
  const words = await countWords(texts, parts);
  const learnt = learn();
  if (special.length >= vocabSize) {
    throw new TokenizerTrainingError(
      `vocabSize is ${vocabSize}, and there are ${special.length} special tokens; raise it.`,
    );
  }
  const tokenizer: JsonObject = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    })),
    ...Object.fromEntries(PARTS.map((part) => [part, parts[part] ?? null])),
    model: learnt,
  };
  return new Tokenizer({
    tokenizer,
    config: {
      ...{ tokenizer_class: 'PreTrainedTokenizerFast', clean_up_tokenization_spaces: false },
      ...{ eos_token: eos, pad_token: pad, ...(unk !== undefined && { unk_token: unk }) },
      ...(specialTokens.length > 0 && { additional_special_tokens: [...specialTokens] }),
    },
  });

  function learn(): JsonObject {
    if (model === 'unigram') {
      const { pieces, unkId } = trainUnigram(words, {
        vocabSize,
        specialTokens: special,
        ...(unk !== undefined && { unkToken: unk }),
      });
      return { type: 'Unigram', unk_id: unkId ?? null, vocab: pieces, byte_fallback: false };
    }
    const shared = { vocabSize, minFrequency, specialTokens: special };
    const idsOf = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]));
    if (model === 'wordpiece') {
      const vocab = idsOf(trainWordPiece(words, shared));
      return {
        type: 'WordPiece',
        unk_token: unk,
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
        vocab,
      };
    }
    const { tokens, merges } = trainBpe(words, { ...shared, initialAlphabet: CHARACTER_OF_BYTE });
    return {
      ...{
        type: 'BPE',
        dropout: null,
        unk_token: unk ?? null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
      },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: idsOf(tokens), merges },
    };
  }
}

/** How often each word occurs that the model of a tokenizer with these parts is given. */
async function countWords(
  texts: Iterable<string> | AsyncIterable<string>,
  { normalizer = null, pre_tokenizer = null }: Parts,
): Promise<Map<string, number>> {
  const model = { type: 'BPE', vocab: {}, merges: [] };
  const pipeline = new TokenizerPipeline({ version: '1.0', normalizer, pre_tokenizer, model });
  const words = new Map<string, number>();
  let at = 0;
  for await (const one of texts) {
    assertText(one, `trainTokenizer: text ${at++}`);
    for (const word of pipeline.words(one)) words.set(word, (words.get(word) ?? 0) + 1);
  }
  words.delete('');
  return words;
}
