import { embed, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { posttrainEmbedding } from '../../src/ai-sdk/index.js';
import { languageModel } from '../../src/ai-sdk/language-model.js';
import type { CompletionRequest } from '../../src/index.js';
import { scriptedModel } from '../support.js';

const CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>';
const weather = tool({
  description: 'The weather of a city',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

/** Asks for the weather once, then repeats what the tool said. */
const forecaster = languageModel(
  'forecaster',
  scriptedModel((_, prompt) => {
    const { messages } = JSON.parse(prompt);
    const last = messages.at(-1);
    return last.role === 'tool' ? `It is ${last.content}.` : `One moment. ${CALL}`;
  }),
);

describe('the AI SDK with a model in process', () => {
  it('generates text with its settings', async () => {
    const asked: CompletionRequest[] = [];
    const model = languageModel(
      'm',
      scriptedModel((request) => {
        asked.push(request);
        return 'Hello there.';
      }),
    );
    const { text, usage, finishReason } = await generateText({
      model,
      system: 'Be brief.',
      prompt: 'Hi',
      temperature: 0,
      topK: 3,
      seed: 4,
      stopSequences: ['x'],
      maxOutputTokens: 3,
    });
    expect([text, finishReason]).toEqual(['Hello the', 'length']);
    expect(usage).toMatchObject({ outputTokens: 3 });
    expect(asked[0]).toMatchObject({ temperature: 0, topK: 3, seed: 4, stop: ['x'], maxTokens: 3 });
  });

  it('streams text', async () => {
    const { textStream, finishReason } = streamText({
      model: languageModel(
        'm',
        scriptedModel(() => 'Hello there.'),
      ),
      prompt: 'Hi',
    });
    const pieces: string[] = [];
    for await (const piece of textStream) pieces.push(piece);
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.join('')).toBe('Hello there.');
    expect(await finishReason).toBe('stop');
  });

  it('calls tools and goes on with their results, whole and streamed', async () => {
    const settings = { model: forecaster, prompt: 'Weather?', tools: { weather }, stopWhen: stepCountIs(3) };
    const { text, steps } = await generateText(settings);
    expect(text).toBe('It is sunny in Rome.');
    expect(steps[0]).toMatchObject({ text: 'One moment.', finishReason: 'tool-calls' });
    expect(steps[0]!.toolCalls).toMatchObject([{ toolName: 'weather', input: { city: 'Rome' } }]);
    const streamed = streamText(settings);
    expect(await streamed.text).toBe('It is sunny in Rome.');
    expect((await streamed.steps).length).toBe(2);
  });

  it('asks for objects by their schema', async () => {
    const asked: CompletionRequest[] = [];
    const model = languageModel(
      'm',
      scriptedModel((request) => {
        asked.push(request);
        return '{"sum": 5}';
      }),
    );
    const schema = z.object({ sum: z.number() });
    const { output } = await generateText({ model, prompt: '2 + 3?', output: Output.object({ schema }) });
    expect(output).toEqual({ sum: 5 });
    expect(asked[0]!.constraint).toMatchObject({
      type: 'json-schema',
      schema: { properties: { sum: { type: 'number' } } },
    });
  });

  it('ends the completion when it is aborted or nobody reads on', async () => {
    const ended = { count: 0 };
    const endless = (signal: AbortSignal) => {
      signal.addEventListener('abort', () => ended.count++, { once: true });
      return new Promise((resolve) => setTimeout(resolve, 2));
    };
    const model = languageModel(
      'm',
      scriptedModel(() => 'x'.repeat(9000), { delay: endless }),
    );
    const abort = new AbortController();
    const running = generateText({ model, prompt: 'Hi', abortSignal: abort.signal });
    setTimeout(() => abort.abort(), 20);
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    expect(ended.count).toBeGreaterThan(0);
    ended.count = 0;
    const { stream } = await model.doStream({ prompt: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }] });
    const reader = stream.getReader();
    await reader.read();
    await reader.read();
    await reader.cancel();
    expect(ended.count).toBeGreaterThan(0);
  });

  it('refuses what a text model cannot read', async () => {
    const image = { type: 'image' as const, image: new Uint8Array(4), mediaType: 'image/png' };
    const call = generateText({ model: forecaster, messages: [{ role: 'user', content: [image] }], maxRetries: 0 });
    await expect(call).rejects.toThrow('models here read text only');
  });

  it('embeds', async () => {
    const embedder = {
      name: 'e',
      embed: async (texts: readonly string[]) => texts.map((it) => Float32Array.of(it.length)),
    };
    const { embedding } = await embed({ model: posttrainEmbedding(embedder), value: 'four' });
    expect(embedding).toEqual([4]);
  });
});
