import { afterEach, describe, expect, it } from 'vitest';
import { EndpointError, type OpenAICompatibleEmbedderOptions, openaiCompatibleEmbedder } from '../src/index.js';
import { type Handler, json, type Seen, serve } from './server.js';

let server: Awaited<ReturnType<typeof serve>> | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function embedderFor(handler: Handler, options: Partial<OpenAICompatibleEmbedderOptions> = {}) {
  server = await serve(handler);
  return openaiCompatibleEmbedder({ baseURL: server.baseURL, model: 'm', maxRetries: 0, ...options });
}

/** A text of digits stands for its embedding: "12" is [1, 2]. */
const vectorOf = (text: string) => [...text].map(Number);
const answerTo = ({ body }: Seen) => ({
  data: (body.input as string[]).map((text, index) => ({ object: 'embedding', index, embedding: vectorOf(text) })),
});

describe('openaiCompatibleEmbedder', () => {
  it('sends what the protocol has, and gives the vectors in the order of the texts, whatever that of the answer', async () => {
    const embedder = await embedderFor(
      (seen, response) => json(response, { data: answerTo(seen).data.toReversed(), usage: { prompt_tokens: 3 } }),
      { apiKey: 'key', dimensions: 2, extraBody: { truncate: 'END' } },
    );
    expect(await embedder.embed(['12', '34', '56'])).toEqual(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ].map((v) => Float32Array.from(v)),
    );
    const [{ url, body, headers }] = server!.seen as [Seen];
    expect(url).toBe('/v1/embeddings');
    expect(headers.authorization).toBe('Bearer key');
    expect(body).toEqual({
      model: 'm',
      input: ['12', '34', '56'],
      encoding_format: 'float',
      dimensions: 2,
      truncate: 'END',
    });
    expect(embedder.name).toBe('m');
  });

  it('asks for a batch at a time, few at once, and for nothing where there is nothing', async () => {
    let running = 0;
    let most = 0;
    const embedder = await embedderFor(
      async (seen, response) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running--;
        json(response, answerTo(seen));
      },
      { batchSize: 2, concurrency: 2 },
    );
    const texts = Array.from({ length: 9 }, (_, i) => String(i));
    expect((await embedder.embed(texts)).map(([x]) => x)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(server!.seen.map(({ body }) => body.input.length).toSorted()).toEqual([1, 2, 2, 2, 2]);
    expect(most).toBe(2);
    expect(await embedder.embed([])).toEqual([]);
    expect(server!.seen.length).toBe(5);
  });

  it('tries again as the others do', async () => {
    const embedder = await embedderFor(
      (seen, response, count) => (count === 1 ? json(response, {}, 503) : json(response, answerTo(seen))),
      { maxRetries: 1, retryDelayMs: 1 },
    );
    expect((await embedder.embed(['1']))[0]).toEqual(Float32Array.of(1));
  });

  const one = (item: unknown) => ({ data: [item] });
  it.each<[unknown, RegExp]>([
    [{}, /has no list of embeddings/],
    [{ data: [] }, /has 0 embeddings for 1 texts/],
    [one({ index: 1, embedding: [1, 2] }), /an embedding with index 1 for 1 texts/],
    [one({ index: 0, embedding: 'AACAPw==' }), /no list of numbers, at index 0/],
    [one({ index: 0, embedding: [] }), /no list of numbers/],
    [one({ index: 0, embedding: [1, null] }), /no list of numbers/],
    [one({ index: 0, embedding: [1, 1e39] }), /a number that is not finite, at index 0/],
    [one({ index: 0, embedding: [1, 2, 3] }), /an embedding of 3 numbers, at index 0, where 2 are wanted/],
    [one(7), /no list of numbers/],
  ])('refuses %j', async (answer, message) => {
    const embedder = await embedderFor((_, response) => json(response, answer), { dimensions: 2 });
    const error = await embedder.embed(['12']).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(EndpointError);
    expect((error as Error).message).toMatch(message);
  });

  it('refuses two vectors for one text, and another length than it gave before', async () => {
    const twice = { data: [0, 0].map((index) => ({ index, embedding: [1] })) };
    const doubled = await embedderFor((_, response) => json(response, twice));
    await expect(doubled.embed(['1', '2'])).rejects.toThrow(/two embeddings with index 0/);
    await server!.close();
    const embedder = await embedderFor((seen, response) => json(response, answerTo(seen)));
    await embedder.embed(['12']);
    await expect(embedder.embed(['123'])).rejects.toThrow(/3 numbers, at index 0, where 2 are wanted/);
  });

  it('refuses options that cannot be meant', () => {
    const make = (options: object) => () => openaiCompatibleEmbedder({ baseURL: 'http://x', model: 'm', ...options });
    expect(make({ batchSize: 0 })).toThrow(/batchSize is 0; it must be a whole number of at least 1/);
    expect(make({ dimension: 3 })).toThrow(/Did you mean "dimensions"/);
  });
});
