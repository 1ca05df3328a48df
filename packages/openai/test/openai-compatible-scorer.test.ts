import { testScorer } from '@posttrain/interfaces/testing';
import { afterEach, describe, expect, it } from 'vitest';
import {
  EndpointError,
  type OpenAICompatibleEmbedderOptions,
  openaiCompatibleEmbedder,
  openaiCompatibleScorer,
  openaiCompatibleTokenScorer,
} from '../src/index.js';
import { type Handler, json, type Seen, serve } from './server.js';

describe('scorer', () => {
  let server: Awaited<ReturnType<typeof serve>> | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  /** A server whose tokens are letters, each with a log-probability of its own. */
  testScorer(it, 'openaiCompatibleScorer', async () => {
    await server?.close();
    server = await serve(({ body }, response) => {
      const tokens = [...(body.prompt as string)];
      const logProbs = tokens.map((token, i) => (i === 0 ? null : -0.1 - (token.charCodeAt(0) % 7)));
      const logprobs = {
        ...{ tokens, token_logprobs: logProbs, text_offset: tokens.map((_, i) => i) },
        top_logprobs: tokens.map((token, i) => (i === 0 ? null : { [token]: logProbs[i]! })),
      };
      json(response, { choices: [{ text: body.prompt, logprobs }] });
    });
    return openaiCompatibleScorer({ baseURL: server.baseURL, model: 'm' });
  });

  type Row = readonly [token: string, logProb: number | null, best?: number];

  /** A server that tokenises as `rows` say; `counted` says whether a leading special token counts in the offsets. */
  async function scorerFor(
    rows: readonly Row[],
    { special = 0, columns = {} }: { special?: number; columns?: object } = {},
  ) {
    server = await serve((_, response) => {
      let offset = 0;
      const offsets = rows.map(([token], i) => {
        const at = offset;
        offset += i === 0 && special > 0 ? special - 1 : [...token].length;
        return at;
      });
      const logprobs = {
        tokens: rows.map(([token]) => token),
        token_logprobs: rows.map(([, logProb]) => logProb),
        top_logprobs: rows.map(([token, logProb, best]) =>
          logProb === null ? null : { [token]: logProb, ...(best === undefined ? {} : { '?': best }) },
        ),
        text_offset: offsets,
        ...columns,
      };
      json(response, { choices: [{ text: '', logprobs }] });
    });
    return openaiCompatibleScorer({ baseURL: server.baseURL, model: 'm', maxRetries: 0 });
  }

  describe('openaiCompatibleScorer', () => {
    const rows: Row[] = [
      ['The', null],
      [' sky', -3],
      [' is', -1],
      [' very', -2, -0.5],
      [' blue', -0.25],
      ['.', -9, -1],
    ];

    it('sums the log-probabilities of the continuation alone', async () => {
      const scorer = await scorerFor(rows);
      expect(await scorer.score([{ prompt: 'The sky is', continuation: ' very blue' }])).toEqual([
        { logProb: -2.25, tokens: 2, isGreedy: false },
      ]);
      expect(await scorer.score([{ prompt: 'The sky is very', continuation: ' blue' }])).toEqual([
        { logProb: -0.25, tokens: 1, isGreedy: true },
      ]);
      expect(server?.seen[0]?.body).toEqual({
        model: 'm',
        prompt: 'The sky is very blue',
        max_tokens: 1,
        temperature: 0,
        echo: true,
        logprobs: 1,
      });
    });

    it('counts offsets in code points', async () => {
      const scorer = await scorerFor([
        ['👍', null],
        [' yes', -1],
        [' ok', -2],
      ]);
      expect(await scorer.score([{ prompt: '👍', continuation: ' yes' }])).toEqual([
        { logProb: -1, tokens: 1, isGreedy: true },
      ]);
    });

    it.each([
      ['counted', '<s>'.length + 1],
      ['not counted', 1],
    ])('leaves out a leading special token, %s in the offsets', async (_, special) => {
      const scorer = await scorerFor(
        [
          ['<s>', null],
          ['A', -4],
          [' b', -1],
          ['!', -1],
        ],
        { special },
      );
      expect(await scorer.score([{ prompt: 'A', continuation: ' b' }])).toEqual([
        { logProb: -1, tokens: 1, isGreedy: true },
      ]);
    });

    it('refuses a token across the boundary', async () => {
      const scorer = await scorerFor(rows);
      await expect(scorer.score([{ prompt: 'The sky is ', continuation: 'very blue' }])).rejects.toThrow(
        /a token lies across its start/,
      );
    });

    it('counts all tokens of a character, and refuses those that cannot be told apart', async () => {
      const whole = await scorerFor([
        ['a', null],
        ['', -1],
        ['é', -2],
        ['!', -1],
      ]);
      expect(await whole.score([{ prompt: 'a', continuation: 'é' }])).toEqual([
        { logProb: -3, tokens: 2, isGreedy: true },
      ]);
      await server?.close();
      const parts = await scorerFor([
        ['a', null],
        ['\ufffd', -1],
        ['\ufffd', -2],
        ['!', -1],
      ]);
      await expect(parts.score([{ prompt: 'a', continuation: 'é' }])).rejects.toThrow(/or ends inside a character/);
    });

    it('refuses servers without log-probabilities of the prompt rather than scoring 0', async () => {
      const generatedOnly = await scorerFor([[' blue', -0.25]]);
      await expect(generatedOnly.score([{ prompt: 'The sky is', continuation: ' blue' }])).rejects.toThrow(
        /did not return log-prob/,
      );
      await server?.close();
      const none = await scorerFor(rows, { columns: { token_logprobs: null } });
      await expect(none.score([{ prompt: 'The sky is', continuation: ' very' }])).rejects.toThrow(
        /did not return log-prob/,
      );
    });

    it('refuses empty texts and conversations', async () => {
      const scorer = await scorerFor(rows);
      await expect(scorer.score([{ prompt: '', continuation: 'x' }])).rejects.toThrow(/not empty/);
      await expect(scorer.score([{ prompt: 'x', continuation: '' }])).rejects.toThrow(/not empty/);
      await expect(scorer.score([{ prompt: [], continuation: 'x' }])).rejects.toThrow(/must be texts/);
    });
  });
});

