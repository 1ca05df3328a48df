import { describe, expect, test } from 'vitest';
import {
  arithmetic,
  detectFormat,
  fromAlpaca,
  fromAlpacaToChat,
  fromOpenAi,
  fromShareGpt,
  pipeline,
  type Row,
  RowError,
  type RowFormat,
  taskRows,
  validate,
  validateRow,
} from '../src/index.js';

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

const GOOD: readonly (readonly [RowFormat, boolean, Row])[] = [
  ['language-modeling', false, { text: 'a' }],
  ['language-modeling', true, { messages: [user('a'), assistant('b')] }],
  ['prompt-only', false, { prompt: 'a' }],
  ['prompt-only', true, { prompt: [user('a')], answer: '3' }],
  ['prompt-completion', false, { prompt: 'a', completion: 'b' }],
  ['prompt-completion', true, { prompt: [user('a')], completion: [assistant('b')], tools: null }],
  ['preference', false, { prompt: 'a', chosen: 'b', rejected: 'c' }],
  ['preference', true, { prompt: [user('a')], chosen: [assistant('b')], rejected: [assistant('c')] }],
  ['implicit-preference', false, { chosen: 'ab', rejected: 'ac' }],
  ['implicit-preference', true, { chosen: [user('a'), assistant('b')], rejected: [user('a'), assistant('c')] }],
  ['unpaired-preference', false, { prompt: 'a', completion: 'b', label: false }],
  ['unpaired-preference', true, { prompt: [user('a')], completion: [assistant('b')], label: true }],
  ['stepwise-supervision', false, { prompt: 'a', completions: ['b', 'c'], labels: [true, false] }],
];

describe('detectFormat', () => {
  test.each(GOOD)('%s, conversational %s', (format, conversational, row) => {
    expect(detectFormat(row)).toEqual({ format, conversational });
    expect(detectFormat({ id: 1, source: 'x', ...row })).toEqual({ format, conversational });
    expect(() => validateRow(row, format, 1)).not.toThrow();
  });

  test('columns that decide nothing and null columns do not disturb', () => {
    expect(detectFormat({ text: 'a', label: 3 }).format).toBe('language-modeling');
    expect(detectFormat({ prompt: 'a', completion: 'b', label: null }).format).toBe('prompt-completion');
  });

  test.each([
    [{ question: 'a', solution: 'b' }, /none of the columns of a known format: question, solution/],
    [{ prompt: 'a', messages: [user('a')] }, /\{messages, prompt\} are not one format/],
    [{ prompt: 'a', chosen: 'b' }, /\{chosen, prompt\} are not one format/],
    [{ conversations: [{ from: 'human', value: 'a' }] }, /convert it with fromShareGpt/],
    [{ instruction: 'a', output: 'b' }, /convert it with fromAlpaca/],
  ])('%j is an error that says what to do', (row, message) => {
    expect(() => detectFormat(row, 4)).toThrow(message);
    expect(() => detectFormat(row, 4)).toThrow(/^row 4, field/);
  });

  test('rows of procedural tasks are prompt-completion rows', () => {
    for (const row of taskRows(arithmetic(), { split: 'train', count: 3, seed: 1 })) {
      expect(detectFormat(row)).toEqual({ format: 'prompt-completion', conversational: false });
      validateRow(row, 'prompt-completion');
    }
  });
});

