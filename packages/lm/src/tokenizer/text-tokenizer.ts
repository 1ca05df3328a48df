import { boolean, options as declare, type Given } from '@posttrain/interfaces';
import { InvalidModelFileError, type JsonObject } from '../json.js';
import { assertText } from './errors.js';
import { TokenizerComponentError } from './fields.js';
import type { TokenSpan } from './piece.js';
import { TokenizerPipeline } from './pipeline.js';
import { createStreamDecoder, type StreamDecoder } from './stream-decoder.js';
import { type TokenBytes, TokenBytesError, tokenBytesOf } from './token-bytes.js';
import { assertTokenIds } from './token-ids.js';
import { type TokenizerSettings, tokenizerSettings } from './transformers/settings.js';

const SPECIAL_ROLES = ['bos', 'eos', 'unk', 'pad', 'sep', 'cls', 'mask'] as const;
type SpecialRole = (typeof SPECIAL_ROLES)[number];

/** The parsed files of a tokenizer. */
export interface TokenizerFiles {
  /** `tokenizer.json` */
  readonly tokenizer: JsonObject;
  /** `tokenizer_config.json` */
  readonly config?: JsonObject;
  /** `special_tokens_map.json`, read where `tokenizer_config.json` lists no `added_tokens_decoder`. */
  readonly specialTokensMap?: JsonObject;
  /** `added_tokens.json`, read where `tokenizer_config.json` lists no `added_tokens_decoder`. */
  readonly addedTokens?: JsonObject;
  /** `config.json` of the model: its type may decide which class of transformers the tokenizer is. */
  readonly modelConfig?: JsonObject;
  /** Number of ids, where there are more than tokens: the others have no text. Default: one more than the largest id. */
  readonly vocabSize?: number;
  /** The folder that they are of, named in errors; `Tokenizer.save` copies from it, and writes these without one. */
  readonly folder?: string;
}

const encodeOptions = declare('Tokenizer.encode', {
  /** Add what the tokenizer's post-processor adds (a leading bos, say). Default true, as in `transformers`. */
  addSpecialTokens: boolean({ default: true }),
});
/** Options of `Tokenizer.encode`. */
export type EncodeOptions = Given<typeof encodeOptions>;

const offsetOptions = declare('Tokenizer.encodeWithOffsets', {
  /**
   * Every character that has a token lies in the span of one: white space at a token's ends stays in it whatever the
   * post-processor's `trim_offsets` says, and so do marks that normalizing joined to the character before them. Default
   * false: the offsets that `transformers` reports.
   */
  whole: boolean({ default: false }),
});
/** Options of `encodeWithOffsets`. */
export type OffsetOptions = Given<typeof offsetOptions>;

const decodeTextOptions = declare('Tokenizer.decode', {
  /** Leave special tokens out of the text. Default false, as in `transformers`; of a `streamDecoder` true. */
  skipSpecialTokens: boolean({ default: false }),
});
/** Options of `Tokenizer.decode`. */
export type DecodeTextOptions = Given<typeof decodeTextOptions>;

const streamDecoderOptions = declare('Tokenizer.streamDecoder', { skipSpecialTokens: boolean({ default: true }) });

/**
 * A Hugging Face tokenizer, as transformers 5.23 makes it of `tokenizer.json` and the files beside it. Text in, token ids
 * out, and back: equal to the reference implementation, or refused by name when it is made. Needs no Node.js: `Tokenizer`
 * adds the files of a folder to it.
 */
export class TextTokenizer {
  /** Number of ids, added tokens included: one more than the largest id. */
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  /** The tokenizer's end-of-sequence token. Models may end generation on more: see `ModelConfig.eosTokenIds`. */
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  /** The ids that `skipSpecialTokens` leaves out. */
  readonly specialIds: ReadonlySet<number>;
  /** Texts of the named special tokens, keyed as chat templates see them: `bos_token`, `eos_token` and so on. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** `tokenizer_config.json`. */
  readonly config: JsonObject;
  readonly folder: string | undefined;
  readonly #files: TokenizerFiles;
  readonly #pipeline: TokenizerPipeline;
  readonly #cleansUp: boolean;
  /** `tokenizer_config.json` for folders without the model's config.json, where that decides the class. */
  readonly #configWithClass: JsonObject | undefined;

