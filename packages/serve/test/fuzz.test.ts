import { request } from 'node:http';
import { connect } from 'node:net';
import {
  type Arbitrary,
  anything,
  array,
  assert,
  asyncProperty,
  constant,
  constantFrom,
  dictionary,
  double,
  integer,
  jsonValue,
  letrec,
  oneof,
  record,
  string,
  tuple,
} from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileConstraint } from '../../lm/src/constraint/compile-constraint.js';
import { tableOf } from '../../lm/test/constraint/support.js';
import { postJson, scriptedModel, serve } from './support.js';

const embed = async (texts: readonly string[]) => texts.map(() => Float32Array.of(1));

/** Values that fields of requests are given, right and wrong. */
const scalar = oneof(
  jsonValue({ maxDepth: 2 }),
  integer(),
  double(),
  string({ unit: 'binary', maxLength: 20 }),
  constantFrom(
    null,
    true,
    false,
    0,
    -1,
    1,
    2 ** 53,
    -(2 ** 63),
    1e308,
    1e-320,
    '',
    [],
    {},
    [[]],
    '\ud800',
    '__proto__',
  ),
);
/** Mostly right, so that what comes after a field is reached as well. */
const field = (...right: unknown[]): Arbitrary<unknown> =>
  oneof({ arbitrary: constantFrom(...right), weight: 12 }, { arbitrary: scalar, weight: 1 });

const text = field('Hi', '', 'é', '\u0000', [{ type: 'text', text: 'x' }], null);
const call = field(
  [{ id: '1', type: 'function', function: { name: 'f', arguments: '{}' } }],
  [{ function: { name: 'f' } }],
);
const message = oneof(
  { arbitrary: record({ role: field('user', 'assistant', 'system', 'tool'), content: text }), weight: 8 },
  { arbitrary: record({ role: constant('assistant'), content: text, tool_calls: call }), weight: 2 },
  { arbitrary: record({ role: constant('tool'), content: text, tool_call_id: field('1') }), weight: 2 },
  { arbitrary: scalar, weight: 1 },
);
const sampling = {
  model: field('a'),
  n: field(1, 2),
  stream: field(true, false),
  stop: field('x', ['a', 'b'], null),
  seed: field(1, -5, 2 ** 60),
  max_tokens: field(1, 5),
  temperature: field(0, 1, 2, 1e-300),
  top_p: field(0, 0.5, 1),
  top_k: field(-1, 0, 5),
  min_p: field(0, 1),
  repetition_penalty: field(1, 1.2),
  presence_penalty: field(0, 2),
  frequency_penalty: field(0, -2),
  logit_bias: field({}, { 5: -100 }, { 999999: 1 }),
  user: field('me'),
  return_token_ids: field(true, false),
  prompt_logprobs: field(0, 3),
};
/** An object with what it must have and a few of what it may have. */
const few = (must: Record<string, Arbitrary<unknown>>, may: Record<string, Arbitrary<unknown>>): Arbitrary<object> => {
  const one = oneof(...Object.entries(may).map(([name, value]) => record({ [name]: value })));
  return tuple(record(must), array(one, { maxLength: 4 })).map((parts) => Object.assign({}, ...parts.flat()));
};
const tools = field([{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }], []);
const chat = few(
  {
    model: field('a'),
    messages: oneof({ arbitrary: array(message, { minLength: 1, maxLength: 2 }), weight: 12 }, scalar),
  },
  {
    ...sampling,
    tools,
    tool_choice: field('auto', 'none', 'required', { type: 'function', function: { name: 'f' } }),
    response_format: field({ type: 'text' }, { type: 'json_schema', json_schema: { name: 's', schema: {} } }),
    logprobs: field(true, false),
    top_logprobs: field(0, 3),
    chat_template_kwargs: field({}, { enable_thinking: false }, { messages: [] }),
    stream_options: field({ include_usage: true }),
  },
);
const completion = few(
  { model: field('a'), prompt: field('Hi', ['a', 'b'], [1, 2], [[1], [2]], '') },
  { ...sampling, logprobs: field(0, 3), echo: field(false) },
);
const embedding = record({
  model: field('a'),
  input: field('x', ['x', 'y']),
  encoding_format: field('float', 'base64'),
});

