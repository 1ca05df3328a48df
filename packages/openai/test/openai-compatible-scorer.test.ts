import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SamplerServer } from '@posttrain/interfaces';
import { testScorer } from '@posttrain/interfaces/testing';
import { afterEach, describe, expect, it } from 'vitest';
import {
  EndpointError,
  type OpenAICompatibleEmbedderOptions,
  openaiCompatibleEmbedder,
  openaiCompatibleScorer,
  openaiCompatibleTokenScorer,
  sglangServer,
  vllmServer,
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

/** Answers in the form that servers give: short ones in vLLM's, of which there are recordings below, and SGLang's as the tests of 0.5 have them. */
const RECORDED = {
  vllm: {
    'GET /v1/models': {
      object: 'list',
      data: [
        { id: 'sums', object: 'model', owned_by: 'vllm', root: '/models/sums', parent: null, max_model_len: 256 },
        { id: 'run-v1', object: 'model', owned_by: 'vllm', root: '/run/v1', parent: 'sums' },
      ],
    },
    'GET /version': { version: '0.32.0+cpu' },
    'GET /is_paused': { is_paused: false },
    'POST /v1/completions': (body: Record<string, unknown>) => ({
      id: 'cmpl-1',
      object: 'text_completion',
      model: body.model,
      // In the order in which they came to their ends.
      choices: Array.from({ length: body.n as number }, (_, i) => i)
        .reverse()
        .map((index) => ({
          ...{ index, text: `t${index}`, finish_reason: index === 0 ? 'stop' : 'length', stop_reason: null },
          logprobs: {
            text_offset: [0, 1],
            token_logprobs: [-0.25, -1.5 - index],
            tokens: ['a', 'b'],
            top_logprobs: [{}, {}],
          },
          ...{ token_ids: [40 + index, 7], prompt_token_ids: body.prompt, prompt_logprobs: null },
        })),
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    }),
    'POST /v1/unload_lora_adapter': [
      404,
      { error: { message: "The lora adapter 'x' cannot be found.", type: 'NotFoundError', code: 404 } },
    ],
  },
  sglang: {
    'GET /server_info': { version: '0.5.23', enable_lora: true, context_length: 4096, model_path: '/models/sums' },
    'GET /model_info': { model_path: '/models/sums', is_generation: true },
    'POST /generate': (body: Record<string, unknown>) =>
      (body.input_ids as number[][]).map((prompt, i) => ({
        text: `t${i}`,
        meta_info: {
          ...{ id: `${i}`, finish_reason: i === 0 ? { type: 'stop', matched: 7 } : { type: 'length', length: 2 } },
          ...{ prompt_tokens: prompt.length, completion_tokens: 2, cached_tokens: 0, weight_version: 'default' },
          output_token_logprobs: [
            [-0.25, 40 + i, null],
            [-1.5 - i, 7, null],
          ],
        },
      })),
  },
};

describe('servers of a fleet', () => {
  let server: Awaited<ReturnType<typeof serve>> | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  type Answers = Readonly<Record<string, unknown>>;
  const start = async (kind: keyof typeof RECORDED, changed: Answers = {}) => {
    const answers: Answers = { ...RECORDED[kind], ...changed };
    server = await serve(({ url, body, method }, response) => {
      const answer = answers[`${method} ${url.split('?')[0]}`];
      const given = typeof answer === 'function' ? (answer as (body: unknown) => unknown)(body) : answer;
      if (given === undefined) json(response, { detail: 'Not Found' }, 404);
      else if (Array.isArray(given) && typeof given[0] === 'number') json(response, given[1], given[0]);
      else json(response, given);
    });
    const baseURL = kind === 'vllm' ? server.baseURL : server.baseURL.replace('/v1', '');
    return kind === 'vllm' ? vllmServer({ baseURL, maxRetries: 0 }) : sglangServer({ baseURL, maxRetries: 0 });
  };
  const asked = (path: string) => server!.seen.filter(({ url }) => url === path).map(({ body }) => body);
  const request = { prompt: [5, 9, 31], n: 2, seed: 2 ** 31 + 1, maxTokens: 2, temperature: 0.8, topK: 3, stop: ['!'] };
  const samples = [
    { tokenIds: [40, 7], logProbs: [-0.25, -1.5], text: 't0', finishReason: 'stop' },
    { tokenIds: [41, 7], logProbs: [-0.25, -2.5], text: 't1', finishReason: 'length' },
  ];

  it("vLLM's: token ids in and out, in the order of the seeds, from the base or an adapter", async () => {
    const vllm = await start('vllm');
    expect(await vllm.probe()).toEqual({
      ...{ kind: 'vLLM 0.32.0+cpu', model: 'sums', contextLength: 256, hasAdapters: true, hasPause: true },
    });
    expect(await vllm.sample(request)).toEqual(samples);
    await vllm.sample({ ...request, adapter: 'run-v1' });
    const common = {
      prompt: [[5, 9, 31]],
      n: 2,
      seed: 2 ** 31 + 1,
      max_tokens: 2,
      temperature: 0.8,
      top_k: 3,
      stop: ['!'],
    };
    const how = { logprobs: 0, return_token_ids: true };
    expect(asked('/v1/completions').slice(1)).toEqual([
      { ...common, ...how, model: 'sums' },
      { ...common, ...how, model: 'run-v1' },
    ]);
  });

  // Everything that a real vLLM 0.32.0 (on a CPU) was asked through the client, and said: `examples/fleet/record.ts` wrote it.
  const recorded = JSON.parse(readFileSync(join(import.meta.dirname, 'goldens/vllm.json'), 'utf8')) as {
    readonly prompt: readonly number[];
    readonly ours: Readonly<Record<string, readonly number[]>>;
    readonly results: Readonly<Record<string, unknown>>;
    readonly exchanges: readonly {
      readonly call: string;
      readonly method: string;
      readonly path: string;
      readonly body?: unknown;
      readonly status: number;
      readonly answer: unknown;
    }[];
  };
  const drawing = { prompt: recorded.prompt, n: 2, seed: 2 ** 31 + 1, maxTokens: 6, temperature: 0.8, topK: 12 };
  const { topK: _, ...freely } = drawing;
  it.each<[string, (vllm: SamplerServer) => Promise<unknown>]>([
    ['probe', (vllm) => vllm.probe()],
    ['healthy', (vllm) => vllm.isHealthy()],
    ['sample', (vllm) => vllm.sample(drawing)],
    ['load', (vllm) => vllm.loadAdapter('run-v1', '/run/run-v1', { version: 'run-v1' })],
    ['load again', (vllm) => vllm.loadAdapter('run-v1', '/run/run-v1', { version: 'run-v1' })],
    ['load nothing', (vllm) => vllm.loadAdapter('run-v2', '/run/run-v2')],
    ['sample of the adapter', (vllm) => vllm.sample({ ...drawing, adapter: 'run-v1' })],
    ['sample to the end', (vllm) => vllm.sample({ ...drawing, maxTokens: 60, adapter: 'run-v1' })],
    ['sample with a stop', (vllm) => vllm.sample({ ...drawing, maxTokens: 60, stop: ['='] })],
    ['score', (vllm) => vllm.score(recorded.prompt)],
    ['score of the adapter', (vllm) => vllm.score(recorded.prompt, { adapter: 'run-v1' })],
    ['sample of no adapter', (vllm) => vllm.sample({ ...drawing, adapter: 'run-v0' })],
    ['sample too long', (vllm) => vllm.sample({ ...drawing, maxTokens: 4000 })],
    ['pause', (vllm) => vllm.pause!('keep')],
    ['resume', (vllm) => vllm.resume!()],
    ['pause in the middle', (vllm) => vllm.sample({ ...freely, n: 4, maxTokens: 240, temperature: 1 })],
    ['unload', (vllm) => vllm.unloadAdapter('run-v1')],
    ['unload again', (vllm) => vllm.unloadAdapter('run-v1')],
  ])('a real vLLM is asked, and understood, as it was: %s', async (call, ask) => {
    const own = recorded.exchanges.filter((one) => one.call === call);
    const left = [...own];
    const seen: [unknown, unknown][] = [];
    server = await serve(({ url, body, method }, response) => {
      const at = left.findIndex((one) => one.method === method && one.path === url);
      const [exchange] = at < 0 ? [] : left.splice(at, 1);
      if (!exchange) return json(response, { detail: `nobody asked ${method} ${url}` }, 500);
      seen.push([body, exchange.body]);
      json(response, exchange.answer, exchange.status);
    });
    const { host } = new URL(server.baseURL);
    // The name of the base is known from the probe on.
    const vllm = vllmServer({ baseURL: server.baseURL, maxRetries: 0, ...(call !== 'probe' && { model: 'sums' }) });
    const found = await ask(vllm).then(
      (value) => value ?? null,
      (error: Error) => ({ error: error.message.replaceAll(host, 'HOST') }),
    );
    expect(found).toEqual(recorded.results[call]);
    for (const [body, wanted] of seen) expect(body).toEqual(wanted);
    const ours = recorded.ours[call];
    for (const [t, x] of (ours ?? []).entries()) expect(Math.abs((found as number[])[t]! - x)).toBeLessThan(1e-4);
  });

  it("SGLang's: one prompt and one seed for each sample, log-probabilities beside ids", async () => {
    const sglang = await start('sglang');
    expect(await sglang.probe()).toEqual({
      ...{ kind: 'SGLang 0.5.23', model: '/models/sums', contextLength: 4096, hasAdapters: true, hasPause: true },
    });
    const found = await sglang.sample({ ...request, adapter: 'run-v1' });
    expect(found).toEqual(samples.map((one) => ({ ...one, weightVersion: 'default' })));
    const parameters = { max_new_tokens: 2, temperature: 0.8, top_k: 3, stop: ['!'] };
    expect(asked('/generate').at(-1)).toEqual({
      input_ids: [request.prompt, request.prompt],
      sampling_params: [
        { ...parameters, sampling_seed: 1 },
        { ...parameters, sampling_seed: 2 },
      ],
      ...{ return_logprob: true, lora_path: 'run-v1' },
    });
  });

  it('are told what has begun, and asked without it for good where they refuse it; SGLang has no word for it', async () => {
    const begun = { tokens: 1, seed: 3 };
    const one = { ...request, n: 1, begun };
    const choice = { index: 0, text: 'a', finish_reason: 'length', token_ids: [4], logprobs: { token_logprobs: [-1] } };
    const refusing = async (status: number, answer: object) => {
      server = await serve(({ body }, response) =>
        'begun' in body ? json(response, answer, status) : json(response, { choices: [choice] }),
      );
      return vllmServer({ baseURL: server.baseURL, model: 'm', maxRetries: 0 });
    };
    for (const [status, answer] of [
      [400, { error: { message: "Unknown parameter: 'begun'." } }],
      [422, { detail: [{ type: 'extra_forbidden', loc: ['body', 'begun'] }] }],
    ] as const) {
      const strict = await refusing(status, answer);
      for (const _ of [1, 2]) expect((await strict.sample(one))[0]!.tokenIds).toEqual([4]);
      expect(server!.seen.map(({ body }) => [body.begun, body.seed])).toEqual([
        [begun, request.seed],
        [undefined, request.seed],
        [undefined, request.seed],
      ]);
      await server!.close();
    }
    // One that knows the field, and finds something wrong.
    const knowing = await refusing(400, { error: { message: 'what was begun of request 0 ended at place 0' } });
    await expect(knowing.sample(one)).rejects.toThrow(/ended at place 0/);
    await server!.close();
    const sglang = await start('sglang');
    await sglang.sample({ ...request, begun });
    expect(JSON.stringify(asked('/generate').at(-1))).not.toContain('begun');
  });

  it('score tokens, and say what is missing', async () => {
    const places = [
      null,
      { 9: { logprob: -1.25, rank: 2 }, 3: { logprob: -0.5, rank: 1 } },
      { 31: { logprob: -2, rank: 4 } },
    ];
    const vllm = await start('vllm', { 'POST /v1/completions': { choices: [{ prompt_logprobs: places }] } });
    expect(await vllm.score([5, 9, 31])).toEqual([-1.25, -2]);
    await expect(vllm.score([5, 8, 31])).rejects.toThrow(/gives no prompt_logprobs/);
    await server!.close();
    const pairs = [
      [null, 5, null],
      [-1.25, 9, null],
      [-2, 31, null],
    ];
    const meta_info = { input_token_logprobs: pairs, output_token_logprobs: [[-1, 1, null]] };
    const sglang = await start('sglang', { 'POST /generate': { text: '', meta_info } });
    expect(await sglang.score([5, 9, 31], { adapter: 'a' })).toEqual([-1.25, -2]);
    expect(asked('/generate')[0]).toMatchObject({
      lora_path: 'a',
      logprob_start_len: 0,
      sampling_params: { max_new_tokens: 1 },
    });
    await expect(sglang.score([5, 8, 31])).rejects.toThrow(/gives no input_token_logprobs/);
  });

  it('load, unload, pause and resume by the names of each', async () => {
    const ok = { status: 'ok', success: true };
    const routes = ['/v1/load_lora_adapter', '/pause', '/resume'].map((path) => [`POST ${path}`, ok]);
    const vllm = await start('vllm', Object.fromEntries(routes));
    await vllm.loadAdapter('v1', '/run/v1', { version: 'v1' });
    await vllm.unloadAdapter('gone');
    await vllm.pause!('keep');
    await vllm.resume!();
    expect(server!.seen.map(({ url, body }) => [url, body])).toEqual([
      ['/v1/load_lora_adapter', { lora_name: 'v1', lora_path: '/run/v1', weight_version: 'v1' }],
      ['/v1/unload_lora_adapter', { lora_name: 'gone' }],
      ['/pause?mode=keep', undefined],
      ['/resume', undefined],
    ]);
    await server!.close();
    const others = ['/load_lora_adapter', '/unload_lora_adapter', '/pause_generation', '/continue_generation'];
    const sglang = await start('sglang', Object.fromEntries(others.map((path) => [`POST ${path}`, ok])));
    await sglang.loadAdapter('v1', '/run/v1');
    await sglang.unloadAdapter('v0');
    await sglang.pause!('keep');
    await sglang.resume!();
    await expect(sglang.pause!('wait')).rejects.toThrow(/'wait' cannot be asked of SGLang/);
    expect(server!.seen.map(({ url, body }) => [url, body])).toEqual([
      ['/load_lora_adapter', { lora_name: 'v1', lora_path: '/run/v1' }],
      ['/unload_lora_adapter', { lora_name: 'v0' }],
      ['/pause_generation', { mode: 'in_place' }],
      ['/continue_generation', {}],
    ]);
  });

  it('that lack what is needed are found out, and one that is not there is not healthy', async () => {
    const bare = await start('vllm', {
      'POST /v1/unload_lora_adapter': [404, { detail: 'Not Found' }],
      'GET /is_paused': undefined,
      'GET /version': undefined,
    });
    expect(await bare.probe()).toMatchObject({ kind: 'vLLM-compatible', hasAdapters: false, hasPause: false });
    await server!.close();
    expect(await bare.isHealthy()).toBe(false);
    const gone = await bare.sample(request).catch((error: unknown) => error);
    expect(gone).toBeInstanceOf(EndpointError);
    expect((gone as EndpointError).status).toBeUndefined();
    const choice = { index: 0, text: 'a', finish_reason: 'stop', logprobs: { token_logprobs: [-1] } };
    for (const [choices, problem] of [
      [[choice], /has no token_ids; it must be a server with return_token_ids/],
      [[{ ...choice, token_ids: [1, 2] }], /has not one of logprobs.token_logprobs for each/],
      [[{ ...choice, token_ids: [1], finish_reason: 'tired' }], /finish_reason "tired"/],
      [[choice, choice], /has 2 choices where 1 were asked for/],
    ] as const) {
      const vllm = await start('vllm', { 'POST /v1/completions': { choices } });
      // It has answered: who asks a fleet does not take it for lost.
      await expect(vllm.probe()).rejects.toThrow(
        expect.objectContaining({ message: expect.stringMatching(problem), status: 200 }),
      );
      await server!.close();
    }
    const failing = await start('sglang', { 'POST /load_lora_adapter': { success: false, error_message: 'rank 64' } });
    await expect(failing.loadAdapter('a', '/x')).rejects.toThrow(/load_lora_adapter failed: .*rank 64/);
    await server!.close();
    const cut = {
      text: 't',
      meta_info: { completion_tokens: 2, finish_reason: { type: 'stop' }, output_token_logprobs: [[-1, 2, null]] },
    };
    const short = await start('sglang', { 'POST /generate': [cut] });
    await expect(short.probe()).rejects.toThrow(/has not one of meta_info.output_token_logprobs for each/);
  });
});
