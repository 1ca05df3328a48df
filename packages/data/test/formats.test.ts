import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  arithmetic,
  detectFormat,
  detectLayout,
  fromAlpaca,
  fromAlpacaToChat,
  fromOpenAi,
  fromShareGpt,
  fromSwift,
  fromUltraFeedback,
  pipeline,
  type Row,
  RowError,
  type RowFormat,
  ratedPairs,
  taskRows,
  toAlpaca,
  toShareGpt,
  toSwift,
  toTrl,
  validate,
  validateRatings,
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

  test.each<[RowFormat, Row, string, RegExp]>([
    [
      'language-modeling',
      { messages: [user('a'), { ...assistant('b'), weight: 0 }] },
      'messages',
      /every assistant message has weight 0/,
    ],
    ['language-modeling', { messages: [{ ...user('a'), weight: 1 }, assistant('b')] }, 'messages[0].weight', /0 or 1/],
    [
      'language-modeling',
      { messages: [{ role: 'human', content: 'a' }, assistant('b')] },
      'messages[0].role',
      /fromShareGpt/,
    ],
    [
      'language-modeling',
      { messages: [user('a'), { role: 'Assistant', content: 'b' }] },
      'messages[1].role',
      /must be "assistant"/,
    ],
    [
      'language-modeling',
      { messages: [{ ...assistant(''), tool_calls: [{ function: { name: 'f', arguments: '{}' } }] }] },
      'messages[0].tool_calls[0].function.arguments',
      /quote again; make it an object \(fromOpenAi does\)/,
    ],
    ['constructor' as RowFormat, { text: 'a' }, 'format', /"constructor" is not a row format/],
  ])('%s %j: field %s is what would train something else', (format, row, field, message) => {
    expect(() => validateRow(row, format, 12)).toThrow(message);
    expect(() => validateRow(row, format, 12)).toThrow(expect.objectContaining({ code: 'DATA_ROW', field }));
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

  test('several calls at once, arguments as text, fields of turns, and columns that are null', () => {
    const value = '[{"name":"f","arguments":"{\\"a\\":1}"},{"name":"g","arguments":{}}]';
    const turns = [
      { from: 'human', value: 'q' },
      { from: 'function_call', value, weight: 0 },
    ];
    const row = { conversations: [...turns, ...conversations.slice(2)], chosen: null, rejected: null, kto_tag: null };
    const calls = [
      ['f', { a: 1 }],
      ['g', {}],
    ].map(([name, args]) => ({
      type: 'function',
      function: { name, arguments: args },
    }));
    expect(fromShareGpt(row)).toEqual({
      messages: [
        user('q'),
        { role: 'assistant', content: '', tool_calls: calls, weight: 0 },
        { role: 'tool', content: 'sunny' },
        assistant('It is sunny.'),
      ],
    });
    expect(fromAlpaca({ instruction: 'Sing.', output: 'la', chosen: null, rejected: null }).completion).toBe('la');
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
    [{ conversations, messages: [] }, 'messages', /is a column already/],
    [
      { conversations: [...conversations, { from: 'system', value: 's' }, { from: 'gpt', value: 'a' }] },
      'conversations',
      /turn 5 must be human or observation, got the role "system"/,
    ],
    [
      { conversations: [conversations[0], { from: 'function_call', value: '{"name":"f","arguments":"nope"}' }] },
      'conversations[1].value',
      /no JSON/,
    ],
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
    [{ instruction: 'a', output: 'b', prompt: 'p' }, 'prompt', /is a column already/],
  ])('%j: field %s', (row, field, message) => {
    expect(() => fromAlpaca(row, 2)).toThrow(message);
    expect(() => fromAlpaca(row, 2)).toThrow(expect.objectContaining({ rowNumber: 2, field }));
  });
});

