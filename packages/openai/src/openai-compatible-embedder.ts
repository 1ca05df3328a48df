import { options as declare, type Embedder, excerpt, type Given, integer } from '@posttrain/interfaces';
import { allOrAbort } from '@posttrain/interfaces/concurrency';
import { createEndpoint, endpointShape, isRecord } from './endpoint.js';
import { answered, EndpointError } from './errors.js';

const where = 'openaiCompatibleEmbedder';

const embedderOptions = declare(where, {
  ...endpointShape,
  /** Texts in one HTTP request. Default 128; OpenAI takes at most 2,048. */
  batchSize: integer({ default: 128, min: 1, decisive: false }),
  /** Length of the vectors, for models that can shorten them. Default: the model's own. Another length is an error. */
  dimensions: integer({ optional: true, min: 1 }),
});

/** Options of `openaiCompatibleEmbedder`. */
export type OpenAICompatibleEmbedderOptions = Given<typeof embedderOptions>;

/**
 * An embedder over the `/embeddings` API. Vectors are what the server gives (OpenAI's have length 1, not everybody's do),
 * all of one length: that of `dimensions`, else of the first vector that this embedder got.
 *
 * @throws OptionError; EndpointError also for an answer with missing, doubled or ragged vectors, or numbers that are not
 *   finite in float32
 */
export function openaiCompatibleEmbedder(options: OpenAICompatibleEmbedderOptions): Embedder {
  const settings = embedderOptions.read(options);
  const { batchSize, dimensions, model } = settings;
  const endpoint = createEndpoint(where, settings);
  let length = dimensions;

  const embed = async (texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]> => {
    const body = { input: texts, encoding_format: 'float', ...(dimensions !== undefined && { dimensions }) };
    const answer = await endpoint.post('embeddings', body, signal);
    const unusable = (what: string) =>
      new EndpointError(`${where}: the answer of "${model}" ${what}: ${excerpt(JSON.stringify(answer))}`, answered);
    if (!Array.isArray(answer.data)) throw unusable('has no list of embeddings ("data")');
    if (answer.data.length !== texts.length) {
      throw unusable(`has ${answer.data.length} embeddings for ${texts.length} texts`);
    }
    const vectors: (Float32Array | undefined)[] = texts.map(() => undefined);
    answer.data.forEach((item: unknown, position) => {
      const { index = position, embedding } = isRecord(item) ? item : {};
      if (!Number.isInteger(index) || (index as number) < 0 || (index as number) >= texts.length) {
        throw unusable(`has an embedding with index ${String(index)} for ${texts.length} texts`);
      }
      if (vectors[index as number]) throw unusable(`has two embeddings with index ${index}`);
      if (!Array.isArray(embedding) || embedding.length === 0 || embedding.some((x) => typeof x !== 'number')) {
        throw unusable(`has an embedding that is no list of numbers, at index ${index}`);
      }
      const vector = Float32Array.from(embedding as number[]);
      if (!vector.every(Number.isFinite)) throw unusable(`has a number that is not finite, at index ${index}`);
      length ??= vector.length;
      if (vector.length !== length) {
        throw unusable(`has an embedding of ${vector.length} numbers, at index ${index}, where ${length} are wanted`);
      }
      vectors[index as number] = vector;
    });
    return vectors as Float32Array[];
  };

  return {
    name: model,
    embed: async (texts) => {
      const batches: (readonly string[])[] = [];
      for (let start = 0; start < texts.length; start += batchSize) batches.push(texts.slice(start, start + batchSize));
      const tasks = batches.map((batch) => (signal: AbortSignal) => embed(batch, signal));
      return (await allOrAbort([], tasks)).flat();
    },
  };
}
