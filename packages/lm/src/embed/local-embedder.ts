import { type Compiled, compile, type Engine, iota, type Tensor } from '@posttrain/core-tensor';
import {
  assertArgument,
  boolean,
  custom,
  type Embedder,
  type Given,
  integer,
  type Options,
  oneOf,
  options,
  PosttrainError,
  type Read,
  type TokenEmbedder,
  type TokenVectors,
  text,
} from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, perAdapter } from '../model/adapter.js';
import { askedAdapterOption } from '../model/adapter-option.js';
import type { LayerHooks, Weights } from '../model/layers.js';
import type { SequenceInput } from '../model/network.js';
import { checkNumbers } from '../runner/non-finite.js';
import { checkSequences, maxTokensPerPass, passesOf } from '../score/passes.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { normalized, POOLINGS, type Pooling, pool, textMask } from './pooling.js';

/** What makes hidden states of tokens: a causal language model or an encoder. */
export interface EmbeddingModel {
  readonly name: string;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  readonly network: EmbeddingNetwork;
  /** Default pooling of hidden states. Default `last`, which is right for causal models. */
  readonly defaultPooling?: Pooling;
}

interface EmbeddingNetwork {
  readonly engine: Engine;
  readonly config: { readonly maxPositionEmbeddings: number; readonly vocabSize: number };
  hidden(weights: Weights, input: SequenceInput, hooks?: LayerHooks): Tensor;
}

export const embedderShape = {
  /** Default: what the folder says; else `mean` for an encoder and `last` for a causal model. */
  pooling: oneOf(POOLINGS, { optional: true }),
  /** Whether embeddings have length 1. Default: what the folder says, else true. */
  normalize: boolean({ optional: true }),
  /** Written before every text, as some models want it (`query: `). Default: what the folder says, else nothing. */
  prompt: text({ optional: true }),
  /** Truncation: cut what is too long at its end, keeping special tokens, instead of throwing. Default false. */
  truncate: boolean({ default: false }),
  /** Most tokens of a text, special tokens included. Default: what the folder says, else the model's context. */
  maxTokens: integer({ optional: true, min: 1 }),
  /** Most tokens, padding included, that one pass holds; a longer text has a pass of its own. Default 4096. */
  maxTokensPerPass,
  /** Asked before every call. Default: none. */
  adapter: askedAdapterOption,
};
const embedderOptions = options('embedder', {
  ...embedderShape,
  prepare: custom<(text: string) => string>()('a function of a text', (value) => typeof value === 'function', {
    optional: true,
  }),
});
/** Options of `LocalEmbedder`. */
export type LocalEmbedderOptions = Given<Options<typeof embedderShape>>;

/** How texts become the tokens that a model embeds. */
export interface TextPreparation {
  /** Lower case, as sentence-transformers folders may ask. Default: as it is. */
  prepare?(text: string): string;
}

type Embed = Compiled<[weights: Weights, parameters: unknown, tokens: Tensor, last: Tensor], Tensor>;

const embeddingsOf = perAdapter((network: EmbeddingNetwork, adapter: Adapter): Readonly<Record<Pooling, Embed>> => {
  const make = (pooling: Pooling): Embed =>
    compile(
      (weights, parameters, tokens, last) => {
        const [b, s] = tokens.shape as [number, number];
        const segments = textMask(b, s, last).not().cast('int32');
        const input = { tokens, positions: iota([b, s], 1), segments };
        return pool(network.hidden(weights, input, adapter.hooks(parameters)), last, pooling);
      },
      { name: `embed ${pooling}` },
    );
  return { cls: make('cls'), mean: make('mean'), max: make('max'), last: make('last') };
});

const hiddenStatesOf = perAdapter(
  (network: EmbeddingNetwork, adapter: Adapter): Embed =>
    compile(
      (weights, parameters, tokens, last) => {
        const [b, s] = tokens.shape as [number, number];
        const segments = textMask(b, s, last).not().cast('int32');
        return network.hidden(weights, { tokens, positions: iota([b, s], 1), segments }, adapter.hooks(parameters));
      },
      { name: 'embed tokens' },
    ),
);

/**
 * A local model as an `Embedder`: the pooled final hidden states of each text's tokens. Texts of similar length are padded
 * and run together; an embedding does not depend on what it is batched with, up to rounding of the engine.
 */
export class LocalEmbedder implements Embedder, TokenEmbedder {
  readonly name: string;
  readonly pooling: Pooling;
  readonly normalize: boolean;
  /** Most tokens of a text, special tokens included. */
  readonly maxTokens: number;
  readonly #model: EmbeddingModel;
  readonly #settings: Read<typeof embedderOptions>;

  /** `prepare` is for loaders of folders that ask for it. */
  constructor(model: EmbeddingModel, given: LocalEmbedderOptions & TextPreparation = {}) {
    const settings = embedderOptions.read(given);
    const {
      pooling = model.defaultPooling ?? 'last',
      normalize = true,
      maxTokens = Number.POSITIVE_INFINITY,
    } = settings;
    this.name = model.name;
    this.pooling = pooling;
    this.normalize = normalize;
    this.maxTokens = Math.min(maxTokens, model.network.config.maxPositionEmbeddings);
    this.#model = model;
    this.#settings = settings;
  }

