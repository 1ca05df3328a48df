import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { majorityVote } from '../../tts/src/index.js';
import { EndpointError, type OpenAICompatibleOptions, openaiCompatible } from '../src/index.js';
import { chatAnswer, type Handler, json, serve } from './server.js';

const KEY = 'sk-secret-0123456789';
let server: Awaited<ReturnType<typeof serve>> | undefined;
const printed: unknown[][] = [];

beforeEach(() => {
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    vi.spyOn(console, method).mockImplementation((...args) => void printed.push(args));
  }
});

afterEach(async () => {
  vi.restoreAllMocks();
  expect(printed).toEqual([]);
  await server?.close();
  server = undefined;
});

async function generatorFor(handler: Handler, options: Partial<OpenAICompatibleOptions> = {}) {
  server = await serve(handler);
  return openaiCompatible({
    baseURL: server.baseURL,
    apiKey: KEY,
    model: 'm',
    api: 'chat',
    retryDelayMs: 1,
    ...options,
  });
}

const failure = async (promise: Promise<unknown>): Promise<EndpointError> => {
  const error = await promise.then(
    () => expect.unreachable('should have failed'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(EndpointError);
  expect(JSON.stringify([error, error.message, error.stack, String(error.cause)])).not.toContain(KEY);
  return error;
};

describe('requests', () => {
  it('sends a chat request with the names of the protocol', async () => {
    const generator = await generatorFor((_, response) => json(response, chatAnswer(['4'])), {
      headers: { 'x-team': 'blue' },
      extraBody: { reasoning_effort: 'low' },
    });
    const messages = [
      { role: 'system' as const, content: 'Be brief.' },
      { role: 'user' as const, content: '2+2?' },
    ];
    const answer = await generator.generate([
      {
        prompt: messages,
        maxTokens: 9,
        temperature: 0.7,
        topK: 20,
        topP: 0.9,
        minP: 0.05,
        repetitionPenalty: 1.1,
        stop: ['\n'],
        seed: 3,
      },
    ]);
    expect(answer).toEqual([[{ text: '4', finishReason: 'stop', usage: { promptTokens: 7, completionTokens: 2 } }]]);
    expect(server?.seen[0]?.url).toBe('/v1/chat/completions');
    expect(server?.seen[0]?.headers).toMatchObject({ authorization: `Bearer ${KEY}`, 'x-team': 'blue' });
    expect(server?.seen[0]?.body).toEqual({
      model: 'm',
      messages,
      max_tokens: 9,
      temperature: 0.7,
      top_k: 20,
      top_p: 0.9,
      min_p: 0.05,
      repetition_penalty: 1.1,
      stop: ['\n'],
      seed: 3,
      n: 1,
      reasoning_effort: 'low',
    });
    expect(generator.name).toBe('m');
    expect(JSON.stringify(generator)).not.toContain(KEY);
  });

  it('makes one user message of a plain text prompt, and sends nothing that was not set', async () => {
    const generator = await generatorFor((_, response) => json(response, chatAnswer(['4'])), {
      maxTokensField: 'max_completion_tokens',
    });
    await generator.generate([{ prompt: '2+2?', maxTokens: 5, stop: [] }]);
    expect(server?.seen[0]?.body).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: '2+2?' }],
      max_completion_tokens: 5,
      n: 1,
    });
  });

  it('sends a text completion with its prefix, and reads log-probabilities', async () => {
    const generator = await generatorFor(
      (_, response) =>
        json(response, {
          choices: [
            { index: 1, text: 'b', finish_reason: 'length', logprobs: { token_logprobs: [-1] } },
            { index: 0, text: 'aa', finish_reason: 'stop', logprobs: { token_logprobs: [-0.5, -0.25, -2] } },
          ],
          usage: { prompt_tokens: 5, completion_tokens: 4 },
        }),
      { api: 'completions', apiKey: undefined as never },
    );
    const [completions] = await generator.generate([{ prompt: 'q', prefix: ' A:', n: 2, logProbs: true }]);
    expect(completions).toEqual([
      {
        text: 'aa',
        finishReason: 'stop',
        usage: { promptTokens: 5, completionTokens: 3 },
        logProbs: [-0.5, -0.25, -2],
      },
      { text: 'b', finishReason: 'length', usage: { promptTokens: 0, completionTokens: 1 }, logProbs: [-1] },
    ]);
    expect(server?.seen[0]).toMatchObject({ url: '/v1/completions', body: { prompt: 'q A:', n: 2, logprobs: 1 } });
    expect(server?.seen[0]?.headers.authorization).toBeUndefined();
  });

  it('reads chat log-probabilities', async () => {
    const generator = await generatorFor((_, response) => {
      const answer = chatAnswer(['ab']);
      const logprobs = {
        content: [
          { token: 'a', logprob: -1 },
          { token: 'b', logprob: -2 },
        ],
      };
      json(response, { ...answer, choices: [{ ...answer.choices[0], logprobs }] });
    });
    const [[completion] = []] = await generator.generate([{ prompt: 'q', logProbs: true }]);
    expect(completion?.logProbs).toEqual([-1, -2]);
    expect(server?.seen[0]?.body.logprobs).toBe(true);
  });

  it.each([
    [
      'continue-final-message',
      { role: 'assistant', content: 'So' },
      { add_generation_prompt: false, continue_final_message: true },
    ],
    ['prefix-flag', { role: 'assistant', content: 'So', prefix: true }, {}],
    ['assistant-message', { role: 'assistant', content: 'So' }, {}],
  ] as const)('sends a prefix as %s', async (prefixMode, message, fields) => {
    const generator = await generatorFor((_, response) => json(response, chatAnswer(['x'])), { prefixMode });
    await generator.generate([{ prompt: 'q', prefix: 'So' }]);
    expect(server?.seen[0]?.body).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: 'q' }, message],
      n: 1,
      ...fields,
    });
  });

  it('refuses what the endpoint would misunderstand', async () => {
    const chat = openaiCompatible({ baseURL: 'http://127.0.0.1:1/v1', model: 'm', api: 'chat' });
    await expect(chat.generate([{ prompt: 'q', prefix: 'So' }])).rejects.toThrow(/a prefix needs prefixMode/);
    const text = openaiCompatible({ baseURL: 'http://127.0.0.1:1/v1', model: 'm', api: 'completions' });
    await expect(text.generate([{ prompt: [{ role: 'user', content: 'q' }] }])).rejects.toThrow(/takes plain text/);
    const make = (options: object) => () =>
      openaiCompatible({ baseURL: 'http://127.0.0.1/v1', model: 'm', api: 'chat', ...options });
    expect(make({ baseUrl: 'x' })).toThrow(/Did you mean "baseURL"/);
    expect(make({ baseURL: 'localhost' })).toThrow(/baseURL is not a URL/);
    expect(make({ baseURL: 'file:///v1' })).toThrow(/must begin with http/);
    expect(make({ baseURL: 'http://me:pw@127.0.0.1/v1' })).toThrow(/must not carry a user or password/);
    expect(make({ api: 'responses' })).toThrow(/api is "responses"; it must be one of "chat", "completions"/);
    expect(make({ model: '' })).toThrow(/model is empty/);
    expect(make({ concurrency: 0 })).toThrow(/concurrency is 0; it must be a whole number of at least 1/);
    expect(make({ apiKey: ['sk-two'] })).toThrow(/^(?!.*two).*apiKey is something else; it must be a text/);
    expect(make({ headers: [['x-key', 'two']] })).toThrow(
      /^(?!.*two).*headers is something else; it must be an object/,
    );
    expect(make({ apiKey: 'two\nlines' })).toThrow(/^(?!.*two).*apiKey has spaces/);
  });
});