const pattern = oneof(
  constantFrom(
    '^[a-z]+$',
    'a|b',
    '^(a+)+$',
    '((a{1,99}){1,99}){1,99}',
    '(?=a)b',
    '[',
    '(',
    'a{9,1}',
    '\\\\p{L}',
    '^$',
    '\\\\',
    '.*.*.*.*x',
  ),
  constantFrom('x'.repeat(30_000), '('.repeat(5000), `${'(a|'.repeat(3000)}b${')'.repeat(3000)}`, '[^\\u0000]{1,5000}'),
  string({ unit: 'binary', maxLength: 20 }),
);
const count = field(0, 1, 3, 1e9, -1, 1.5);
const { schema } = letrec<{ schema: unknown; object: unknown }>((tie) => ({
  object: few(
    {},
    {
      type: field('string', 'integer', 'number', 'object', 'array', 'null', 'boolean', ['string', 'null'], 'nothing'),
      pattern,
      format: field('uri', 'email', 'uuid', 'date-time', 'none'),
      minLength: count,
      maxLength: count,
      minimum: field(0, -1e300, 5, 2 ** 60),
      maximum: field(10, 1e300),
      multipleOf: field(1, 0.1),
      enum: field(
        [],
        [1, 'a', null, { a: 1 }],
        Array.from({ length: 3000 }, (_, i) => i),
      ),
      const: scalar,
      minItems: count,
      maxItems: count,
      uniqueItems: field(true, false),
      required: field(['a'], ['a', 'a', 'b'], 'a'),
      $ref: field('#', '#/$defs/a', '#/%', '#/a%zz', 'x', '#/properties/a'),
      $defs: record({ a: tie('schema') }),
      properties: record({ a: tie('schema'), b: tie('schema'), __proto__: tie('schema') }, { requiredKeys: [] }),
      propertyNames: tie('schema'),
      additionalProperties: tie('schema'),
      items: oneof(tie('schema'), array(tie('schema'), { maxLength: 3 })),
      additionalItems: tie('schema'),
      prefixItems: array(tie('schema'), { maxLength: 3 }),
      anyOf: array(tie('schema'), { maxLength: 3 }),
      oneOf: array(tie('schema'), { maxLength: 3 }),
      allOf: array(tie('schema'), { maxLength: 3 }),
      not: tie('schema'),
    },
  ),
  schema: oneof({ maxDepth: 3 }, { arbitrary: tie('object'), weight: 8 }, constantFrom(true, false, {}), scalar),
}));

/** What every answer must be: a success of the API, or one of its errors that is the request's fault. */
async function checkAnswer(response: Response): Promise<number> {
  const body = await response.text();
  if (response.status === 200 && response.headers.get('content-type') === 'text/event-stream') {
    expect(body.endsWith('data: [DONE]\n\n')).toBe(true);
    for (const event of body.split('\n\n').slice(0, -2)) expect(JSON.parse(event.slice(6))).toHaveProperty('choices');
  } else if (response.status === 200) expect(JSON.parse(body)).toHaveProperty('model');
  else {
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(response.status).toBeLessThan(500);
    const { error } = JSON.parse(body);
    expect(error).toMatchObject({ message: expect.any(String), type: 'invalid_request_error' });
    expect(error.message.length).toBeLessThan(1000);
  }
  return response.status;
}

