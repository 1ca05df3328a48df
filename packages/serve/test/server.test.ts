import { get } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { OptionError } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { toApiError } from '../src/api-error.js';
import { createServer } from '../src/index.js';
import { postJson, scriptedModel, serve } from './support.js';

const CHAT = { model: 'a', messages: [{ role: 'user', content: 'Hi' }] };
const hello = scriptedModel(() => 'Hello there.');

/** A gate that a model waits at before every token, until it is opened or the request is aborted. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const state = { arrived: 0, aborted: 0 };
  const delay = (signal: AbortSignal) => {
    state.arrived++;
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    }).then(() => {
      state.aborted++;
    });
    return Promise.race([opened, aborted]);
  };
  return { open, state, delay };
}

const until = async (holds: () => boolean | Promise<boolean>) => {
  while (!(await holds())) await sleep(10);
};

async function errorOf(response: Response): Promise<Record<string, unknown> & { readonly status: number }> {
  const body = (await response.json()) as { error: Record<string, unknown> };
  expect(Object.keys(body)).toEqual(['error']);
  expect(Object.keys(body.error).sort()).toEqual(['code', 'message', 'param', 'type']);
  expect(JSON.stringify(body)).not.toMatch(/\.ts|\bat \w+ \(|node_modules/);
  return { status: response.status, ...body.error };
}

/** The value of one line of `/metrics`. */
async function metric(url: string, line: string): Promise<number | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.split('\n').find((it) => it.startsWith(`${line} `));
  return found === undefined ? undefined : Number(found.slice(line.length));
}

