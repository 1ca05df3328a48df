import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { beforeAll, describe, expect, it } from 'vitest';
import { largestDifference, tinyModel } from '../../lm/test/support.js';
import { localModels } from '../src/index.js';
import { postJson, serve } from './support.js';

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
