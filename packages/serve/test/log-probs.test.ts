import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { testEmbedder, testGenerator } from '@posttrain/interfaces/testing';
import { LocalEmbedder } from '@posttrain/lm';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { automatonParts } from '../../lm/src/constraint/automaton-parts.js';
import { constraintAutomaton } from '../../lm/src/constraint/compile-constraint.js';
import { jsonSchemaGrammar } from '../../lm/src/constraint/json-schema.js';
import { largestDifference, tinyModel } from '../../lm/test/support.js';
import { openaiCompatible, openaiCompatibleEmbedder } from '../../openai/src/index.js';
import { tinyPolicy } from '../../rl/src/testing/tiny-model.js';
import { embedInSlices } from '../src/embed-in-slices.js';
import { localModels } from '../src/index.js';
import { checkJsonSize } from '../src/json-size.js';
import { TextWorker } from '../src/tokenize.js';
import { Turns } from '../src/turns.js';
import { postJson, scriptedModel, serve } from './support.js';

describe('log-probabilities', () => {
  beforeAll(() => setEngine(onnxruntimeEngine()));

  interface Lists {
    readonly tokens: string[];
    readonly token_logprobs: number[];
    readonly top_logprobs: Record<string, number>[];
    readonly text_offset: number[];
  }
  interface Choice {
    readonly text: string;
    readonly message: { readonly content: string };
    readonly logprobs: Lists & { readonly content: Entry[] };
  }
  interface Entry {
    readonly token: string;
    readonly logprob: number;
    readonly bytes: number[] | null;
    readonly top_logprobs: Entry[];
  }

  async function client(kind: string) {
    const model = await tinyModel(kind);
    const { url } = await serve(localModels('m', model));
    const ask = async (path: string, body: object) => {
      const response = await postJson(`${url}/v1/${path}`, { model: 'm', temperature: 1, max_tokens: 40, ...body });
      expect(response.status).toBe(200);
      return response;
    };
    const choiceOf = async (path: string, body: object) => {
      const { choices } = (await (await ask(path, body)).json()) as { choices: Choice[] };
      return choices[0]!;
    };
    const events = async (path: string, body: object) => {
      const text = await (await ask(path, { ...body, stream: true })).text();
      const lines = text.split('\n\n').filter((line) => line.startsWith('data: {'));
      return lines.map((line) => JSON.parse(line.slice(6)).choices[0]);
    };
    return { model, choiceOf, events };
  }

  const named = ({ token, bytes }: Entry) => ({ token, bytes });
  const logProb = ({ logprob }: Entry): number => logprob;
  const join = <T>(lists: T[][]): T[] => lists.flat();

  describe.each(['byte-level-bpe', 'sentencepiece-bpe', 'unigram'])('log-probabilities over the API: %s', (kind) => {
    it('of completions: tokens joined are the text, each at its offset, streamed or not', async () => {
      const { choiceOf, events } = await client(kind);
      for (const seed of [1, 2, 3]) {
        const body = { prompt: 'Hello', seed, logprobs: 5 };
        const { text, logprobs } = await choiceOf('completions', body);
        const { tokens, text_offset, top_logprobs, token_logprobs }: Lists = logprobs;
        expect(tokens.join('')).toBe(text);
        const points = Array.from(text as string);
        tokens.forEach((token, i) => {
          expect(points.slice(text_offset[i]!, text_offset[i]! + Array.from(token).length).join('')).toBe(token);
          const values = Object.values(top_logprobs[i]!);
          // The drawn token is there beside the five.
          expect(values.length).toBeGreaterThanOrEqual(5);
          expect(values.length).toBeLessThanOrEqual(6);
          if (token !== '') expect(top_logprobs[i]![token]).toBe(token_logprobs[i]);
        });
        const parts: { logprobs: Lists }[] = await events('completions', body);
        const streamed = (key: keyof Lists) => join(parts.map((part) => part.logprobs[key] as unknown[]));
        for (const key of ['tokens', 'text_offset'] as const) expect(streamed(key)).toEqual(logprobs[key]);
        expect(largestDifference(streamed('token_logprobs') as number[], token_logprobs)).toBeLessThan(1e-4);
        const counts = (list: unknown[]) => list.map((one) => Object.keys(one as object).length);
        expect(counts(streamed('top_logprobs'))).toEqual(counts(top_logprobs));
      }
    });

    it('of chats: bytes joined are the text, streamed or not', async () => {
      const { choiceOf, events, model } = await client(kind);
      const ids = Array.from({ length: model.tokenizer.vocabSize }, (_, id) => id);
      const parts = ids.filter((id) => model.tokenizer.decode([id]).includes('\uFFFD'));
      // What is no character is shown by as many U+FFFD as the decoder likes.
      const whole = Object.fromEntries(parts.map((id) => [id, -100]));
      for (const [seed, logit_bias] of [
        [1, {}],
        [2, whole],
        [3, whole],
      ] as const) {
        const body = { messages: [{ role: 'user', content: 'Hi' }], seed, logit_bias, logprobs: true, top_logprobs: 3 };
        const { message, logprobs } = await choiceOf('chat/completions', body);
        const content: Entry[] = logprobs.content;
        const bytes = content.flatMap((entry) => entry.bytes ?? []);
        if (logit_bias === whole) expect(Buffer.from(bytes).toString('utf8')).toBe(message.content);
        for (const { token, bytes, top_logprobs } of content) {
          expect(top_logprobs.length).toBe(3);
          if (bytes === null) continue;
          const part = /^bytes:((?:\\x[0-9a-f]{2})+)$/.exec(token)?.[1];
          if (part) expect(Buffer.from(part.replaceAll('\\x', ''), 'hex')).toEqual(Buffer.from(bytes));
          else expect(Buffer.from(token, 'utf8')).toEqual(Buffer.from(bytes));
        }
        const chunks: { logprobs: { content: Entry[] } | null }[] = await events('chat/completions', body);
        const streamed = join(chunks.map((chunk) => chunk.logprobs?.content ?? []));
        expect(streamed.map(named)).toEqual(content.map(named));
        expect(largestDifference(streamed.map(logProb), content.map(logProb))).toBeLessThan(1e-4);
      }
    });

    it('name tokens by their ids where that is asked for', async () => {
      const { choiceOf, model } = await client(kind);
      const body = { prompt: 'Hello', seed: 1, logprobs: 2, return_tokens_as_token_ids: true, max_tokens: 5 };
      const { tokens, top_logprobs } = (await choiceOf('completions', body)).logprobs;
      for (const name of [...tokens, ...top_logprobs.flatMap(Object.keys)]) {
        expect(Number(/^token_id:(\d+)$/.exec(name)![1])).toBeLessThan(model.tokenizer.vocabSize);
      }
    });
  });
});