describe('fromOpenAi', () => {
  test('text parts, arguments as objects, weights, and fields that stay', () => {
    const call = (args: unknown) => ({ id: '1', type: 'function', function: { name: 'f', arguments: args } });
    const parts = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    const row = fromOpenAi({
      messages: [
        { role: 'developer', content: 's' },
        { role: 'user', content: parts, name: 'Ada' },
        { role: 'assistant', content: null, tool_calls: [call('{"z": 1, "a": [true]}'), call('')], weight: 0 },
        { role: 'tool', content: 'r', tool_call_id: '1' },
        { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }], weight: 1, audio: null, extra: 7 },
        { role: 'assistant', content: null, refusal: 'never', tool_calls: [], reasoning: 'because' },
      ],
      tools: [],
      id: 3,
    });
    expect(row).toStrictEqual({
      messages: [
        { role: 'system', content: 's' },
        { role: 'user', content: 'ab', name: 'Ada' },
        { role: 'assistant', content: '', tool_calls: [call({ z: 1, a: [true] }), call({})], weight: 0 },
        { role: 'tool', content: 'r', tool_call_id: '1' },
        { role: 'assistant', content: 'no', extra: 7, weight: 1 },
        { role: 'assistant', content: 'never', reasoning_content: 'because' },
      ],
      tools: [],
      id: 3,
    });
    // Templates print arguments in their order.
    expect(JSON.stringify(row)).toContain('"arguments":{"z":1,"a":[true]}');
    expect(() => validateRow(row, 'language-modeling')).not.toThrow();
  });

  test('the deprecated functions are tools', () => {
    const messages = [
      user('q'),
      { role: 'assistant', function_call: { name: 'f', arguments: '{"a":1}' } },
      { role: 'function', name: 'f', content: 'r' },
      assistant('a'),
    ];
    expect(fromOpenAi({ messages, functions: [{ name: 'f' }] })).toEqual({
      messages: [
        user('q'),
        {
          role: 'assistant',
          content: '',
          tool_calls: [{ type: 'function', function: { name: 'f', arguments: { a: 1 } } }],
        },
        { role: 'tool', name: 'f', content: 'r' },
        assistant('a'),
      ],
      tools: [{ type: 'function', function: { name: 'f' } }],
    });
  });

  test('any arguments come back as the object whose text they were', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (args) => {
        const text = JSON.stringify(args);
        const calls = [{ type: 'function', function: { name: 'f', arguments: text } }];
        const row = fromOpenAi({ messages: [{ role: 'assistant', tool_calls: calls }] });
        expect(
          JSON.stringify((row.messages as { tool_calls: typeof calls }[])[0]!.tool_calls[0]!.function.arguments),
        ).toBe(JSON.stringify(JSON.parse(text)));
      }),
    );
  });

  test('integers of arguments keep their digits', () => {
    const text = '{"id":12345678901234567890,"near":9007199254740993,"small":7,"text":"12345678901234567890"}';
    const args = { id: 12345678901234567890n, near: 9007199254740993n, small: 7, text: '12345678901234567890' };
    const calls = (given: unknown) => [{ type: 'function', function: { name: 'f', arguments: given } }];
    expect(fromOpenAi({ messages: [{ role: 'assistant', tool_calls: calls(text) }] }).messages).toMatchObject([
      { tool_calls: calls(args) },
    ]);
    const conversations = [
      { from: 'human', value: 'q' },
      { from: 'function_call', value: `{"name":"f","arguments":${text}}` },
      { from: 'observation', value: 'o' },
      { from: 'gpt', value: 'a' },
    ];
    expect((fromShareGpt({ conversations }).messages as unknown[])[1]).toMatchObject({ tool_calls: calls(args) });
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
    ...(
      [
        ['{"a":1', /is no JSON/],
        ['[1]', /kind array/],
        ['"x"', /kind string/],
        [3, /must be an object or its JSON text, got number/],
      ] as const
    ).map(([args, message]): [Row, string, RegExp] => [
      { messages: [user('q'), { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: args } }] }] },
      'messages[1].tool_calls[0].function.arguments',
      message,
    ]),
    [{ messages: [{ role: 'bot', content: 'a' }] }, 'messages[0].role', /must be one of system, .*got "bot"/],
    [{ messages: [{ role: 'user', content: 'a', weight: 0 }] }, 'messages[0].weight', /0 or 1, on an assistant/],
    [{ messages: [{ ...assistant('a'), weight: 0.5 }] }, 'messages[0].weight', /0 or 1/],
    [{ messages: [{ ...assistant('a'), weight: 0 }] }, 'messages', /every assistant message has weight 0/],
    [{ messages: [{ ...assistant(''), audio: { id: 'x' } }] }, 'messages[0].audio', /not supported/],
    [{ messages: [{ ...assistant('a'), refusal: 'b' }] }, 'messages[0].refusal', /beside "content"/],
    [
      { messages: [{ ...user('a'), tool_calls: [{ function: { name: 'f' } }] }] },
      'messages[0].tool_calls',
      /only an assistant/,
    ],
    [
      { messages: [{ ...assistant(''), tool_calls: [{ type: 'custom' }] }] },
      'messages[0].tool_calls[0].type',
      /"function"/,
    ],
    [{ messages: [user('a')], tools: [], functions: [] }, 'functions', /beside "tools"/],
    [
      {
        input: { messages: [user('a')] },
        prompt: 'x',
        preferred_output: [assistant('a')],
        non_preferred_output: [assistant('b')],
      },
      'prompt',
      /is a column already/,
    ],
    [
      { input: { messages: [user('a')] }, preferred_output: [{ ...assistant('a'), weight: 0 }] },
      'preferred_output[0].weight',
      /whole outputs/,
    ],
    [{ input: 3 }, 'input', /must be an object/],
    [{ input: { messages: [user('q')] }, preferred_output: [assistant('a')] }, 'non_preferred_output', /undefined/],
  ])('%j: field %s', (row, field, message) => {
    expect(() => fromOpenAi(row, 9)).toThrow(message);
    expect(() => fromOpenAi(row, 9)).toThrow(expect.objectContaining({ rowNumber: 9, field }));
  });

  test('errors are RowErrors, also where the row is none', () => {
    expect(() => fromOpenAi({})).toThrow(RowError);
    const check = (row: Row, rowNumber?: number) => validateRow(row, 'prompt-only', rowNumber);
    for (const convert of [fromOpenAi, fromShareGpt, fromAlpaca, fromAlpacaToChat, detectFormat, check]) {
      for (const none of [null, undefined, 3, [], 'x']) {
        expect(() => convert(none as never, 4)).toThrow(/^row 4, field "row": must be an object of columns, got/);
      }
    }
  });
});

