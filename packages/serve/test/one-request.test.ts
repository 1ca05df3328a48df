import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { LocalEmbedder } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { automatonParts } from '../../lm/src/constraint/automaton-parts.js';
import { jsonSchemaGrammar } from '../../lm/src/constraint/json-schema.js';
import { tinyModel } from '../../lm/test/support.js';
import { embedInSlices } from '../src/embed-in-slices.js';
import { localModels } from '../src/index.js';
import { checkJsonSize } from '../src/json-size.js';
import { Turns } from '../src/turns.js';
import { postJson, scriptedModel, serve } from './support.js';

beforeAll(() => setEngine(onnxruntimeEngine()));

const CHAT = { model: 'a', max_tokens: 1, messages: [{ role: 'user', content: 'Hi' }] };
const keys = (count: number, value: unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`name${i}`, value]));
const constrainedBy = (schema: unknown) => ({
  ...CHAT,
  response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
});

describe('one request does not hold up the others', () => {
  it.each([
    ['closed properties', { type: 'object', properties: keys(2000, { type: 'string' }), additionalProperties: false }],
    ['an enum', { enum: Array.from({ length: 100_000 }, (_, i) => `word ${i}`) }],
    ['a constant', { const: keys(100_000, 1) }],
    [
      'a refused allOf',
      { allOf: [{ properties: keys(30_000, {}) }, { properties: { ...keys(29_999, {}), name29999: true } }] },
    ],
  ])('whose schema is large: %s', async (_, schema) => {
    const model = await tinyModel();
    const { url } = await serve(localModels('a', model));
    const order: string[] = [];
    const large = postJson(`${url}/v1/chat/completions`, constrainedBy(schema)).then(async (response) => {
      order.push('large');
      return response.status;
    });
    // One after the other, from when the large one has begun.
    for (let i = 0; i < 3; i++) {
      await fetch(`${url}/health`);
      order.push('health');
    }
    expect([200, 400]).toContain(await large);
    expect(order).toEqual(['health', 'health', 'health', 'large']);
  });

  it.each([
    ['names', `{"x":{${'"":1,'.repeat(2 ** 17)}"":1}}`],
    ['objects and lists', `[${'[],'.repeat(2 ** 18)}[]]`],
    ['values', `[${'1,'.repeat(2 ** 20 + 1)}1]`],
    ['levels', '['.repeat(65)],
  ])('whose body has too many %s', (what, text) => {
    expect(() => checkJsonSize(text)).toThrow(what);
  });

  it('whose texts look like structure', () => {
    const text = JSON.stringify({ a: '["\\"{:,'.repeat(2 ** 19), b: ['[', '\\'], c: '{'.repeat(100) });
    expect(() => checkJsonSize(text)).not.toThrow();
  });

  it.each([
    ['of its own', keys(10_000, null), undefined],
    ['of a message', { messages: [{ role: 'user', content: 'Hi', ...keys(10_000, null) }] }, 'messages[0]'],
  ])('whose fields %s are unknown and many', async (_, extra, param) => {
    const { url } = await serve({ a: scriptedModel(() => 'Hello.') });
    const response = await postJson(`${url}/v1/chat/completions`, { ...CHAT, ...extra });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { param: param ?? null, message: expect.stringMatching(/has 100\d\d fields; at most 256/) },
    });
  });

  it('whose allOf has thousands of schemas', () => {
    const allOf = Array.from({ length: 30_000 }, (_, i) => ({
      required: ['a'],
      minProperties: undefined,
      [`x${i}`]: i,
    }));
    expect(() => automatonParts(jsonSchemaGrammar({ allOf }))).toThrow('"minProperties" is not supported');
    const described = Array.from({ length: 30_000 }, (_, i) => ({ properties: { [`name${i}`]: {} } }));
    expect(() => automatonParts(jsonSchemaGrammar({ allOf: described }))).toThrow('more than 7000 parts');
  });

  it('that has many texts to embed: the model has them in slices', async () => {
    const model = await tinyModel();
    const embedder = new LocalEmbedder(model, { pooling: 'last' });
    const slices: number[] = [];
    const watched = {
      embedTokens: (sequences: readonly (readonly number[])[]) => {
        slices.push(sequences.length * Math.max(...sequences.map(({ length }) => length)));
        return embedder.embedTokens(sequences);
      },
    };
    const sequences = Array.from({ length: 300 }, (_, i) =>
      Array.from({ length: 1 + (i % 30) }, (_, j) => (i + j) % 40),
    );
    const found = await embedInSlices(watched, sequences);
    expect(slices.length).toBeGreaterThan(4);
    expect(Math.max(...slices)).toBeLessThanOrEqual(1024);
    const alone = await embedder.embedTokens(sequences);
    for (const [i, vector] of found.entries()) {
      for (const [j, value] of vector.entries()) expect(value).toBeCloseTo(alone[i]![j]!, 4);
    }
    // One that is longer than a slice is a slice.
    slices.length = 0;
    const counted = {
      embedTokens: async (list: readonly (readonly number[])[]) => {
        slices.push(list.length);
        return list.map(({ length }) => Float32Array.of(length));
      },
    };
    expect(await embedInSlices(counted, [[1], new Array(2000).fill(1), [1, 2]])).toEqual(
      [1, 2000, 2].map((n) => Float32Array.of(n)),
    );
    expect(slices).toEqual([1, 2]);
  });

  it('whose work is in pieces: others come between two of them', async () => {
    const turns = new Turns();
    let others = 0;
    const other = setInterval(() => others++, 0);
    for (let piece = 0; piece < 10; piece++) {
      for (const start = performance.now(); performance.now() - start < 25; );
      await turns.next();
    }
    clearInterval(other);
    expect(others).toBeGreaterThanOrEqual(5);
  });
});
