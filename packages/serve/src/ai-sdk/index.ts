import type { EmbeddingModelV3, LanguageModelV3 } from '@ai-sdk/provider';
import { assertKnownOptions, type Embedder } from '@posttrain/interfaces';
import type { Adapter, CausalLM, ReasoningParserName } from '@posttrain/lm';
import { localModels } from '../local-models.js';
import { languageModel } from './language-model.js';

/** Options of the AI SDK provider. */
export interface PosttrainOptions {
  /** Applied beside the weights. Default: none. */
  readonly adapter?: Adapter;
  /** What the AI SDK calls the model. Default: its name. */
  readonly name?: string;
  /** Completions decoded together. Default 64. */
  readonly maxBatch?: number;
  /** Most tokens that the key/value cache holds. Default: as many as 1 GiB holds. */
  readonly cacheTokens?: number;
  /** Gives `<think>…</think>` as reasoning parts: see `REASONING_PARSERS` of `@posttrain/lm`. Default: it is text. */
  readonly reasoningParser?: ReasoningParserName;
}

/**
 * A model in this process for the AI SDK (`generateText({ model: posttrain(model), … })`): text, streams, objects by JSON
 * Schema, and tool calls where the chat template has them. Calls of one `posttrain(model)` share a batch.
 */
export function posttrain(model: CausalLM, options: PosttrainOptions = {}): LanguageModelV3 {
  assertKnownOptions('posttrain', options, ['adapter', 'name', 'maxBatch', 'cacheTokens', 'reasoningParser']);
  const { adapter, name = model.name, ...limits } = options;
  const adapted = adapter ? { adapters: { adapted: adapter } } : {};
  const models = localModels('base', model, { ...limits, ...adapted });
  return languageModel(name, models[adapter ? 'adapted' : 'base']!);
}

/** An embedder for the AI SDK: `embed({ model: posttrainEmbedding(embedder), value })`. */
export function posttrainEmbedding(embedder: Embedder): EmbeddingModelV3 {
  return {
    specificationVersion: 'v3',
    provider: 'posttrain',
    modelId: embedder.name,
    maxEmbeddingsPerCall: Number.POSITIVE_INFINITY,
    supportsParallelCalls: false,
    async doEmbed({ values, abortSignal }) {
      abortSignal?.throwIfAborted();
      const vectors = await embedder.embed(values);
      abortSignal?.throwIfAborted();
      return { embeddings: vectors.map((vector) => Array.from(vector)), warnings: [] };
    },
  };
}
