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
  oneof,
  record,
  string,
  tuple,
} from 'fast-check';
import { describe, expect, it } from 'vitest';
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
});