describe('tokenize', () => {
  afterEach(() => vi.restoreAllMocks());

  async function texts(kind = 'byte-level-bpe') {
    const { tokenizer, chatTemplate } = await tinyModel(kind);
    const spy = vi.spyOn(tokenizer, 'encode');
    return { tokenizer, chatTemplate: chatTemplate!, worker: new TextWorker({ tokenizer, chatTemplate }), spy };
  }

  const long = 'The quick brown fox. '.repeat(800);

  describe('TextWorker', () => {
    it.each(['byte-level-bpe', 'sentencepiece-bpe'])(
      'gives the tokenizer’s tokens, of long texts in a thread: %s',
      async (kind) => {
        const { tokenizer, chatTemplate, worker, spy } = await texts(kind);
        const chat = { messages: [{ role: 'user' as const, content: long }] };
        const [text, short, rendered] = await Promise.all([
          worker.tokenize({ text: long, addSpecialTokens: true }),
          worker.tokenize({ text: 'short', addSpecialTokens: true }),
          worker.tokenize({ chat }),
        ]);
        // Here it has made tokens of the short one only.
        expect(spy.mock.calls.map(([given]) => given.length)).toEqual([5]);
        expect(text).toEqual(tokenizer.encode(long));
        expect(short).toEqual(tokenizer.encode('short'));
        expect(rendered).toEqual(chatTemplate.renderChat(chat.messages, { addGenerationPrompt: true }).tokenIds);
      },
    );

    it('goes on after an error, and after a task whose asker has gone', async () => {
      const { tokenizer, worker } = await texts();
      const refused = worker.tokenize({
        chat: { messages: [{ role: 'nobody' as 'user', content: { x: long } as never }] },
      });
      await Promise.resolve(refused).catch(() => undefined);
      const gone = new AbortController();
      const running = worker.tokenize({ text: long.repeat(20), addSpecialTokens: true }, gone.signal);
      const waiting = worker.tokenize({ text: long.repeat(20), addSpecialTokens: true }, gone.signal);
      const other = worker.tokenize({ text: long, addSpecialTokens: true });
      gone.abort(new Error('gone'));
      await expect(running).rejects.toThrow('gone');
      await expect(waiting).rejects.toThrow('gone');
      expect(await other).toEqual(tokenizer.encode(long));
    });

    it('builds automata of constraints in the thread, the tokenizer still being here only', async () => {
      const { worker, tokenizer } = await texts();
      const saved = vi.spyOn(tokenizer, 'save');
      const constraint = { type: 'json-schema', schema: { type: 'string', pattern: '^a{3,5}$' } } as const;
      expect(await worker.automaton(JSON.stringify(constraint))).toEqual(constraintAutomaton(constraint));
      const wrong = JSON.stringify({ type: 'json-schema', schema: { $ref: '#/x' } });
      await expect(worker.automaton(wrong)).rejects.toMatchObject({
        code: 'INVALID_CONSTRAINT',
        message: expect.stringMatching(/points nowhere/),
      });
      expect(saved).not.toHaveBeenCalled();
      const gone = new AbortController();
      const large = { type: 'json-schema', schema: { enum: Array.from({ length: 50_000 }, (_, i) => i) } };
      const left = worker.automaton(JSON.stringify(large), gone.signal);
      const other = worker.automaton(JSON.stringify(constraint));
      gone.abort(new Error('gone'));
      await expect(left).rejects.toThrow('gone');
      expect(await other).toEqual(constraintAutomaton(constraint));
      expect(await worker.tokenize({ text: long, addSpecialTokens: true })).toEqual(tokenizer.encode(long));
      expect(saved).toHaveBeenCalledOnce();
    });
  });
});

describe('one request', () => {
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
      [
        'closed properties',
        { type: 'object', properties: keys(2000, { type: 'string' }), additionalProperties: false },
      ],
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
});

describe('clients of an endpoint pass the kits of the interfaces', () => {
  beforeAll(() => setEngine(onnxruntimeEngine()));
  const texts = ['abc', 'd', 'eadb'];
  const endpoint = async () => {
    const model = await tinyPolicy();
    const { url } = await serve(localModels('m', model, { embedder: new LocalEmbedder(model) }));
    return { baseURL: `${url}/v1`, model: 'm' };
  };
  testGenerator(it, 'openaiCompatible', async () => openaiCompatible({ ...(await endpoint()), api: 'completions' }), {
    prompts: texts,
  });
  testEmbedder(it, 'openaiCompatibleEmbedder', async () => openaiCompatibleEmbedder(await endpoint()), { texts });
});
