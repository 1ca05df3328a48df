import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { CompletionRequest } from '../src/index.js';
import { scriptedModel, serve } from './support.js';

describe('client of OpenAI', () => {
  const echo = scriptedModel((request, prompt) => `${prompt.slice(-30)}|${request.seed}`);
  const client = async (models: Parameters<typeof serve>[0], options = {}) => {
    const { url } = await serve(models, options);
    return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 });
  };

  const WEATHER = {
    type: 'function' as const,
    function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
  };
  const CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>';

  describe('the official client', () => {
    it('lists models', async () => {
      const openai = await client({ a: echo, 'org/b': echo });
      expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(['a', 'org/b']);
      expect((await openai.models.retrieve('org/b')).id).toBe('org/b');
      await expect(openai.models.retrieve('c')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    });

    it('chats', async () => {
      const openai = await client({ a: scriptedModel(() => 'Hello there.') });
      const answer = await openai.chat.completions.create({
        model: 'a',
        messages: [
          { role: 'developer', content: 'Be brief.' },
          { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
        ],
        n: 2,
        logprobs: true,
        top_logprobs: 2,
      });
      expect(answer.object).toBe('chat.completion');
      expect(answer.choices.map(({ index }) => index)).toEqual([0, 1]);
      for (const { message, finish_reason, logprobs } of answer.choices) {
        expect([message.role, message.content, finish_reason]).toEqual(['assistant', 'Hello there.', 'stop']);
        expect(logprobs!.content!.map(({ token }) => token).join('')).toBe('Hello there.');
        expect(logprobs!.content![0]).toMatchObject({ bytes: [72, 101, 108], logprob: -0.5 });
        expect(logprobs!.content![0]!.top_logprobs.length).toBe(2);
      }
      expect(answer.usage).toMatchObject({ completion_tokens: 8, total_tokens: answer.usage!.prompt_tokens + 8 });
    });

    it('streams chats: the same text, one reason per choice, and usage when asked', async () => {
      const openai = await client({ a: scriptedModel(({ seed }) => `Sample with seed ${seed}.`) });
      const stream = await openai.chat.completions.create({
        model: 'a',
        messages: [{ role: 'user', content: 'Hi' }],
        n: 2,
        seed: 7,
        stream: true,
        stream_options: { include_usage: true },
      });
      const texts = ['', ''];
      const reasons: unknown[] = [];
      let usage: unknown;
      for await (const chunk of stream) {
        expect(chunk.object).toBe('chat.completion.chunk');
        for (const { index, delta, finish_reason } of chunk.choices) {
          texts[index] += delta.content ?? '';
          if (finish_reason) reasons.push([index, finish_reason]);
        }
        usage = chunk.usage ?? usage;
      }
      expect(texts).toEqual(['Sample with seed 7.', 'Sample with seed 8.']);
      expect(reasons.sort()).toEqual([
        [0, 'stop'],
        [1, 'stop'],
      ]);
      expect(usage).toMatchObject({ completion_tokens: 14 });
    });

    it('gives tool calls, whole and streamed', async () => {
      const openai = await client({ a: scriptedModel(() => `Let me look. ${CALL}`) });
      const request = { model: 'a', messages: [{ role: 'user' as const, content: 'Weather?' }], tools: [WEATHER] };
      const whole = await openai.chat.completions.create(request);
      const { message, finish_reason } = whole.choices[0]!;
      expect(finish_reason).toBe('tool_calls');
      expect(message.content).toBe('Let me look.');
      expect(message.tool_calls).toMatchObject([
        { type: 'function', function: { name: 'weather', arguments: '{"city": "Rome"}' } },
      ]);
      const streamed = await openai.chat.completions.stream(request).finalChatCompletion();
      expect(streamed.choices[0]!.message.content).toBe('Let me look.');
      expect(streamed.choices[0]!.finish_reason).toBe('tool_calls');
      expect(streamed.choices[0]!.message.tool_calls).toMatchObject([{ function: { arguments: '{"city": "Rome"}' } }]);
      const seen: unknown[] = [];
      for await (const { choices } of await openai.chat.completions.create({ ...request, stream: true })) {
        seen.push(
          ...(choices[0]!.delta.tool_calls ?? []).map(({ index, ...delta }) => [index, delta.type, delta.function]),
        );
      }
      expect(seen.slice(0, 2)).toEqual([
        [0, 'function', { name: 'weather', arguments: expect.stringMatching(/^.{0,2}$/) }],
        [0, undefined, { arguments: expect.stringMatching(/^.{1,3}$/) }],
      ]);
      expect(seen.length).toBeGreaterThan(4);
      const none = await openai.chat.completions.create({ ...request, tool_choice: 'none' });
      expect(none.choices[0]!.message.content).toContain('<tool_call>');
    });

    it('runs a conversation with tools to its end', async () => {
      const openai = await client({
        a: scriptedModel((_, prompt) => {
          const { messages } = JSON.parse(prompt);
          const last = messages.at(-1);
          // Templates get arguments as objects.
          if (last.role === 'tool') return `${messages.at(-2).tool_calls[0].function.arguments.city}: ${last.content}`;
          return CALL;
        }),
      });
      const runner = openai.chat.completions.runTools({
        model: 'a',
        messages: [{ role: 'user', content: 'Weather in Rome?' }],
        tools: [
          {
            type: 'function',
            function: {
              name: 'weather',
              description: 'The weather of a city',
              parameters: { type: 'object', properties: { city: { type: 'string' } } },
              parse: JSON.parse,
              function: ({ city }: { city: string }) => `sunny in ${city}`,
            },
          },
        ],
      });
      expect(await runner.finalContent()).toBe('Rome: sunny in Rome');
    });

    it('completes text and token ids, several prompts at once', async () => {
      const openai = await client({ a: echo });
      const answer = await openai.completions.create({
        model: 'a',
        prompt: ['one', 'two'],
        n: 2,
        seed: 1,
        logprobs: 1,
      });
      expect(answer.choices.map(({ text }) => text)).toEqual(['one|1', 'one|2', 'two|1', 'two|2']);
      expect(answer.choices[0]!.logprobs).toMatchObject({ tokens: ['one', '|1'], text_offset: [0, 3] });
      expect(answer.usage).toMatchObject({ prompt_tokens: 6, completion_tokens: 8 });
      const ids = await openai.completions.create({ model: 'a', prompt: [104, 105], seed: 1 });
      expect(ids.choices[0]!.text).toBe('hi|1');
      let streamed = '';
      for await (const chunk of await openai.completions.create({ model: 'a', prompt: 'abc', seed: 5, stream: true })) {
        streamed += chunk.choices[0]!.text;
      }
      expect(streamed).toBe('abc|5');
    });

    it('embeds, in both encodings', async () => {
      const embed = async (texts: readonly string[]) => texts.map((text) => Float32Array.from([text.length, 0.1]));
      const openai = await client({ a: scriptedModel(() => '', { embed }), b: echo });
      for (const encoding_format of ['float', 'base64'] as const) {
        const { data, usage } = await openai.embeddings.create({ model: 'a', input: ['x', 'yyy'], encoding_format });
        if (encoding_format === 'float') expect(data.map(({ embedding }) => embedding[0])).toEqual([1, 3]);
        expect(usage).toEqual({ prompt_tokens: 4, total_tokens: 4 });
      }
      // Left to itself the client asks for base64 and decodes it.
      const { data } = await openai.embeddings.create({ model: 'a', input: 'four' });
      expect(Array.from(data[0]!.embedding)).toEqual([4, Math.fround(0.1)]);
      await expect(openai.embeddings.create({ model: 'b', input: 'x' })).rejects.toMatchObject({
        status: 400,
        code: 'unsupported_model',
      });
    });

    it('gets errors of its own classes', async () => {
      const openai = await client({ a: echo }, { maxTokens: 10 });
      const ask = (fields: object) =>
        openai.chat.completions.create({ model: 'a', messages: [{ role: 'user', content: 'x' }], ...fields });
      await expect(ask({ model: 'nope' })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
      await expect(ask({ temperature: 3 })).rejects.toMatchObject({
        status: 400,
        param: 'temperature',
        code: 'invalid_value',
      });
      await expect(ask({ max_tokens: 11 })).rejects.toMatchObject({ param: 'max_tokens' });
      await expect(ask({ max_tokenz: 1 })).rejects.toThrow("Did you mean 'max_tokens'?");
      await expect(ask({ messages: [] })).rejects.toMatchObject({ param: 'messages', code: 'empty_array' });
      await expect(ask({ messages: [{ role: 'user', content: 'x'.repeat(5000) }] })).rejects.toMatchObject({
        code: 'context_length_exceeded',
      });
      await expect(
        ask({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] }] }),
      ).rejects.toMatchObject({ status: 400, param: 'messages[0].content[0].type' });
    });
  });
});