  /** @throws InvalidModelFileError that names the component, option or class that is wrong or not supported */
  constructor(files: TokenizerFiles) {
    this.folder = files.folder;
    this.#files = files;
    this.config = files.config ?? {};
    const path = files.folder === undefined ? 'tokenizer.json' : `${files.folder}/tokenizer.json`;
    let settings: TokenizerSettings;
    try {
      settings = tokenizerSettings({ ...files, config: this.config });
      this.#pipeline = new TokenizerPipeline(settings.json, settings);
    } catch (cause) {
      if (!(cause instanceof TokenizerComponentError)) throw cause;
      throw new InvalidModelFileError(path, cause.message, { cause });
    }
    this.specialTokens = settings.specialTokens;
    this.#cleansUp = settings.cleanUp;
    const { classToName } = settings;
    this.#configWithClass = classToName === undefined ? undefined : { ...this.config, tokenizer_class: classToName };
    const { added } = this.#pipeline;
    this.specialIds = new Set(
      [...added.entries()].filter(([, token]) => added.isSpecial(token.content)).map(([id]) => id),
    );
    this.vocabSize = Math.max(added.largestId + 1, files.vocabSize ?? 0);
    const idOf = (role: SpecialRole) => {
      const token = this.specialTokens[`${role}_token`];
      return token === undefined ? undefined : this.tokenToId(token);
    };
    this.bosId = idOf('bos');
    this.eosId = idOf('eos');
    this.padId = idOf('pad');
    this.unkId = idOf('unk');
  }

  /** Token ids of `text`. Special tokens written out in the text become their ids, as in `transformers`. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    const { addSpecialTokens } = encodeOptions.read(options);
    assertText(text, 'Tokenizer.encode: the text');
    return this.#pipeline.encode(text, addSpecialTokens);
  }

  /**
   * Token ids without added special tokens, and where each lies in the text: `[start, end)` in UTF-16 code units.
   *
   * @throws TokenizerTextError where the reference implementation's offsets are those of other characters
   */
  encodeWithOffsets(
    text: string,
    options: OffsetOptions = {},
  ): { readonly ids: number[]; readonly offsets: TokenSpan[] } {
    const { whole } = offsetOptions.read(options);
    assertText(text, 'Tokenizer.encodeWithOffsets: the text');
    return this.#pipeline.encodeWithOffsets(text, whole);
  }

  /** The text of token ids. Holes in the vocabulary have no text. @throws TokenIdError for an id beyond the vocabulary */
  decode(ids: readonly number[], options: DecodeTextOptions = {}): string {
    const { skipSpecialTokens } = decodeTextOptions.read(options);
    assertTokenIds(this.vocabSize, ids, 'Tokenizer.decode');
    return ids.length === 0 ? '' : this.#pipeline.decode(ids, skipSpecialTokens);
  }

  /**
   * A decoder for tokens that come one at a time: its pieces joined are `decode` of all ids.
   * Default: special tokens are skipped.
   */
  streamDecoder(options: DecodeTextOptions = {}): StreamDecoder {
    const { skipSpecialTokens } = streamDecoderOptions.read(options);
    const { added } = this.#pipeline;
    return createStreamDecoder(this.#pipeline.stages(), (id) => {
      assertTokenIds(this.vocabSize, [id], 'StreamDecoder.push');
      const token = added.tokenOf(id);
      return token !== undefined && skipSpecialTokens && added.isSpecial(token) ? undefined : token;
    });
  }

  idToToken(id: number): string | undefined {
    return this.#pipeline.added.tokenOf(id);
  }

  tokenToId(token: string): number | undefined {
    return this.#pipeline.added.idOf(token);
  }

  /** The bytes that each token adds to a text. @throws TokenBytesError when they have none of their own */
  tokenBytes(): TokenBytes {
    if (this.#cleansUp)
      throw new TokenBytesError('decoding removes spaces between them (clean_up_tokenization_spaces)');
    const names = Array.from({ length: this.vocabSize }, (_, id) => this.idToToken(id));
    return tokenBytesOf(this.#pipeline.decoderJson, names);
  }

  /** The parsed files that make this tokenizer; its configuration names the class where config.json alone decided it. */
  files(): TokenizerFiles {
    const config = this.#configWithClass;
    return config ? { ...this.#files, config } : this.#files;
  }
}
