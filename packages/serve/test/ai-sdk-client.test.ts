import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { CompletionRequest } from '../src/index.js';
import { scriptedModel, serve } from './support.js';

const CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>';
const weather = tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });

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