describe('embedder', () => {
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
});

describe('token scorer', () => {
  let server: Awaited<ReturnType<typeof serve>> | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  type Place = Record<string, object> | null;
  const entry = (id: number) => ({
    [id]: { logprob: -id / 8, rank: 1, decoded_token: `<${id}>` },
    99: { logprob: -3 },
  });
  async function scorerFor(answer: (tokens: number[]) => unknown, seen: Seen[] = []) {
    server = await serve((request, response) => {
      seen.push(request);
      json(response, answer(request.body.prompt as number[]));
    });
    return openaiCompatibleTokenScorer({ baseURL: server.baseURL, model: 'teacher', maxRetries: 0 });
  }
  const places = (tokens: number[]): Place[] => tokens.map((id, t) => (t === 0 ? null : entry(id)));

  it('gives the number of each token that it is asked about, among others, in the order of the sequences', async () => {
    const seen: Seen[] = [];
    const scorer = await scorerFor((tokens) => ({ choices: [{ text: '', prompt_logprobs: places(tokens) }] }), seen);
    expect(
      await scorer.scoreTokens([
        [5, 4, 3, 8],
        [7, 1],
      ]),
    ).toEqual([
      { logProbs: [-0.5, -0.375, -1], texts: ['<4>', '<3>', '<8>'] },
      { logProbs: [-0.125], texts: ['<1>'] },
    ]);
    expect(seen.map(({ body }) => body.prompt_logprobs)).toEqual([0, 0]);
    await expect(scorer.scoreTokens([[5]])).rejects.toThrow(/two tokens or more/);
  });

  it.each<[string, (tokens: number[]) => unknown]>([
    ['none', () => ({ choices: [{ text: 'x' }] })],
    ['too few', (tokens) => ({ choices: [{ prompt_logprobs: places(tokens.slice(1)) }] })],
    ['those of other tokens', (tokens) => ({ choices: [{ prompt_logprobs: places(tokens.map((id) => id + 1)) }] })],
    ['no numbers', (tokens) => ({ choices: [{ prompt_logprobs: tokens.map((id) => ({ [id]: { logprob: null } })) }] })],
    ['no choice', () => ({ choices: [] })],
  ])('refuses a server that gives %s', async (_, answer) => {
    const scorer = await scorerFor(answer);
    await expect(scorer.scoreTokens([[5, 4]])).rejects.toThrow(
      /"teacher" did not return the log-probability of every token of the prompt.*use a server that does/,
    );
    await expect(scorer.scoreTokens([[5, 4]])).rejects.toThrow(EndpointError);
  });

  it('stops when it is told to', async () => {
    const scorer = await scorerFor((tokens) => ({ choices: [{ prompt_logprobs: places(tokens) }] }));
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(scorer.scoreTokens([[5, 4]], { signal })).rejects.toThrow('enough');
  });
});
