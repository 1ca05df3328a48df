import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer as LibraryTokenizer, type Normalizer, SequenceNormalizer } from '@huggingface/tokenizers';
import { writeAtomically } from '@posttrain/core-tensor';
import { assertKnownOptions } from '@posttrain/interfaces';
import {
  InvalidModelFileError,
  isJsonObject,
  type JsonObject,
  readJsonObject,
  readJsonObjectIfPresent,
} from '../files.js';
import { withExactDecoders } from './decoders.js';
import { correctDigits } from './pre-tokenizers.js';
import { createStreamDecoder, type StreamDecoder } from './stream-decoder.js';
import { type TokenBytes, TokenBytesError, tokenBytesOf } from './token-bytes.js';
import { type AlignmentRules, alignTokens, type TokenSpan } from './token-offsets.js';

const SPECIAL_ROLES = ['bos', 'eos', 'unk', 'pad', 'sep', 'cls', 'mask'] as const;
type SpecialRole = (typeof SPECIAL_ROLES)[number];

/** What the library implements; it would take any other type for a plain vocabulary. */
const MODEL_TYPES: readonly string[] = ['BPE', 'Unigram', 'WordPiece'];

/** Files that make a tokenizer, in the order `transformers` writes them. */
const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
] as const;

/** The parsed files of a tokenizer. */
export interface TokenizerFiles {
  /** `tokenizer.json` */
  readonly tokenizer: JsonObject;
  /** `tokenizer_config.json` */
  readonly config?: JsonObject;
  /** `special_tokens_map.json`, for folders whose `tokenizer_config.json` does not name the special tokens. */
  readonly specialTokensMap?: JsonObject;
  /** The folder, named in errors and copied from by `save`; without one `save` writes these. */
  readonly folder?: string;
}

export interface EncodeOptions {
  /** Add what the tokenizer's post-processor adds (a leading bos, say). Default true, as in `transformers`. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeTextOptions {
  /** Leave special tokens out of the text. Default false, as in `transformers`. */
  readonly skipSpecialTokens?: boolean;
}

/**
 * A Hugging Face tokenizer: `tokenizer.json` run by `@huggingface/tokenizers`, corrected where that differs from the
 * reference implementation. Text in, token ids out, and back.
 */
export class Tokenizer {
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
  /** What a tokenizer that no folder has is saved as. */
  readonly #files: TokenizerFiles | undefined;
  readonly #library: LibraryTokenizer;
  readonly #addedTexts: ReadonlySet<string>;
  readonly #cleanUp: boolean;
  readonly #alignment: AlignmentRules;

  /** Reads the tokenizer files of a model folder. @throws InvalidModelFileError */
  static async load(folder: string): Promise<Tokenizer> {
    const [tokenizer, config, specialTokensMap] = await Promise.all([
      readJsonObject(join(folder, 'tokenizer.json')),
      readJsonObjectIfPresent(join(folder, 'tokenizer_config.json')),
      readJsonObjectIfPresent(join(folder, 'special_tokens_map.json')),
    ]);
    return new Tokenizer({
      tokenizer,
      folder,
      ...(config && { config }),
      ...(specialTokensMap && { specialTokensMap }),
    });
  }