describe('client of the AI SDK', () => {
  const CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>';
  const weather = tool({
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  });

  async function provider(models: Parameters<typeof serve>[0]) {
    const { url } = await serve(models);
    return createOpenAICompatible({
      name: 'local',
      baseURL: `${url}/v1`,
      includeUsage: true,
      supportsStructuredOutputs: true,
    });
  }

  describe('the AI SDK’s OpenAI-compatible provider', () => {
    it('generates and streams text', async () => {
      const local = await provider({ a: scriptedModel(() => 'Hello there.') });
      const { text, usage, finishReason } = await generateText({ model: local('a'), system: 'Brief.', prompt: 'Hi' });
      expect([text, finishReason]).toEqual(['Hello there.', 'stop']);
      expect(usage).toMatchObject({ outputTokens: 4 });
      const streamed = streamText({ model: local('a'), prompt: 'Hi' });
      expect(await streamed.text).toBe('Hello there.');
      expect(await streamed.usage).toMatchObject({ outputTokens: 4 });
    });

    it('calls tools over several steps, whole and streamed', async () => {
      const local = await provider({
        a: scriptedModel((_, prompt) => {
          const last = JSON.parse(prompt).messages.at(-1);
          return last.role === 'tool' ? `It is ${last.content}.` : CALL;
        }),
      });
      const settings = { model: local('a'), prompt: 'Weather?', tools: { weather }, stopWhen: stepCountIs(3) };
      const { text, steps } = await generateText(settings);
      expect([text, steps.length]).toEqual(['It is sunny in Rome.', 2]);
      expect(await streamText(settings).text).toBe('It is sunny in Rome.');
    });

    it('gets objects by their schema', async () => {
      const asked: CompletionRequest[] = [];
      const local = await provider({
        a: scriptedModel((request) => {
          asked.push(request);
          return '{"sum": 5}';
        }),
      });
      const schema = z.object({ sum: z.number() });
      const { output } = await generateText({ model: local('a'), prompt: '2 + 3?', output: Output.object({ schema }) });
      expect(output).toEqual({ sum: 5 });
      expect(asked[0]!.constraint).toMatchObject({ schema: { properties: { sum: { type: 'number' } } } });
    });

    it('embeds', async () => {
      const embed = async (texts: readonly string[]) => texts.map((text) => Float32Array.of(text.length, 1));
      const local = await provider({ a: scriptedModel(() => '', { embed }) });
      const { embeddings } = await embedMany({ model: local.embeddingModel('a'), values: ['x', 'yy'] });
      expect(embeddings).toEqual([
        [1, 1],
        [2, 1],
      ]);
    });

    it('reads its errors', async () => {
      const local = await provider({ a: scriptedModel(() => '') });
      await expect(generateText({ model: local('b'), prompt: 'Hi', maxRetries: 0 })).rejects.toMatchObject({
        name: 'AI_APICallError',
        statusCode: 404,
        message: "The model 'b' does not exist. There are: a.",
      });
    });
  });
});