describe('errors have the API’s shape', () => {
  it('for wrong addresses, methods and bodies', async () => {
    const { url } = await serve({ a: hello }, { maxBodyBytes: 1000 });
    const chat = `${url}/v1/chat/completions`;
    expect(await errorOf(await fetch(`${url}/v2/x`))).toMatchObject({ status: 404, code: 'unknown_url' });
    expect(await errorOf(await fetch(chat))).toMatchObject({ status: 405, code: 'method_not_supported' });
    expect(await errorOf(await postJson(`${url}/v1/models`, {}))).toMatchObject({ status: 405 });
    expect(await errorOf(await postJson(chat, '{"model": '))).toMatchObject({ status: 400, code: 'invalid_json' });
    expect(await errorOf(await postJson(chat, '[]'))).toMatchObject({ status: 400, code: 'invalid_json' });
    expect(await errorOf(await postJson(chat, `{"a":${'['.repeat(400)}${']'.repeat(400)}}`))).toMatchObject({
      status: 400,
    });
    expect(await errorOf(await postJson(chat, {}))).toMatchObject({ status: 400, code: 'missing_required_parameter' });
    expect(await errorOf(await fetch(chat, { method: 'POST', body: 'x' }))).toMatchObject({ status: 415 });
    expect(await errorOf(await postJson(chat, { ...CHAT, n: 65 }))).toMatchObject({ status: 400, param: 'n' });
    expect(await errorOf(await postJson(chat, '{"model":"a","temperature":1e999}'))).toMatchObject({ status: 400 });
  });

  it('for what asks for too much', async () => {
    const { url } = await serve({ a: hello }, { maxPromptBytes: 1000 });
    const of = (list: number, one: unknown) => Array.from({ length: list }, () => one);
    for (const [path, fields, problem] of [
      ['chat/completions', { messages: of(20_000, { role: 'user', content: '' }) }, /at most 16384 messages/],
      ['chat/completions', { messages: [{ role: 'user', content: 'x'.repeat(2000) }] }, /takes 1000 .*maxPromptBytes/],
      ['completions', { prompt: 'é'.repeat(600) }, /1200 bytes/],
      ['embeddings', { input: ['x', 'x'.repeat(2000)] }, /maxPromptBytes|no embeddings/],
      ['completions', { prompt: 'x', stop: of(17, 'x') }, /at most 16/],
      ['completions', { prompt: 'x', stop: 'x'.repeat(2000) }, /at most 1024 characters/],
      [
        'completions',
        { prompt: 'x', logit_bias: Object.fromEntries(of(5000, 0).map((_, i) => [i, 1])) },
        /at most 4096/,
      ],
      ['completions', { prompt: 'x', n: 1e9 }, /must be 1 to 64/],
      ['completions', { prompt: 'x', best_of: 1e9 }, /must equal 'n'/],
      ['completions', { prompt: 'x', max_tokens: 1e300 }, /must be 1 to/],
      ['completions', { prompt: of(100, 'x') }, /at most 64 completions/],
      ['completions', { prompt: 'x', user: [] }, /'user': expected a string/],
      ['chat/completions', { messages: [{ role: 'user', content: 'x' }], user: 1 }, /'user': expected a string/],
      ['completions', { prompt: of(100_000, 0) }, /resulted in 100000 tokens/],
      ['completions', { prompt: ['x', of(100_000, 0)] }, /resulted in 100000 tokens/],
    ] as const) {
      const { status, message } = await errorOf(await postJson(`${url}/v1/${path}`, { model: 'a', ...fields }));
      expect([status, message]).toEqual([400, expect.stringMatching(problem)]);
    }
    const invalid = new Uint8Array([...new TextEncoder().encode('{"model":"a'), 0xff, 0x22, 0x7d]);
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers, body: invalid });
    expect(await errorOf(response)).toMatchObject({ status: 400, message: 'The body is not UTF-8.' });
    // Megabytes of a request do not come back in its error.
    const echo = await errorOf(
      await postJson(`${url}/v1/completions`, { model: 'a', prompt: 'x', ['y'.repeat(1e6)]: 1 }),
    );
    expect(String(echo.message).length).toBeLessThan(600);
  });

  it('400 for an option of generate that cannot be right, and 500 for one of anything else', () => {
    const statusOf = (where: string) =>
      toApiError(new OptionError('INVALID_OPTION', where, 'topP', 'topP is 2; it must be a number of at most 1.'))
        .status;
    expect([statusOf('generate'), statusOf('ModelRunner')]).toEqual([400, 500]);
  });

  it('for bodies that are too large, announced or not', async () => {
    const { url } = await serve({ a: hello }, { maxBodyBytes: 100_000 });
    const large = JSON.stringify({ ...CHAT, user: 'x'.repeat(5_000_000) });
    const chat = `${url}/v1/chat/completions`;
    expect(await errorOf(await postJson(chat, large))).toMatchObject({ status: 413, code: 'request_too_large' });
    const body = new Blob([large]).stream();
    const chunked = await postJson(chat, '', { body, duplex: 'half' } as RequestInit);
    expect(await errorOf(chunked)).toMatchObject({ status: 413 });
  });

  it('for a model that fails: 500 without details, or the last event of a stream', async () => {
    const failing = (after: number) => {
      let tokens = 0;
      const delay = async () => {
        if (tokens++ >= after) throw new Error('secret detail');
      };
      return scriptedModel(() => 'Hello there.', { delay });
    };
    const { url, failures } = await serve({ a: failing(0), b: failing(2) });
    const chat = `${url}/v1/chat/completions`;
    const whole = await errorOf(await postJson(chat, CHAT));
    expect(whole).toMatchObject({ status: 500, type: 'server_error' });
    expect(JSON.stringify(whole)).not.toContain('secret');
    expect((failures[0] as Error).message).toBe('secret detail');
    const streamed = await (await postJson(chat, { ...CHAT, model: 'b', stream: true })).text();
    expect(streamed).toContain('"content":"Hel"');
    expect(streamed).not.toContain('[DONE]');
    expect(JSON.parse(streamed.trim().split('data: ').at(-1)!)).toMatchObject({ error: { type: 'server_error' } });
    expect(await metric(url, 'posttrain_completions_running')).toBe(0);
  });

  it('for what is not HTTP and for headers without end', async () => {
    const { url } = await serve({ a: hello }, { receiveTimeout: 300 });
    const talk = (text: string) =>
      new Promise<string>((resolve) => {
        let answer = '';
        const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
        socket.on('data', (data) => {
          answer += data;
        });
        socket.on('close', () => resolve(answer));
      });
    expect(await talk('hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [\s\S]*"error"/);
    expect(await talk(`GET / HTTP/1.1\r\nx: ${'y'.repeat(100_000)}`)).toMatch(/^HTTP\/1\.1 431 [\s\S]*"error"/);
    expect(await talk('POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n')).toMatch(
      /^HTTP\/1\.1 408 /,
    );
    expect(
      await talk(
        'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
      ),
    ).toMatch(/^HTTP\/1\.1 408 /);
  });
});