describe('validateRow', () => {
  test.each<[RowFormat, object, string, RegExp]>([
    ['language-modeling', {}, 'text', /must be a string, got undefined/],
    ['language-modeling', { text: '' }, 'text', /is empty/],
    ['language-modeling', { text: 'a', messages: [user('a')] }, 'text', /drop one of the two/],
    ['language-modeling', { messages: [] }, 'messages', /at least one message/],
    ['language-modeling', { messages: [user('a')] }, 'messages', /no assistant message/],
    ['language-modeling', { messages: ['a'] }, 'messages[0]', /must be an object, got string/],
    ['language-modeling', { messages: [{ from: 'human', value: 'a' }] }, 'messages[0]', /maybeConvertToChatml/],
    ['language-modeling', { messages: [{ content: 'a' }] }, 'messages[0].role', /must be a string/],
    ['language-modeling', { messages: [{ role: 'user', content: null }] }, 'messages[0].content', /fromOpenAi/],
    ['prompt-only', { prompt: 3 }, 'prompt', /must be a string, got number/],
    ['prompt-only', { prompt: [{ role: 'system', content: 'a' }] }, 'prompt[0].role', /got "system"/],
    ['prompt-completion', { prompt: 'a', completion: '' }, 'completion', /is empty/],
    ['prompt-completion', { prompt: 'a' }, 'completion', /must be a string/],
    ['prompt-completion', { prompt: 'a', completion: [assistant('b')] }, 'completion', /use the same kind/],
    ['prompt-completion', { prompt: [user('a')], completion: 'b' }, 'completion', /use the same kind/],
    ['prompt-completion', { prompt: [user('a')], completion: [assistant('')] }, 'completion', /is empty/],
    ['preference', { prompt: 'a', chosen: 'b', rejected: 'b' }, 'rejected', /a tie is no preference/],
    ['implicit-preference', { chosen: [user('a')], rejected: 'b' }, 'chosen', /use the same kind/],
    ['unpaired-preference', { prompt: 'a', completion: 'b', label: 1 }, 'label', /must be true or false, got number/],
    ['stepwise-supervision', { prompt: 'a', completions: ['b'], labels: [] }, 'labels', /got an empty one/],
    ['stepwise-supervision', { prompt: 'a', completions: ['b'], labels: [true, true] }, 'labels', /2 for 1/],
    [
      'stepwise-supervision',
      { prompt: 'a', completions: ['b', ''], labels: [true, true] },
      'completions[1]',
      /is empty/,
    ],
  ])('%s %j: field %s', (format, row, field, message) => {
    const check = () => validateRow(row, format, 12);
    expect(check).toThrow(message);
    expect(check).toThrow(expect.objectContaining({ code: 'DATA_ROW', rowNumber: 12, field }));
  });

  test('a tie is found whatever the order of keys', () => {
    const chosen = [{ role: 'assistant', content: 'a' }];
    const rejected = [{ content: 'a', role: 'assistant' }];
    expect(() => validateRow({ prompt: [user('q')], chosen, rejected }, 'preference')).toThrow(/tie/);
  });

  test('a completion may be a tool call alone', () => {
    const call = { role: 'assistant', content: '', tool_calls: [{ type: 'function' }] };
    expect(() => validateRow({ prompt: [user('q')], completion: [call] }, 'prompt-completion')).not.toThrow();
  });

  test('as a step it stops at the first bad row, or drops and counts them', async () => {
    const rows = [{ prompt: 'a' }, { prompt: '' }, { prompt: 'b' }, { prompt: '' }, { prompt: 3 }];
    await expect(pipeline(rows, [validate('prompt-only')]).collect()).rejects.toThrow(
      'row 2, field "prompt": is empty.',
    );
    const run = pipeline<{ prompt: string }>(rows, [validate('prompt-only', { onRowError: 'drop' })]);
    expect(await run.collect()).toEqual([{ prompt: 'a' }, { prompt: 'b' }]);
    expect(run.report()[0]?.reasons).toEqual({
      'prompt: is empty.': 2,
      'prompt: must be a string, got number.': 1,
    });
  });
});

describe('fromShareGpt', () => {
  const conversations = [
    { from: 'human', value: 'weather?' },
    { from: 'function_call', value: '{"name":"weather","arguments":{"city":"Rome"}}' },
    { from: 'observation', value: 'sunny' },
    { from: 'gpt', value: 'It is sunny.' },
  ];

  test('a conversation with system, tools and other columns', () => {
    const row = fromShareGpt({ conversations, system: 'Be brief.', tools: '[]', id: 7 });
    expect(row).toEqual({
      id: 7,
      tools: '[]',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'weather?' },
        {
          role: 'assistant',
          content: '',
          tool_calls: [{ type: 'function', function: { name: 'weather', arguments: { city: 'Rome' } } }],
        },
        { role: 'tool', content: 'sunny' },
        { role: 'assistant', content: 'It is sunny.' },
      ],
    });
    expect(() => validateRow(row, 'language-modeling')).not.toThrow();
  });

  test('preference and KTO rows', () => {
    const asked = [{ from: 'human', value: 'q' }];
    const preference = {
      conversations: asked,
      chosen: { from: 'gpt', value: 'a' },
      rejected: { from: 'gpt', value: 'b' },
    };
    expect(fromShareGpt(preference)).toEqual({
      prompt: [user('q')],
      chosen: [assistant('a')],
      rejected: [assistant('b')],
    });
    expect(fromShareGpt({ conversations: [...asked, { from: 'gpt', value: 'a' }], kto_tag: false })).toEqual({
      prompt: [user('q')],
      completion: [assistant('a')],
      label: false,
    });
  });

  test.each<[Row, string, RegExp]>([
    [{}, 'conversations', /must be a list of turns, got undefined/],
    [{ conversations: [{ from: 'humann', value: 'a' }] }, 'conversations[0].from', /Did you mean "human"/],
    [{ conversations: [{ from: 'human', value: '' }] }, 'conversations[0].value', /is empty/],
    [{ conversations: [{ from: 'gpt', value: 'a' }] }, 'conversations', /turn 1 must be human or observation/],
    [{ conversations: conversations.slice(0, 3) }, 'conversations', /must end with gpt/],
    [
      { conversations: [conversations[0], { from: 'function_call', value: 'x' }] },
      'conversations[1].value',
      /JSON object/,
    ],
    [{ conversations, system: 3 }, 'system', /must be a string/],
    [{ conversations, kto_tag: 'yes' }, 'kto_tag', /true or false/],
  ])('%j: field %s', (row, field, message) => {
    expect(() => fromShareGpt(row, 5)).toThrow(message);
    expect(() => fromShareGpt(row, 5)).toThrow(expect.objectContaining({ rowNumber: 5, field }));
  });
});