describe('whatever is sent, the answer is the API’s', () => {
  it.each([
    ['chat/completions', chat],
    ['completions', completion],
    ['embeddings', embedding],
  ])('%s: nearly right requests', async (path, requests) => {
    const { url, failures } = await serve({ a: scriptedModel(() => 'Hello.', { embed }) });
    const statuses = new Map<number, number>();
    await assert(
      asyncProperty(requests, async (body) => {
        const status = await checkAnswer(await postJson(`${url}/v1/${path}`, body));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }),
      { numRuns: 300 },
    );
    expect(failures).toEqual([]);
    // Both kinds were met, so neither half of the check is idle.
    expect(statuses.get(200)).toBeGreaterThan(10);
    expect(statuses.get(400)).toBeGreaterThan(10);
  });

  it('any JSON, any text, any nesting', async () => {
    const { url, failures } = await serve({ a: scriptedModel(() => 'Hello.') });
    const nested = (depth: number, open: string, close: string) => open.repeat(depth) + 1 + close.repeat(depth);
    const bodies = oneof(
      jsonValue().map((value) => JSON.stringify(value)),
      dictionary(constantFrom(...Object.keys(sampling), 'messages', '__proto__', 'constructor'), anything()).map(
        (value) => JSON.stringify(value, (_, it) => (typeof it === 'bigint' ? `${it}` : it)),
      ),
      string({ unit: 'binary' }),
      integer({ min: 1, max: 20_000 }).map((depth) => `{"model":"a","messages":${nested(depth, '[', ']')}}`),
      integer({ min: 1, max: 5000 }).map((depth) => `{"model":"a","tools":${nested(depth, '{"a":', '}')}}`),
      integer({ min: 1, max: 5000 }).map((digits) => `{"model":"a","messages":[],"seed":${'9'.repeat(digits)}}`),
    );
    await assert(
      asyncProperty(constantFrom('chat/completions', 'completions', 'embeddings'), bodies, async (path, body) => {
        await checkAnswer(await postJson(`${url}/v1/${path}`, body));
      }),
      { numRuns: 300 },
    );
    expect(failures).toEqual([]);
  });

  it('schemas, right and wrong, catastrophic patterns among them', async () => {
    const { tokenizer } = await tableOf('byte-level-bpe');
    const answer: Parameters<typeof scriptedModel>[0] = ({ constraint }) => {
      if (constraint) compileConstraint(tokenizer, constraint);
      return '{}';
    };
    const { url, failures } = await serve({ a: scriptedModel(answer) });
    const statuses = new Map<number, number>();
    await assert(
      asyncProperty(schema, constantFrom('format', 'tool'), async (one, use) => {
        const parameters = one as object;
        const asked =
          use === 'format'
            ? { response_format: { type: 'json_schema', json_schema: { name: 's', schema: one } } }
            : { tools: [{ type: 'function', function: { name: 'f', parameters } }], tool_choice: 'required' };
        const body = { model: 'a', messages: [{ role: 'user', content: 'x' }], ...asked };
        const status = await checkAnswer(await postJson(`${url}/v1/chat/completions`, body));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }),
      { numRuns: 300 },
    );
    expect(failures).toEqual([]);
    expect(statuses.get(200)).toBeGreaterThan(10);
    expect(statuses.get(400)).toBeGreaterThan(10);
  });

  it('any method, address and headers, and bodies that end too early', async () => {
    const { url, failures } = await serve({ a: scriptedModel(() => 'Hello.') }, { receiveTimeout: 500 });
    const { port } = new URL(url);
    const good = JSON.stringify({ model: 'a', messages: [{ role: 'user', content: 'x' }] });
    const ask = (method: string, path: string, headers: Record<string, string>, body: string) =>
      new Promise<number | undefined>((resolve) => {
        const sent = request({ host: '127.0.0.1', port, method, path, headers }, (response) => {
          response.resume();
          response.on('close', () => resolve(response.statusCode));
        });
        sent.on('error', () => resolve(undefined));
        sent.end(body);
      });
    const header = record(
      {
        'content-type': constantFrom(
          'application/json',
          'text/plain',
          'application/json; charset=utf-16',
          'a/b+json',
          '\u00e9',
        ),
        host: constantFrom('localhost', '', ':', '[', 'evil', '127.0.0.1:99999999'),
        authorization: constantFrom('Bearer x', 'Bearer', ''),
        expect: constantFrom('100-continue', 'x'),
        origin: constantFrom('null', 'http://localhost'),
        'content-encoding': constantFrom('gzip', 'identity'),
      },
      { requiredKeys: [] },
    );
    const method = constantFrom('GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND');
    const path = oneof(
      constantFrom(
        '/',
        '*',
        '//',
        '/v1/chat/completions',
        '/v1/models/%',
        '/v1/models/%00',
        '/health?a',
        'http://[',
        'http://x/v1/models',
      ),
      constantFrom('/v1/models/__proto__', '/constructor', '/v1/embeddings/', `/${'x'.repeat(5000)}`),
    );
    await assert(
      asyncProperty(method, path, header, constantFrom('', '{', good), async (method, path, headers, body) => {
        expect((await ask(method, path, headers as Record<string, string>, body)) ?? 0).toBeLessThan(500);
      }),
      { numRuns: 200, seed: 19 },
    );
    const start = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;
    const cut = [
      `${start}content-length: 999\r\n\r\n${good}`,
      `${start}transfer-encoding: chunked\r\n\r\n5\r\n{"mod`,
      `${start}transfer-encoding: chunked\r\n\r\nzz\r\n`,
      `${start}content-length: 5\r\ncontent-length: 6\r\n\r\n${good}`,
    ];
    const ended = cut.flatMap((text) =>
      [true, false].map(
        (closes) =>
          new Promise<void>((resolve) => {
            const socket = connect(Number(port), '127.0.0.1', () =>
              socket.write(text, () => closes && socket.destroy()),
            );
            socket.on('error', () => undefined).on('close', () => resolve());
            socket.resume();
          }),
      ),
    );
    await Promise.all(ended);
    expect((await postJson(`${url}/v1/chat/completions`, good)).status).toBe(200);
    expect(failures).toEqual([]);
  });
});