describe('who may use it', () => {
  it('those with the key, where there is one', async () => {
    const { url } = await serve({ a: hello }, { apiKey: 'sesame' });
    const get = (authorization?: string) =>
      fetch(`${url}/v1/models`, authorization === undefined ? {} : { headers: { authorization } });
    expect((await get('Bearer sesame')).status).toBe(200);
    for (const wrong of [undefined, 'Bearer', 'Bearer sesam', 'Bearer sesame2', 'Basic sesame', 'sesame']) {
      expect(await errorOf(await get(wrong))).toMatchObject({ status: 401, code: 'invalid_api_key' });
    }
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect(() => createServer({ a: hello }, { apiKey: '' })).toThrow('apiKey is empty');
  });

  it('who names this machine, or a host that is allowed', async () => {
    const closed = await serve({ a: hello });
    const open = await serve({ a: hello }, { allowedHosts: ['Box.example'] });
    const ask = (url: string, host: string, path = '/v1/models') =>
      new Promise<number | undefined>((resolve, reject) => {
        const { port } = new URL(url);
        get({ host: '127.0.0.1', port, path, headers: { host } }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on('error', reject);
      });
    for (const host of [
      'localhost',
      'LOCALHOST:80',
      '127.0.0.1',
      '127.0.0.1:8000',
      '[::1]:8000',
      'localhost.',
      'a.localhost',
    ]) {
      expect(await ask(closed.url, host), host).toBe(200);
    }
    for (const host of [
      'evil.example',
      'evil.example:8000',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '10.0.0.1',
      'box.example',
    ]) {
      expect(await ask(closed.url, host), host).toBe(403);
      expect(await ask(closed.url, host, '/health'), host).toBe(403);
    }
    expect(await ask(open.url, 'box.example:9')).toBe(200);
    expect(await ask(open.url, 'other.example')).toBe(403);
    // A proxy's form of request: what it names counts.
    expect(await ask(closed.url, 'localhost', 'http://evil.example/v1/models')).toBe(403);
    expect(await ask(closed.url, 'evil.example', 'http://localhost/v1/models')).toBe(200);
  });

  it('HEAD and OPTIONS are answered, and other methods are told which there are', async () => {
    const { url } = await serve({ a: hello });
    for (const path of ['/health', '/v1/models', '/v1/models/a', '/metrics']) {
      const [head, whole] = [await fetch(url + path, { method: 'HEAD' }), await fetch(url + path)];
      expect([head.status, await head.text()]).toEqual([200, '']);
      expect(head.headers.get('content-type')).toBe(whole.headers.get('content-type'));
      const options = await fetch(url + path, { method: 'OPTIONS' });
      expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS']);
      expect(options.headers.has('access-control-allow-origin')).toBe(false);
      expect((await fetch(url + path, { method: 'DELETE' })).headers.get('allow')).toBe('GET, HEAD, OPTIONS');
    }
    const chat = `${url}/v1/chat/completions`;
    expect((await fetch(chat, { method: 'OPTIONS' })).headers.get('allow')).toBe('POST, OPTIONS');
    const head = await fetch(chat, { method: 'HEAD' });
    expect([head.status, head.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
    expect((await fetch(`${url}/nowhere`, { method: 'OPTIONS' })).status).toBe(404);
    expect((await fetch(`${url}/v1/models/b`, { method: 'HEAD' })).status).toBe(404);
  });

  it('web pages only of the origin that is allowed', async () => {
    const closed = await serve({ a: hello });
    const page = { headers: { origin: 'http://page.example' } };
    expect(await errorOf(await postJson(`${closed.url}/v1/chat/completions`, CHAT, page))).toMatchObject({
      status: 403,
    });
    const open = await serve({ a: hello }, { corsOrigin: 'http://page.example' });
    const preflight = await fetch(`${open.url}/v1/chat/completions`, { method: 'OPTIONS', ...page });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('http://page.example');
    expect((await postJson(`${open.url}/v1/chat/completions`, CHAT, page)).status).toBe(200);
    const other = { headers: { origin: 'http://other.example' } };
    expect((await fetch(`${open.url}/v1/models`, other)).status).toBe(403);
  });
});

describe('room', () => {
  it('is for so many completions; others wait, and one more than may wait is sent away', async () => {
    const { open, state, delay } = gate();
    const { url } = await serve(
      { a: scriptedModel(({ seed }) => `${seed}`, { delay }) },
      { maxConcurrent: 2, maxQueue: 1 },
    );
    const ask = (seed: number, n = 1) => postJson(`${url}/v1/chat/completions`, { ...CHAT, seed, n });
    const first = ask(1, 2);
    await until(() => state.arrived === 2);
    const second = ask(3);
    await until(async () => (await metric(url, 'posttrain_requests_waiting')) === 1);
    const third = await ask(4);
    expect(third.headers.get('retry-after')).toBe('1');
    expect(await errorOf(third)).toMatchObject({ status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' });
    expect(state.arrived).toBe(2);
    open();
    const texts = [first, second].map(async (response) => {
      const { choices } = (await (await response).json()) as { choices: { message: { content: string } }[] };
      return choices.map(({ message }) => message.content);
    });
    expect(await Promise.all(texts)).toEqual([['1', '2'], ['3']]);
  });

  it('is given back by clients that leave, while they wait and while they read', async () => {
    const { open, state, delay } = gate();
    const { url } = await serve({ a: scriptedModel(() => 'Hello there.', { delay }) }, { maxConcurrent: 1 });
    const leavers = Array.from({ length: 4 }, () => new AbortController());
    const left = leavers.map(({ signal }, i) =>
      postJson(`${url}/v1/chat/completions`, { ...CHAT, stream: i % 2 === 0 }, { signal }).catch((error) => error.name),
    );
    await until(async () => (await metric(url, 'posttrain_requests_waiting')) === 3);
    for (const leaver of leavers) leaver.abort();
    expect(await Promise.all(left)).toEqual(Array(4).fill('AbortError'));
    await until(async () => (await metric(url, 'posttrain_disconnects_total')) === 4);
    expect(await metric(url, 'posttrain_completions_running')).toBe(0);
    expect(await metric(url, 'posttrain_requests_waiting')).toBe(0);
    expect(state).toMatchObject({ arrived: 1, aborted: 1 });
    open();
    expect((await postJson(`${url}/v1/chat/completions`, CHAT)).status).toBe(200);
  });

  it('is not held longer than the time limit', async () => {
    const { delay } = gate();
    const { url } = await serve({ a: scriptedModel(() => 'x', { delay }) }, { requestTimeout: 50 });
    const late = await errorOf(await postJson(`${url}/v1/chat/completions`, CHAT));
    expect(late).toMatchObject({ status: 504, code: 'timeout' });
  });
});

describe('drain', () => {
  it('finishes what runs and waits, takes nothing new, and closes connections that were kept', async () => {
    const { open, state, delay } = gate();
    const { url, server } = await serve({ a: scriptedModel(() => 'Hello there.', { delay }) }, { maxConcurrent: 1 });
    const running = [true, false].map((stream) => postJson(`${url}/v1/chat/completions`, { ...CHAT, stream }));
    await until(async () => state.arrived === 1 && (await metric(url, 'posttrain_requests_waiting')) === 1);
    const drained = server.drain();
    await expect(fetch(`${url}/health`)).rejects.toThrow();
    open();
    expect(await (await running[0]!).text()).toContain('[DONE]');
    expect(await (await running[1]!).json()).toMatchObject({ choices: [{ finish_reason: 'stop' }] });
    await drained;
  });

  it('ends with an error what takes longer than the deadline', async () => {
    const { state, delay } = gate();
    const { url, server } = await serve({ a: scriptedModel(() => 'x', { delay }) });
    const running = postJson(`${url}/v1/chat/completions`, CHAT);
    await until(() => state.arrived === 1);
    await server.drain({ deadline: 10 });
    expect(await errorOf(await running)).toMatchObject({ status: 503, code: 'shutting_down' });
  });
});

describe('/metrics', () => {
  it('is Prometheus text that counts requests and tokens', async () => {
    const { url } = await serve({ a: hello });
    await (await postJson(`${url}/v1/chat/completions`, CHAT)).json();
    await (await postJson(`${url}/v1/chat/completions`, {})).json();
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const lines = (await response.text()).trim().split('\n');
    const sample = /^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[\d.e+-]+$/;
    for (const line of lines) if (line !== '' && !line.startsWith('# ')) expect(line).toMatch(sample);
    expect(await metric(url, 'posttrain_completion_tokens_total{model="a"}')).toBe(4);
    expect(await metric(url, 'posttrain_requests_total{route="/v1/chat/completions",status="200"}')).toBe(1);
    expect(await metric(url, 'posttrain_requests_total{route="/v1/chat/completions",status="400"}')).toBe(1);
    expect(await metric(url, 'posttrain_time_to_first_token_seconds_count{model="a"}')).toBe(1);
  });
});