describe('several completions', () => {
  it('asks again for the rest when a server ignores n, with seeds that go on', async () => {
    const generator = await generatorFor((seen, response) => json(response, chatAnswer([`s${seen.body.seed}`])));
    const [completions] = await generator.generate([{ prompt: 'q', n: 3, seed: 10 }]);
    expect(completions?.map(({ text }) => text)).toEqual(['s10', 's11', 's12']);
    expect(server?.seen.map(({ body }) => [body.n, body.seed])).toEqual([
      [3, 10],
      [2, 11],
      [1, 12],
    ]);
  });

  it('splits into requests of choicesPerRequest, whose tokens the server counts one by one', async () => {
    const generator = await generatorFor(
      (seen, response) => json(response, chatAnswer([`s${seen.body.seed}`], seen.body.seed)),
      { choicesPerRequest: 1 },
    );
    const [completions, others] = await generator.generate([
      { prompt: 'q', n: 3, seed: 4 },
      { prompt: 'r', n: 1, seed: 9 },
    ]);
    expect(completions?.map(({ text, usage }) => [text, usage.completionTokens])).toEqual([
      ['s4', 4],
      ['s5', 5],
      ['s6', 6],
    ]);
    expect(others?.[0]?.text).toBe('s9');
  });

  it('shares the tokens of a request out so that the sums are the server’s', async () => {
    const texts = ['aaaa', '', 'é', 'aaaaa'];
    const generator = await generatorFor((_, response) => json(response, chatAnswer(texts, 13)));
    const [completions = []] = await generator.generate([{ prompt: 'q', n: 4 }]);
    expect(completions.map(({ usage }) => usage.completionTokens)).toEqual([5, 0, 2, 6]); // of 13 by bytes 4, 0, 2, 5
    expect(completions.map(({ usage }) => usage.promptTokens)).toEqual([7, 0, 0, 0]);
  });

  it('counts tokens itself only when told how', async () => {
    const handler: Handler = (_, response) => json(response, { choices: chatAnswer(['abc']).choices });
    const generator = await generatorFor(handler);
    expect((await failure(generator.generate([{ prompt: 'q' }]))).message).toMatch(
      /reports no usage; give countTokens/,
    );
    const options = {
      baseURL: server!.baseURL,
      model: 'm',
      api: 'chat',
      countTokens: (text: string) => text.length,
    } as const;
    const [[completion] = []] = await openaiCompatible(options).generate([{ prompt: 'four' }]);
    expect(completion?.usage).toEqual({ promptTokens: 4, completionTokens: 3 });
  });

  it('keeps at most `concurrency` requests in flight, over all calls', async () => {
    let inFlight = 0;
    let most = 0;
    const generator = await generatorFor(
      async (seen, response) => {
        most = Math.max(most, ++inFlight);
        await new Promise((resolve) => setTimeout(resolve, 3));
        inFlight--;
        json(response, chatAnswer([seen.body.messages[0].content]));
      },
      { concurrency: 2 },
    );
    const prompts = ['a', 'b', 'c', 'd', 'e'];
    const ask = () => generator.generate(prompts.map((prompt) => ({ prompt })));
    for (const answer of await Promise.all([ask(), ask()]))
      expect(answer.map((list) => list[0]?.text)).toEqual(prompts);
    expect(most).toBe(2);
  });

  it('serves a strategy', async () => {
    const answers = ['answer is 4', 'answer is 5', 'answer is 4.0'];
    const generator = await generatorFor((seen, response) => json(response, chatAnswer(answers.slice(0, seen.body.n))));
    const result = await majorityVote({ prompt: '2+2?' }, { generator, n: 3 });
    expect(result).toMatchObject({ answer: '4', trace: { spent: { completionTokens: 6, promptTokens: 7 } } });
  });
});

