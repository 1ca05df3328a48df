import type { EmbeddingModelV3, LanguageModelV3 } from '@ai-sdk/provider';
import { custom, type Embedder, type Given, options, text } from '@posttrain/interfaces';
import type { Adapter, CausalLM } from '@posttrain/lm';
import { localModelShape, localModels } from '../local-models.js';
import { languageModel } from './language-model.js';

const posttrainOptions = options('posttrain', {
  /** Applied beside the weights. Default: none. */
  adapter: custom<Adapter>()('an adapter', (value) => typeof value === 'object' && value !== null, { optional: true }),
  /** What the AI SDK calls the model. Default: its name. */
  name: text({ optional: true }),
  ...localModelShape,
});
/** Options of the AI SDK provider. */
export type PosttrainOptions = Given<typeof posttrainOptions>;

/**
 * A model in this process for the AI SDK (`generateText({ model: posttrain(model), … })`): text, streams, objects by JSON
 * Schema, and tool calls where the chat template has them. Calls of one `posttrain(model)` share a batch.
 */
export function posttrain(model: CausalLM, given: PosttrainOptions = {}): LanguageModelV3 {
  const { adapter, name = model.name, ...limits } = posttrainOptions.read(given);
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