describe('formats of LLaMA-Factory, ms-swift and rated answers', () => {
  const user = { role: 'user', content: 'q' };
  const said = { role: 'assistant', content: 'a' };
  const other = { role: 'assistant', content: 'b' };
  const system = { role: 'system', content: 's' };
  const history = [
    ['q0', 'a0'],
    ['q1', 'a1'],
  ];
  const turns = history.flatMap(([q, a]) => [
    { role: 'user', content: q },
    { role: 'assistant', content: a },
  ]);
  const call = {
    role: 'assistant',
    content: '',
    tool_calls: [{ type: 'function', function: { name: 'f', arguments: { x: 1 } } }],
  };
  const conversational = [
    { messages: [system, ...turns, user, said], tools: '[]' },
    { prompt: [user], chosen: [said], rejected: [other], id: 3 },
    { prompt: [system, user], completion: [said], label: false },
  ];

  // The examples of ms-swift's documentation ("Custom dataset"), and what its preprocessors make of them.
  test.each([
    [{ system: 's', conversation: [{ human: 'q', assistant: 'a' }] }, { messages: [system, user, said] }],
    [{ system: 's', query: 'q', response: 'a', history }, { messages: [system, ...turns, user, said] }],
    [{ query: 'q' }, { prompt: [user] }],
    [
      { messages: [system, user, said], rejected_response: 'b' },
      { prompt: [system, user], chosen: [said], rejected: [other] },
    ],
    [
      { messages: [user, said], rejected_messages: [user, other] },
      { prompt: [user], chosen: [said], rejected: [other] },
    ],
    [
      { messages: [user, said], label: true },
      { prompt: [user], completion: [said], label: true },
    ],
    [
      { messages: [user], label: [1, 3] },
      { prompt: [user], label: [1, 3] },
    ],
    [
      { messages: [user, { ...said, loss: false }, user, other] },
      { messages: [user, { ...said, weight: 0 }, user, other] },
    ],
    [
      {
        conversations: [
          { role: 'human', content: 'q' },
          { role: 'bot', content: 'a' },
        ],
      },
      { messages: [user, said] },
    ],
  ])('ms-swift: %j', (row, made) => {
    expect(fromSwift(row)).toEqual(made);
    expect(fromSwift(toSwift(made))).toEqual(made);
  });

  test('to every format and back', () => {
    for (const row of [...conversational, { prompt: [user], label: 'c' }]) expect(fromSwift(toSwift(row))).toEqual(row);
    for (const row of [...conversational, { messages: [user, call, { role: 'tool', content: '7' }, said] }]) {
      expect(fromShareGpt(toShareGpt(row))).toEqual(row);
    }
    for (const row of conversational.slice(1)) expect(fromAlpacaToChat(toAlpaca(row))).toEqual(row);
    expect(toAlpaca(conversational[0]!)).toEqual({ tools: '[]', system: 's', instruction: 'q', output: 'a', history });
    expect(fromAlpacaToChat(toAlpaca(conversational[0]!))).toEqual({
      tools: '[]',
      prompt: [system, ...turns, user],
      completion: [said],
    });
  });

  test.each([
    [toShareGpt, { messages: [user, { ...call, content: 'well' }] }, /beside calls/],
    [toShareGpt, { messages: [user, user, said] }, /take turns/],
    [toShareGpt, { prompt: [user], chosen: [said, user, said], rejected: [other] }, /must be one message, got 3/],
    [toAlpaca, { messages: [user, call, { role: 'tool', content: '7' }, said] }, /has no place|must be of/],
    [toAlpaca, { prompt: [user], chosen: [said] }, /missing beside/],
    [fromSwift, { messages: [user], rejected_response: 'b' }, /must end with an assistant/],
    [fromSwift, { messages: [user, said], rejected_messages: [system, user, other] }, /another conversation/],
    [fromSwift, { messages: [{ role: 'tool_call', content: '{}' }] }, /turn of its own/],
    [fromSwift, { query: 'q', history: [['a']] }, /must be a pair/],
    [toSwift, { prompt: 'q', completion: 'a' }, /no plain prompts/],
    [fromSwift, { messages: [user, said], response: 'other' }, /"response": is given beside "messages"/],
    [fromSwift, { messages: [user, said], conversation: [{ human: 'q', assistant: 'a' }] }, /is given beside/],
    [fromSwift, { messages: [user, { ...said, loss: 0.5 }] }, /loss.*must be true or false/],
    [toSwift, { messages: [user, { ...said, weight: 0.5 }] }, /weight.*must be 0 or 1/],
    [toSwift, { messages: [null] }, /must be an object/],
    ...[toSwift, toShareGpt, toAlpaca].flatMap((convert) => [
      [convert, { messages: [user, said], prompt: [user], completion: [other] }, /is given beside "messages"/] as const,
      [convert, { prompt: [user], completion: [said], chosen: [said], rejected: [other] }, /is given beside/] as const,
    ]),
    [toShareGpt, { prompt: [user], chosen: [said], rejected: [other], label: true }, /is given beside/],
    [toTrl, { conversations: 5 }, /conversations|messages/],
    [
      fromUltraFeedback,
      { instruction: 'q', completions: ['a', 'b'].map((response) => ({ response, overall_score: '' })) },
      /ratings/,
    ],
    [fromAlpacaToChat, { instruction: 'q', output: 'a', kto_tag: 1 }, /true or false/],
  ] as const)('refused: %o %j', (convert, row, message) => {
    expect(() => convert(row as never, 4)).toThrow(message);
  });

  test.each([
    ['trl', { messages: [user, said] }],
    ['trl', { prompt: 'q', completion: 'a' }],
    ['trl', { messages: [user, said], query: 'of a column of its own' }],
    [
      'openai',
      {
        messages: [
          user,
          {
            role: 'assistant',
            content: null,
            tool_calls: [{ type: 'function', function: { name: 'f', arguments: '{}' } }],
          },
        ],
      },
    ],
    ['openai', { input: { messages: [user] }, preferred_output: [said], non_preferred_output: [other] }],
    [
      'sharegpt',
      {
        conversations: [
          { from: 'human', value: 'q' },
          { from: 'gpt', value: 'a' },
        ],
      },
    ],
    ['alpaca', { instruction: 'q', input: '', output: 'a' }],
    ['ms-swift', { messages: [user, said], rejected_response: 'b' }],
    ['ms-swift', { query: 'q', response: 'a' }],
    [
      'ultrafeedback',
      {
        instruction: 'q',
        completions: [
          { response: 'a', overall_score: 4, model: 'm' },
          { response: 'b', overall_score: 8.5, model: 'n' },
        ],
      },
    ],
    ['rankings', { prompt: 'q', completions: ['a', 'b'], ranks: [2, 1] }],
  ] as const)('detected as %s, and made TRL: %j', (layout, row) => {
    expect(detectLayout(row as never)).toBe(layout);
    const made = toTrl(row as never);
    if ('completions' in made) validateRatings(made);
    else expect(() => validateRow(made, detectFormat(made).format)).not.toThrow();
  });

  test('pairs of rated answers: the best against the worst, or all; ties are none', async () => {
    const rows = [
      { prompt: 'p', completions: ['a', 'b', 'c', 'b'], ratings: [1, 3, 2, 3], id: 7 },
      { prompt: 'p', completions: ['a', 'b'], ratings: [2, 2] },
    ];
    const one = pipeline(rows, [ratedPairs()]);
    expect(await one.collect()).toEqual([
      { prompt: 'p', chosen: 'b', rejected: 'a', margin: 2, answers: [1, 0], id: 7 },
    ]);
    expect(one.report()[0]).toMatchObject({ kept: 1, reasons: { 'no answer is better than another': 1 } });
    const all = await pipeline(rows, [ratedPairs({ pairs: 'all', minMargin: 2 })]).collect();
    expect(all.map(({ answers }) => answers)).toEqual([
      [1, 0],
      [3, 0],
    ]);
    expect(() => validateRatings({ prompt: 'p', completions: ['a', 'b'], ratings: [1] }, 2)).toThrow(
      /row 2.*2 numbers/,
    );
  });
});