  constructor(files: TokenizerFiles) {
    this.folder = files.folder;
    this.#files = files.folder === undefined ? files : undefined;
    this.config = files.config ?? {};
    this.specialTokens = namedSpecialTokens(this.config, files.specialTokensMap ?? {});
    const path = join(files.folder ?? '', 'tokenizer.json');
    const json = withSpecialTokens(files.tokenizer, this.config, Object.values(this.specialTokens), path);
    try {
      this.#library = new LibraryTokenizer(json, this.config);
    } catch (cause) {
      throw new InvalidModelFileError(path, `cannot be used: ${(cause as Error).message}`, { cause });
    }
    this.#library.decoder = withExactDecoders(this.#library.decoder);
    correctDigits(this.#library.pre_tokenizer);
    const added = [...this.#library.get_added_tokens_decoder().values()];
    this.#addedTexts = new Set(added.map((token) => token.content));
    this.specialIds = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.vocabSize = (this.#library.model as { vocab: string[] }).vocab.length;
    const modelType = (json.model as JsonObject).type;
    this.#cleanUp = this.config.clean_up_tokenization_spaces === true && modelType !== 'BPE';
    this.#alignment = { byteLevel: isByteLevel(json), normalizeCluster: localNormalizer(this.#library.normalizer) };
    const idOf = (role: SpecialRole) => this.tokenToId(this.specialTokens[`${role}_token`] ?? '');
    this.bosId = idOf('bos');
    this.eosId = idOf('eos');
    this.padId = idOf('pad');
    this.unkId = idOf('unk');
  }

  /** Token ids of `text`. Special tokens written out in the text become their ids, as in `transformers`. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    assertKnownOptions('Tokenizer.encode', options, ['addSpecialTokens']);
    return this.#library.encode(text, { add_special_tokens: options.addSpecialTokens ?? true }).ids;
  }

  /**
   * Token ids without added special tokens, and where each lies in the text.
   * @throws TokenAlignmentError when the normalizer changes the text beyond what can be followed
   */
  encodeWithOffsets(text: string): { readonly ids: number[]; readonly offsets: TokenSpan[] } {
    const { ids, tokens } = this.#library.encode(text, { add_special_tokens: false });
    const surfaces = tokens.map((token, i) => {
      if (ids[i] === this.unkId) return { kind: 'unknown' as const, token };
      return { kind: this.#addedTexts.has(token) ? ('added' as const) : ('piece' as const), token };
    });
    return { ids, offsets: alignTokens(text, surfaces, this.#alignment) };
  }

  /** The text of token ids. Ids that no token has (padding of the embedding matrix) have no text. */
  decode(ids: readonly number[], options: DecodeTextOptions = {}): string {
    assertKnownOptions('Tokenizer.decode', options, ['skipSpecialTokens']);
    const { skipSpecialTokens = false } = options;
    const kept = ids.filter(
      (id) => this.idToToken(id) !== undefined && !(skipSpecialTokens && this.specialIds.has(id)),
    );
    if (kept.length === 0) return '';
    return this.#library.decode(kept, { clean_up_tokenization_spaces: this.#cleanUp });
  }

  /**
   * A decoder for tokens that come one at a time. For well-formed text its pieces joined are `decode` of all ids.
   * Default: special tokens are skipped.
   */
  streamDecoder(options: DecodeTextOptions = {}): StreamDecoder {
    assertKnownOptions('Tokenizer.streamDecoder', options, ['skipSpecialTokens']);
    const { skipSpecialTokens = true } = options;
    return createStreamDecoder(
      (ids) => this.decode(ids),
      (id) => skipSpecialTokens && this.specialIds.has(id),
    );
  }

  idToToken(id: number): string | undefined {
    return this.#library.id_to_token(id);
  }

  tokenToId(token: string): number | undefined {
    return this.#library.token_to_id(token);
  }

  /** The bytes that each token adds to a text. @throws TokenBytesError when they have none of their own */
  tokenBytes(): TokenBytes {
    if (this.#cleanUp) throw new TokenBytesError('decoding removes spaces between them (clean_up_tokenization_spaces)');
    const names = Array.from({ length: this.vocabSize }, (_, id) => this.idToToken(id));
    return tokenBytesOf(this.#library.decoder, names, (name) => this.#addedTexts.has(name));
  }

  /** Writes the tokenizer's files into `folder`, all or none: those it was loaded from, or what it was made of. */
  async save(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    if (this.#files) return writeTokenizerFiles(folder, this.#files);
    const source = this.folder!;
    await writeAtomically(async (files) => {
      for (const name of TOKENIZER_FILES) {
        const bytes = await readFile(join(source, name)).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return undefined;
          throw error;
        });
        if (bytes) await files.stage(join(folder, name), (write) => write(bytes));
      }
    });
  }
}

async function writeTokenizerFiles(folder: string, files: TokenizerFiles): Promise<void> {
  const { tokenizer, config, specialTokensMap } = files;
  const named = {
    'tokenizer.json': tokenizer,
    'tokenizer_config.json': config,
    'special_tokens_map.json': specialTokensMap,
  };
  await writeAtomically(async (staged) => {
    for (const [name, json] of Object.entries(named)) {
      if (!json) continue;
      const bytes = new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);
      await staged.stage(join(folder, name), (write) => write(bytes));
    }
  });
}

/** A special token is written as its text or as `{ content, ... }`. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isJsonObject(value) && typeof value.content === 'string' ? value.content : undefined;
}

function namedSpecialTokens(config: JsonObject, map: JsonObject): Record<string, string> {
  const named: Record<string, string> = {};
  for (const role of SPECIAL_ROLES) {
    const key = `${role}_token`;
    const text = tokenText(Object.hasOwn(config, key) ? config[key] : map[key]);
    if (text !== undefined) named[key] = text;
  }
  return named;
}

/**
 * `tokenizer.json` with the added tokens that only `tokenizer_config.json` lists, and with the named special tokens
 * marked as special where they are plain vocabulary, as `transformers` does when loading.
 */
function withSpecialTokens(
  tokenizer: JsonObject,
  config: JsonObject,
  named: readonly string[],
  path: string,
): Record<string, unknown> {
  const { model } = tokenizer;
  if (!isJsonObject(model)) throw new InvalidModelFileError(path, 'has no "model".');
  if (model.type !== undefined && !MODEL_TYPES.includes(model.type as string)) {
    throw new InvalidModelFileError(
      path,
      `its model is of type ${JSON.stringify(model.type)}; supported are ${MODEL_TYPES.join(', ')}.`,
    );
  }
  const added = Array.isArray(tokenizer.added_tokens) ? (tokenizer.added_tokens as JsonObject[]) : [];
  const all = new Map(added.map((token) => [token.content, token]));
  for (const [id, token] of Object.entries(
    isJsonObject(config.added_tokens_decoder) ? config.added_tokens_decoder : {},
  )) {
    if (isJsonObject(token) && !all.has(token.content)) all.set(token.content, { ...token, id: Number(id) });
  }
  for (const content of named) {
    const id = vocabularyId(model.vocab, content);
    if (id !== undefined && !all.has(content)) all.set(content, { id, content, special: true, normalized: false });
  }
  const single = [...all.values()].find((token) => token.single_word === true);
  if (single) {
    throw new InvalidModelFileError(
      path,
      `the added token ${JSON.stringify(single.content)} is "single_word", which is not supported.`,
    );
  }
  const nullable = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  return { ...nullable, ...tokenizer, model, added_tokens: [...all.values()] };
}

/** BPE vocabularies are objects, unigram ones lists of [piece, score]. */
function vocabularyId(vocab: unknown, token: string): number | undefined {
  if (Array.isArray(vocab)) {
    const index = vocab.findIndex((entry) => Array.isArray(entry) && entry[0] === token);
    return index < 0 ? undefined : index;
  }
  return isJsonObject(vocab) && Object.hasOwn(vocab, token) ? (vocab[token] as number) : undefined;
}

function isByteLevel(json: JsonObject): boolean {
  const types = (part: unknown): unknown[] =>
    isJsonObject(part) ? [part.type, ...[part.decoders, part.pretokenizers].flat().flatMap(types)] : [];
  return types(json.decoder).includes('ByteLevel') || types(json.pre_tokenizer).includes('ByteLevel');
}

/** The normalizers that can be applied to one cluster of characters at a time; the others only add or remove spaces. */
function localNormalizer(normalizer: Normalizer | null): (cluster: string) => string {
  const steps = normalizer instanceof SequenceNormalizer ? flatten(normalizer) : normalizer ? [normalizer] : [];
  const local = steps.filter(({ config }) => !['Prepend', 'Strip'].includes(config.type as string));
  return (cluster) => local.reduce((text, step) => step.normalize(text), cluster);
}

function flatten(sequence: SequenceNormalizer): Normalizer[] {
  return sequence.normalizers.flatMap((step) =>
    step instanceof SequenceNormalizer ? flatten(step) : step ? [step] : [],
  );
}