describe('failures', () => {
  it.each([
    ['429 with Retry-After', 429, { 'retry-after': '0' }],
    ['429 with Retry-After as a date', 429, { 'retry-after': new Date(Date.now() - 5000).toUTCString() }],
    ['429 without', 429, {}],
    ['408', 408, {}],
    ['500', 500, {}],
    ['503 with an unreadable Retry-After', 503, { 'retry-after': 'soon' }],
  ])('retries after %s', async (_, status, headers) => {
    const generator = await generatorFor((_seen, response, count) =>
      count < 3 ? json(response, { error: 'busy' }, status, headers) : json(response, chatAnswer(['ok'])),
    );
    const [[completion] = []] = await generator.generate([{ prompt: 'q' }]);
    expect(completion?.text).toBe('ok');
    expect(server?.seen).toHaveLength(3);
  });

  it('waits as long as Retry-After says', async () => {
    const times: number[] = [];
    const generator = await generatorFor((_, response, count) => {
      times.push(performance.now());
      if (count === 1) json(response, {}, 429, { 'retry-after': '0.2' });
      else json(response, chatAnswer(['ok']));
    });
    await generator.generate([{ prompt: 'q' }]);
    expect(times[1]! - times[0]!).toBeGreaterThan(190);
  });

  it('does not wait for hours, and says so', async () => {
    const generator = await generatorFor((_, response) => json(response, {}, 429, { 'retry-after': '3600' }));
    const error = await failure(generator.generate([{ prompt: 'q' }]));
    expect(error.message).toMatch(/status 429.*asks to wait 3600 s; not waiting/);
    expect(server?.seen).toHaveLength(1);
  });

  it('gives up after maxRetries with the status and the start of the body', async () => {
    const generator = await generatorFor(
      (_, response) => json(response, { error: { message: 'x'.repeat(5000) } }, 503),
      { maxRetries: 2 },
    );
    const error = await failure(generator.generate([{ prompt: 'q' }]));
    expect(error).toMatchObject({ code: 'OPENAI_ENDPOINT', status: 503 });
    expect(error.message).toMatch(
      /POST http:\/\/127\.0\.0\.1:\d+\/v1\/chat\/completions: status 503: .*\(after 3 attempts\)/,
    );
    expect(error.message.length).toBeLessThan(700);
    expect(server?.seen).toHaveLength(3);
  });

  it('does not retry a bad request, and never repeats the key', async () => {
    const generator = await generatorFor((seen, response) =>
      json(response, { error: { message: `Incorrect API key ${seen.headers.authorization}` } }, 401),
    );
    const error = await failure(generator.generate([{ prompt: 'q' }]));
    expect(error.status).toBe(401);
    expect(error.bodyExcerpt).toContain('Bearer [API key]');
    expect(server?.seen).toHaveLength(1);
  });

  it('leaves the query string, where some keys travel, out of messages', async () => {
    server = await serve((_, response) => json(response, {}, 404));
    const generator = openaiCompatible({
      baseURL: `${server.baseURL}/?api-version=1&key=${KEY}`,
      model: 'm',
      api: 'chat',
    });
    await failure(generator.generate([{ prompt: 'q' }]));
    expect(server.seen[0]?.url).toBe(`/v1/chat/completions?api-version=1&key=${KEY}`);
  });

  it.each([
    ['not JSON', '<html>Bad gateway</html>', /the answer is not JSON: <html>Bad gateway/],
    ['truncated', '{"choices": [', /the answer is not JSON/],
    ['empty', '', /not JSON: \(empty body\)/],
    ['an array', '[]', /not a JSON object/],
    ['an error', '{"error":{"message":"no credit"}}', /status 200 with an error: .*no credit/],
    ['without choices', '{}', /has no choices/],
    ['with no choice', '{"choices":[]}', /has no choices/],
    ['with a null choice', '{"choices":[null]}', /a choice that is no object/],
    ['without text', '{"choices":[{"finish_reason":"stop"}]}', /a choice without text/],
    ['with too many choices', JSON.stringify(chatAnswer(['a', 'b'])), /has 2 choices where 1 were asked for/],
    [
      'filtered',
      JSON.stringify(chatAnswer(['a'])).replace('"stop"', '"content_filter"'),
      /finish_reason "content_filter"/,
    ],
  ])('explains an answer that is %s, without asking again', async (_, body, message) => {
    const generator = await generatorFor((_seen, response) => void response.end(body));
    expect((await failure(generator.generate([{ prompt: 'q' }]))).message).toMatch(message);
    expect(server?.seen).toHaveLength(1);
  });

  it('misses log-probabilities that were asked for', async () => {
    const generator = await generatorFor((_, response) => json(response, chatAnswer(['a'])));
    expect((await failure(generator.generate([{ prompt: 'q', logProbs: true }]))).message).toMatch(
      /lacks the log-prob/,
    );
  });

  it('retries when the connection breaks, before or within the answer', async () => {
    const generator = await generatorFor((_, response, count) => {
      if (count === 1) response.destroy();
      else if (count === 2) {
        response.writeHead(200, { 'content-length': '1000' }).write('{"choices"');
        setTimeout(() => response.destroy(), 5);
      } else json(response, chatAnswer(['ok']));
    });
    const [[completion] = []] = await generator.generate([{ prompt: 'q' }]);
    expect(completion?.text).toBe('ok');
    expect(server?.seen).toHaveLength(3);
  });

  it('names the reason when nobody listens', async () => {
    server = await serve(() => {});
    const { baseURL } = server;
    await server.close();
    server = undefined;
    const generator = openaiCompatible({
      baseURL,
      apiKey: KEY,
      model: 'm',
      api: 'chat',
      maxRetries: 1,
      retryDelayMs: 1,
    });
    const error = await failure(generator.generate([{ prompt: 'q' }]));
    expect(error.message).toMatch(/ECONNREFUSED.*\(after 2 attempts\)/);
    expect(error.status).toBeUndefined();
  });

  it('times out, retries and says how long it waited', async () => {
    const generator = await generatorFor(() => {}, { timeoutMs: 30, maxRetries: 1 });
    const error = await failure(generator.generate([{ prompt: 'q' }]));
    expect(error.message).toMatch(/no complete answer within 30 ms. \(after 2 attempts\)/);
    expect(server?.seen).toHaveLength(2);
  });

  it('ends an answer that is too long, or never ends, and does not ask again', async () => {
    let sent = 0;
    const generator = await generatorFor(
      (_, response) => {
        const go = () => {
          sent += 1 << 16;
          if (!response.destroyed) response.write('x'.repeat(1 << 16), go);
        };
        response.writeHead(200);
        go();
      },
      { maxAnswerBytes: 1_000_000 },
    );
    const error = await failure(generator.generate([{ prompt: 'q' }]));
    expect(error.message).toMatch(/the answer has more than 1000000 bytes \(maxAnswerBytes\)/);
    expect([error.status, server?.seen.length]).toEqual([200, 1]);
    expect(sent).toBeLessThan(2e7);
  });

  it('says where a redirect leads instead of following it', async () => {
    const generator = await generatorFor(
      (_, response) => void response.writeHead(301, { location: '/v2/chat/completions?key=1' }).end(),
    );
    const error = await failure(generator.generate([{ prompt: 'q' }]));
    expect(error.message).toMatch(/redirected to \/v2\/chat\/completions; set baseURL/);
  });

  it('stops at once when the caller aborts, in a request or between retries', async () => {
    for (const handler of [() => {}, ((_, response) => json(response, {}, 429, { 'retry-after': '30' })) as Handler]) {
      const controller = new AbortController();
      let arrived = () => {};
      const arrival = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      const generator = await generatorFor((seen, response, count) => {
        arrived();
        return handler(seen, response, count);
      });
      const running = generator.generate([{ prompt: 'q', signal: controller.signal }]);
      running.catch(() => {});
      await arrival;
      controller.abort(new Error('enough'));
      await expect(running).rejects.toThrow('enough');
      await server?.close();
      server = undefined;
    }
  });

  it('hangs up on the other requests of a call when one fails', async () => {
    let hungUp = () => {};
    const hangUp = new Promise<void>((resolve) => {
      hungUp = resolve;
    });
    const generator = await generatorFor((seen, response) => {
      if (seen.body.messages[0].content === 'bad') setTimeout(() => json(response, {}, 400), 20);
      else response.on('close', hungUp);
    });
    const error = await failure(generator.generate([{ prompt: 'good' }, { prompt: 'bad' }]));
    expect(error.status).toBe(400);
    await hangUp;
  });
});