describe('fromAlpaca', () => {
  test('the Stanford template, with and without input', () => {
    expect(fromAlpaca({ instruction: 'Add.', input: '1 2', output: '3', id: 1 })).toEqual({
      id: 1,
      prompt:
        'Below is an instruction that describes a task, paired with an input that provides further context. ' +
        'Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n',
      completion: '3',
    });
    expect(fromAlpaca({ instruction: 'Sing.', input: '', output: 'la' })).toEqual({
      prompt:
        'Below is an instruction that describes a task. ' +
        'Write a response that appropriately completes the request.\n\n### Instruction:\nSing.\n\n### Response:\n',
      completion: 'la',
    });
  });

  test('as chat, with system and history, and as preference', () => {
    const row = fromAlpacaToChat({
      instruction: 'Add.',
      input: '1 2',
      output: '3',
      system: 'S',
      history: [['q', 'a']],
    });
    expect(row).toEqual({
      prompt: [{ role: 'system', content: 'S' }, user('q'), assistant('a'), user('Add.\n1 2')],
      completion: [assistant('3')],
    });
    expect(fromAlpacaToChat({ instruction: 'Add.', chosen: '3', rejected: '4' })).toEqual({
      prompt: [user('Add.')],
      chosen: [assistant('3')],
      rejected: [assistant('4')],
    });
  });

  test.each<[Row, string, RegExp]>([
    [{ output: 'a' }, 'instruction', /must be a string/],
    [{ instruction: 'a', output: '' }, 'output', /is empty/],
    [{ instruction: 'a', output: 'b', chosen: 'c', rejected: 'd' }, 'output', /drop one or the other/],
    [{ instruction: 'a', chosen: 'c' }, 'rejected', /must be a string/],
    [{ instruction: 'a', input: 3, output: 'b' }, 'input', /must be a string, got number/],
    [{ instruction: 'a', output: 'b', history: [['q']] }, 'history[0]', /pair/],
    [{ instruction: 'a', output: 'b', system: 's' }, 'system', /fromAlpacaToChat/],
  ])('%j: field %s', (row, field, message) => {
    expect(() => fromAlpaca(row, 2)).toThrow(message);
    expect(() => fromAlpaca(row, 2)).toThrow(expect.objectContaining({ rowNumber: 2, field }));
  });
});

describe('fromOpenAi', () => {
  test('text parts, tool calls without content, and fields that stay', () => {
    const calls = [{ id: '1', type: 'function', function: { name: 'f', arguments: '{}' } }];
    const parts = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    expect(
      fromOpenAi({
        messages: [
          { role: 'user', content: parts },
          { role: 'assistant', content: null, tool_calls: calls, weight: 0 },
          { role: 'tool', content: 'r', tool_call_id: '1' },
        ],
        tools: [],
      }),
    ).toEqual({
      messages: [
        user('ab'),
        { role: 'assistant', content: '', tool_calls: calls, weight: 0 },
        { role: 'tool', content: 'r', tool_call_id: '1' },
      ],
      tools: [],
    });
  });

  test('preference rows', () => {
    const row = {
      input: { messages: [user('q')], tools: [], parallel_tool_calls: true },
      preferred_output: [assistant('a')],
      non_preferred_output: [assistant('b')],
    };
    expect(fromOpenAi(row)).toEqual({
      prompt: [user('q')],
      chosen: [assistant('a')],
      rejected: [assistant('b')],
      tools: [],
      parallel_tool_calls: true,
    });
  });

  test.each<[Row, string, RegExp]>([
    [{ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'messages[0].content[0]', /got "image_url"/],
    [{ messages: [{ role: 'assistant', content: null }] }, 'messages[0].content', /got null/],
    [{ messages: [] }, 'messages', /must be a list/],
    [{ input: 3 }, 'input', /must be an object/],
    [{ input: { messages: [user('q')] }, preferred_output: [assistant('a')] }, 'non_preferred_output', /undefined/],
  ])('%j: field %s', (row, field, message) => {
    expect(() => fromOpenAi(row, 9)).toThrow(message);
    expect(() => fromOpenAi(row, 9)).toThrow(expect.objectContaining({ rowNumber: 9, field }));
  });

  test('errors are RowErrors', () => {
    expect(() => fromOpenAi({})).toThrow(RowError);
  });
});