  /** One vector per text, in order. @throws PosttrainError SEQUENCE_LENGTH for a text without tokens or, unless `truncate`, too long */
  async embed(texts: readonly string[]): Promise<Float32Array[]> {
    const isTexts = Array.isArray(texts) && texts.every((text) => typeof text === 'string');
    assertArgument('embed', 'texts', texts, isTexts, 'a list of texts');
    return this.embedTokens(texts.map((text) => this.tokenIds(text)));
  }

  /** The tokens that `embed` gives the model for a text: prompt and special tokens included, cut where `truncate` says so. */
  tokenIds(text: string): number[] {
    const { prompt = '', truncate, prepare = (it: string) => it } = this.#settings;
    const full = prepare(prompt + text);
    const { tokenizer } = this.#model;
    const tokens = tokenizer.encode(full);
    if (!truncate || tokens.length <= this.maxTokens) return tokens;
    const bare = tokenizer.encode(full, { addSpecialTokens: false });
    const special = tokens.length - bare.length;
    const kept = this.maxTokens - special;
    if (kept < 1) {
      throw new PosttrainError('EMBEDDER', `embedder: maxTokens ${this.maxTokens} has room for special tokens only`);
    }
    const before = Array.from({ length: special + 1 }, (_, at) => at).find((at) =>
      bare.every((token, i) => tokens[at + i] === token),
    );
    if (before === undefined) {
      throw new PosttrainError(
        'EMBEDDER',
        'embedder: the tokenizer adds special tokens inside a text: it cannot be cut',
      );
    }
    return [...tokens.slice(0, before + kept), ...tokens.slice(before + bare.length)];
  }

  /**
   * The final hidden states of each text's tokens, before pooling and normalisation, named by their ids: what `bertScore` of `@posttrain/eval` compares. Tokens that the
   * tokenizer adds are special.
   *
   * @throws PosttrainError SEQUENCE_LENGTH as `embed`
   */
  async tokenVectors(texts: readonly string[]): Promise<TokenVectors[]> {
    const isTexts = Array.isArray(texts) && texts.every((text) => typeof text === 'string');
    assertArgument('tokenVectors', 'texts', texts, isTexts, 'a list of texts');
    const { network, weights, tokenizer } = this.#model;
    const adapter = this.#settings.adapter?.() ?? NO_ADAPTER;
    const run = hiddenStatesOf(network, adapter);
    const added = new Set(tokenizer.encode(''));
    const sequences = texts.map((text) => this.tokenIds(text));
    const { vocabSize } = network.config;
    checkSequences('tokenVectors', sequences, { shortest: 1, longest: this.maxTokens, vocabSize });
    const results = new Array<TokenVectors>(sequences.length);
    const maxTokens = this.#settings.maxTokensPerPass;
    for (const pass of passesOf(sequences, { longest: this.maxTokens, maxTokens })) {
      const states = await run(weights, adapter.parameters, pass.tokens, pass.last);
      const data = await states.data();
      const [, length, width] = states.shape as [number, number, number];
      pass.sequences.forEach((sequence, row) => {
        const ids = sequences[sequence]!;
        const at = (place: number) => (row * length + place) * width;
        results[sequence] = {
          tokens: ids.map(String),
          vectors: ids.map((_, i) => Float32Array.from(data.subarray(at(i), at(i + 1)))),
          special: ids.map((id) => added.has(id)),
        };
      });
    }
    await checkNumbers(
      'tokenVectors',
      results.flatMap(({ vectors }) => vectors),
      { weights, adapter },
    );
    return results;
  }

  /** Whether what a tokenizer makes of a text is all that `tokenIds` gives for it. */
  embedsTokensOf(tokenizer: Tokenizer): boolean {
    const { prompt = '', truncate, prepare } = this.#settings;
    return tokenizer === this.#model.tokenizer && prompt === '' && !truncate && !prepare;
  }

  /** One vector per sequence of token ids, which are taken as they are. @throws PosttrainError SEQUENCE_LENGTH */
  async embedTokens(sequences: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const { network, weights } = this.#model;
    const adapter = this.#settings.adapter?.() ?? NO_ADAPTER;
    const run = embeddingsOf(network, adapter)[this.pooling];
    const results = new Array<Float32Array>(sequences.length);
    const maxTokens = this.#settings.maxTokensPerPass;
    const { vocabSize } = network.config;
    checkSequences('embed', sequences, { shortest: 1, longest: this.maxTokens, vocabSize });
    for (const pass of passesOf(sequences, { longest: this.maxTokens, maxTokens })) {
      const vectors = await run(weights, adapter.parameters, pass.tokens, pass.last);
      const data = await vectors.data();
      const width = vectors.shape[1]!;
      pass.sequences.forEach((sequence, row) => {
        const vector = Float32Array.from(data.subarray(row * width, (row + 1) * width));
        results[sequence] = this.normalize ? normalized(vector) : vector;
      });
      await checkNumbers(
        'embed',
        pass.sequences.map((sequence) => results[sequence]!),
        { weights, adapter },
      );
    }
    return results;
  }
}
