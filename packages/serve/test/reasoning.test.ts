import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { REASONING_PARSERS, ReasoningParser, type ReasoningParserName } from '@posttrain/lm';
import { generateText, streamText } from 'ai';
import { array, assert, constantFrom, integer, property } from 'fast-check';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { tinyModel } from '../../lm/test/support.js';
import { languageModel } from '../src/ai-sdk/language-model.js';
import { localModels } from '../src/index.js';
import { parseServeArguments } from '../src/serve-arguments.js';
import { scriptedModel, serve } from './support.js';

function parse(name: ReasoningParserName, text: string, size = 1) {
  const parser = new ReasoningParser(name);
  const pieces = (text.match(new RegExp(`.{1,${size}}`, 'gsu')) ?? []).map((piece) => parser.push(piece));
  pieces.push(parser.end());
  return [pieces.map(({ reasoning }) => reasoning).join(''), pieces.map((piece) => piece.text).join('')];
}

describe('a reasoning parser', () => {
  it.each([
    ['<think>\nTwo and\n\ntwo.\n</think>\n\nFour.', 'Two and\n\ntwo.', 'Four.'],
    ['\n<think></think>Four.', '', 'Four.'],
    ['<think>\n\n</think>\n\n', '', ''],
    ['<think>a < b </thin</think> <b> ', 'a < b </thin', '<b> '],
    ['<think>a</think>b</think>c', 'a', 'b</think>c'],
    ['<think>cut o', 'cut o', ''],
    ['<think>cut off </th', 'cut off </th', ''],
  ])('%j', (text, reasoning, answer) => {
    for (const name of REASONING_PARSERS) expect(parse(name, text)).toEqual([reasoning, answer]);
  });

  it.each([
    ['Two.\n</think>\n\nFour.', ['Two.', 'Four.'], ['', 'Two.\n</think>\n\nFour.']],
    ['\nFour.', ['Four.', ''], ['', '\nFour.']],
    ['<thin', ['<thin', ''], ['', '<thin']],
    ['', ['', ''], ['', '']],
    ['  ', ['', ''], ['', '  ']],
    ['a<think>b</think>c', ['a<think>b', 'c'], ['', 'a<think>b</think>c']],
  ])('%j lacks the opening tag', (text, deepseek, qwen) => {
    expect(parse('deepseek_r1', text)).toEqual(deepseek);
    expect(parse('qwen3', text)).toEqual(qwen);
  });

  it('does not depend on how text is cut, and loses nothing but tags and the white space around them', () => {
    const parts = constantFrom('<think>', '</think>', '<', '/think>', ' ', '\n', 'x', '😀');
    assert(
      property(
        constantFrom(...REASONING_PARSERS),
        array(parts, { maxLength: 10 }),
        integer({ min: 1, max: 9 }),
        (name, list, size) => {
          const text = list.join('');
          const cut = parse(name, text, size);
          expect(cut).toEqual(parse(name, text, 1000));
          const bare = (string: string) => string.replace(/\s/g, '');
          const lost = bare(text).length - bare(cut.join('')).length;
          expect([0, '<think>'.length, '</think>'.length, '<think></think>'.length]).toContain(lost);
        },
      ),
    );
  });
});

const CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>';
const thinker = (answer: string) =>
  scriptedModel(() => answer, {
    chat: {
      toolFormat: 'tags',
      reasoningParser: 'qwen3',
      tokenize: ({ messages }) => Array.from(Buffer.from(JSON.stringify(messages))),
    },
  });
const tools = [{ type: 'function' as const, function: { name: 'f', parameters: {} } }];

it('is reasoning_content of the server, whole and streamed, and no place for tool calls', async () => {
  const { url } = await serve({ a: thinker(`<think>Hm. ${CALL}</think>\n\nSo: ${CALL}`) });
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  const request = { model: 'a', messages: [{ role: 'user' as const, content: 'Hi' }], tools };
  const { choices } = await openai.chat.completions.create(request);
  expect(choices[0]!.message).toMatchObject({
    reasoning_content: `Hm. ${CALL}`,
    content: 'So:',
    tool_calls: [{ function: { name: 'f', arguments: '{}' } }],
  });
  let [reasoning, content] = ['', ''];
  const order: string[] = [];
  for await (const chunk of await openai.chat.completions.create({ ...request, stream: true })) {
    const delta = chunk.choices[0]!.delta as { content?: string; reasoning_content?: string; tool_calls?: unknown };
    reasoning += delta.reasoning_content ?? '';
    content += delta.content ?? '';
    order.push(...Object.keys(delta).filter((key) => key !== 'role' && key !== 'refusal' && order.at(-1) !== key));
  }
  expect([reasoning, content]).toEqual([`Hm. ${CALL}`, 'So:']);
  expect(order).toEqual(['content', 'reasoning_content', 'content', 'tool_calls']);
  // An answer that is constrained begins with what was asked for.
  const forced = await openai.chat.completions.create({ ...request, response_format: { type: 'json_object' } });
  expect(forced.choices[0]!.message).toMatchObject({ content: expect.stringContaining('<think>') });
});

it('is reasoning of the AI SDK, over HTTP and in process', async () => {
  const model = thinker('<think>Two and two.</think>\n\nFour.');
  const { url } = await serve({ a: model });
  const provider = createOpenAICompatible({ name: 'local', baseURL: `${url}/v1` });
  for (const language of [provider('a'), languageModel('a', model)]) {
    const { text, reasoningText } = await generateText({ model: language, prompt: '2 + 2?' });
    expect([reasoningText, text]).toEqual(['Two and two.', 'Four.']);
    const streamed = streamText({ model: language, prompt: '2 + 2?' });
    const types: string[] = [];
    for await (const { type } of streamed.fullStream) if (types.at(-1) !== type) types.push(type);
    expect(await streamed.reasoningText).toBe('Two and two.');
    expect(await streamed.text).toBe('Four.');
    const parts = types.filter((type) => /^(text|reasoning)-/.test(type));
    expect(parts).toEqual(
      ['reasoning', 'text'].flatMap((kind) => ['start', 'delta', 'end'].map((it) => `${kind}-${it}`)),
    );
  }
});

it('is an option of served models and of the command line', async () => {
  const model = await tinyModel();
  const [served] = Object.values(localModels('a', model, { reasoningParser: 'qwen3' }));
  expect(served!.chat?.reasoningParser).toBe('qwen3');
  expect(() => localModels('a', model, { reasoningParser: 'r1' as 'qwen3' })).toThrow(
    /reasoningParser is "r1"; it must be one of "deepseek_r1", "qwen3"/,
  );
  expect(parseServeArguments(['m', '--reasoning-parser', 'deepseek_r1'])).toMatchObject({
    reasoningParser: 'deepseek_r1',
  });
  expect(() => parseServeArguments(['m', '--reasoning-parser', 'x'])).toThrow(/deepseek_r1, qwen3, not "x"/);
});
