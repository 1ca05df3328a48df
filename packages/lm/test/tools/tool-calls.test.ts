import { array, assert, constantFrom, integer, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleCall, type ToolCall, type ToolCallPiece } from '../../src/tools/call-pieces.js';
import type { ToolFormat } from '../../src/tools/index.js';
import { callSchema, forcedCallParser, type OfferedFunctions, toolCallParser } from '../../src/tools/tool-calls.js';

const offered = (...names: string[]): OfferedFunctions => new Map(names.map((name) => [name, {}]));
const F_AND_G = offered('f', 'g');

function assembled(pieces: readonly ToolCallPiece[]): ToolCall[] {
  const calls: ToolCall[] = [];
  for (const piece of pieces) assembleCall(calls, piece);
  // Every call begins once, with its name, and ends once.
  expect(pieces.filter(({ name }) => name !== undefined)).toHaveLength(calls.length);
  expect(pieces.filter(({ done }) => done)).toHaveLength(calls.length);
  return calls;
}

/** What the parser finds in a text that comes in pieces of the given length. */
function parse(text: string, format: ToolFormat = 'tags', size = 1, functions: OfferedFunctions = F_AND_G) {
  const parser = toolCallParser(format, functions);
  const characters = [...text];
  const pieces = Array.from({ length: Math.ceil(characters.length / size) }, (_, i) =>
    parser.push(characters.slice(i * size, (i + 1) * size).join('')),
  );
  pieces.push(parser.end());
  return { text: pieces.map((piece) => piece.text).join(''), calls: assembled(pieces.flatMap((piece) => piece.calls)) };
}

/** As the models of these tests write it: what is passed on as it comes is not written anew. */
const F = { name: 'f', arguments: '{"x": 1}' };
const F_WRITTEN_ANEW = { name: 'f', arguments: '{"x":1}' };

describe('calls in tags', () => {
  const call = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>';
  it('are found among text, which keeps nothing of them', () => {
    expect(parse(call)).toEqual({ text: '', calls: [F] });
    expect(parse(`Well.\n\n${call}\n${call}`)).toEqual({ text: 'Well.', calls: [F, F] });
    expect(parse(`a ${call} b`)).toEqual({ text: 'a b', calls: [F] });
  });

  it('may lack the end, or have more than an end', () => {
    expect(parse(call.slice(0, -13))).toEqual({ text: '', calls: [F] });
    expect(parse(call.slice(0, -14))).toEqual({ text: '', calls: [F] });
    expect(parse(call.replace('}}', '}, "id": 7}'))).toEqual({ text: '', calls: [F] });
  });

  it('are passed on as they come: the name, then the arguments', () => {
    const parser = toolCallParser('tags', F_AND_G);
    expect(parser.push('Hm. <tool_call>\n{"name": "f", "argu')).toEqual({ text: 'Hm.', calls: [] });
    const begun = [{ index: 0, name: 'f', arguments: '{"a": "</tool', done: false }];
    expect(parser.push('ments": {"a": "</tool').calls).toEqual(begun);
    expect(parser.push('_call>\\"}", "b": [{}]').calls).toEqual([
      { index: 0, arguments: '_call>\\"}", "b": [{}]', done: false },
    ]);
    expect(parser.push('}').calls).toEqual([{ index: 0, arguments: '}', done: true }]);
    expect(parser.push('}\n</tool_call>\n<tool_call>{"name": "g", "arguments": {').calls).toEqual([
      { index: 1, name: 'g', arguments: '{', done: false },
    ]);
    // Cut off: a client sees that the arguments are not whole.
    expect(parser.end()).toEqual({ text: '', calls: [{ index: 1, arguments: '', done: true }] });
  });

  it('are written anew where arguments do not follow the name', () => {
    for (const json of [
      '{"arguments": {"x": 1}, "name": "f"}',
      '{"name": "f", "arguments": "{\\"x\\":1}"}',
      '[{"name": "f", "arguments": {"x": 1}}]',
    ]) {
      expect(parse(`<tool_call>${json}</tool_call>`)).toEqual({ text: '', calls: [F_WRITTEN_ANEW] });
    }
  });

  it.each([
    ['<tool_call>{"name": "f", "argum', 'cut off'],
    ['<tool_call>not JSON</tool_call> and more', 'not JSON'],
    ['<tool_call>{"arguments": {}}</tool_call>', 'no name'],
    ['<tool_call>[]</tool_call>', 'an empty list'],
    [' a < b <tool_cal> <tool_call', 'no tag'],
    ['  leading and trailing  ', 'white space'],
    ['', 'nothing'],
  ])('%j is text (%s)', (text) => {
    expect(parse(text)).toEqual({ text, calls: [] });
  });

  it('do not depend on how text is cut, and text without a call comes through unchanged', () => {
    const parts = constantFrom(
      ...['<tool_call>', '</tool_call>', '<tool', '{"name":"f"}', '{', ' ', '\n', 'x', '😀'],
      ...[
        '{"name":"f","arguments":{',
        '"a":1',
        '}',
        '"',
        '<function=f>',
        '<parameter=a>',
        '</parameter>',
        '</function>',
      ],
    );
    assert(
      property(array(parts, { maxLength: 12 }), integer({ min: 1, max: 9 }), (list, size) => {
        const text = list.join('');
        const cut = parse(text, 'tags', size);
        expect(cut).toEqual(parse(text, 'tags', 1));
        if (cut.calls.length === 0) expect(cut.text).toBe(text);
      }),
    );
  });
});

describe("calls of Qwen3-Coder's template", () => {
  const functions: OfferedFunctions = new Map([
    [
      'edit',
      {
        type: 'object',
        properties: {
          path: { type: 'string' },
          line: { type: 'integer' },
          scale: { type: 'number' },
          dry: { type: 'boolean' },
          tags: { type: 'array', items: { type: 'string' } },
          meta: { anyOf: [{ type: 'object' }, { type: 'null' }] },
          note: { type: ['string', 'null'] },
        },
      },
    ],
  ]);
  /** As the template's own instructions show a call. */
  const call = [
    '<tool_call>',
    '<function=edit>',
    ...['<parameter=path>', 'a/b.ts', '</parameter>', '<parameter=line>', '12', '</parameter>'],
    ...['<parameter=text>', 'two', '', '<b>"lines"</b>', '</parameter>'],
    '</function>',
    '</tool_call>',
  ].join('\n');
  const read = (text: string, size?: number) => {
    const { text: rest, calls } = parse(text, 'tags', size, functions);
    return { rest, calls: calls.map(({ name, arguments: json }) => [name, JSON.parse(json)]) };
  };

  it.each([1, 3, 7, 1000])('are found among text that comes in pieces of %d', (size) => {
    const edit = ['edit', { path: 'a/b.ts', line: 12, text: 'two\n\n<b>"lines"</b>' }];
    expect(read(`Well.\n${call}\n${call}`, size)).toEqual({ rest: 'Well.', calls: [edit, edit] });
  });

  const values: [string, string, unknown][] = [
    ['path', '12', '12'],
    ['path', 'null', 'null'],
    ['path', '', ''],
    ['note', 'null', null],
    ['note', '\nindented\n', '\nindented\n'],
    ['line', '-3', -3],
    ['line', 'three', 'three'],
    ['scale', '2.5e3', 2500],
    ['dry', 'True', true],
    ['dry', 'false', false],
    ['tags', '["a", "b"]', ['a', 'b']],
    ['meta', '{"a": [1]}', { a: [1] }],
    ['meta', 'null', null],
    ['unknown', '7', '7'],
  ];
  it.each(values)('%s %j is %j, as its schema says', (name, value, expected) => {
    const text = `<tool_call>\n<function=edit>\n<parameter=${name}>\n${value}\n</parameter>\n</function>\n</tool_call>`;
    expect(read(text)).toEqual({ rest: '', calls: [['edit', { [name]: expected }]] });
  });

  it('may have no parameters, or lack an end', () => {
    expect(read('<tool_call>\n<function=now>\n</function>\n</tool_call>').calls).toEqual([['now', {}]]);
    const whole = '<tool_call>\n<function=edit>\n<parameter=line>\n1\n</parameter>\n';
    expect(read(whole).calls).toEqual([['edit', { line: 1 }]]);
    expect(read(`${whole}</tool_call> Done.`)).toEqual({ rest: ' Done.', calls: [['edit', { line: 1 }]] });
    // In the middle of a value the arguments stay what they are: not JSON.
    const cut = parse(`${whole}<parameter=path>\na`, 'tags', 4, functions);
    expect(cut).toEqual({ text: '', calls: [{ name: 'edit', arguments: '{"line": 1' }] });
  });

  it('are passed on as they come: the name, then each parameter', () => {
    const parser = toolCallParser('tags', functions);
    const pieces = call.split('\n').flatMap((line) => parser.push(`${line}\n`).calls);
    expect(pieces).toEqual([
      { index: 0, name: 'edit', arguments: '', done: false },
      { index: 0, arguments: '{"path": "a/b.ts"', done: false },
      { index: 0, arguments: ', "line": 12', done: false },
      { index: 0, arguments: ', "text": "two\\n\\n<b>\\"lines\\"</b>"', done: false },
      { index: 0, arguments: '}', done: true },
    ]);
  });
});

describe('calls that are the whole answer', () => {
  it.each([
    ['{"name": "f", "parameters": {"x": 1}}', [F]],
    ['\n{"name": "f", "arguments": {"x": 1}}\n', [F]],
    ['{"name": "f", "parameters": {"x": 1}}, {"name": "f", "arguments": {"x": 1}}', [F, F]],
    ['[{"name": "f", "parameters": {"x": 1}}, {"name": "f", "arguments": {"x": 1}}]', [F, F]],
    ['{"name": "f", "parameters": {"x": 1}}; {"name": "g"}', [F, { name: 'g', arguments: '{}' }]],
    ['[{"name": "f", "arguments": {"x": 1}}]', [F]],
    ['{"name": "f", "arguments": "{\\"x\\":1}"}', [F_WRITTEN_ANEW]],
  ])('%s', (text, calls) => {
    expect(parse(text, 'json')).toEqual({ text: '', calls });
  });

  it('are calls of functions that were offered; other JSON is an answer', () => {
    for (const text of [
      '{"name": "h", "parameters": {}}',
      '{"answer": 4}',
      '[1, 2]',
      '{"name": "f"',
      '[]',
      'Hi {"name": "f"}',
    ]) {
      expect(parse(text, 'json')).toEqual({ text, calls: [] });
    }
  });

  it('lets any other text through as it comes', () => {
    assert(
      property(string(), integer({ min: 1, max: 5 }), (text, size) => {
        expect(parse(text, 'json', size)).toEqual({ text, calls: [] });
      }),
    );
    const parser = toolCallParser('json', offered('f'));
    expect([parser.push('\n'), parser.push('Hi'), parser.push(' {')].map((piece) => piece.text)).toEqual([
      '',
      '\nHi',
      ' {',
    ]);
  });
});

describe('a forced call', () => {
  it('is read from JSON of its schema', () => {
    const functions = [{ name: 'f', parameters: { type: 'object' } }, { name: 'g' }];
    expect(callSchema(functions, 'tags')).toMatchObject({
      anyOf: [
        { required: ['name', 'arguments'], properties: { name: { const: 'f' }, arguments: { type: 'object' } } },
        { properties: { name: { const: 'g' } } },
      ],
    });
    expect(callSchema(functions.slice(0, 1), 'json')).toMatchObject({ required: ['name', 'parameters'] });
    const parser = forcedCallParser(offered('f'));
    expect(parser.push('{"name":"f","arguments":{"x":1}}').calls).toEqual([
      { index: 0, ...F_WRITTEN_ANEW, done: true },
    ]);
    expect(parser.end()).toEqual({ text: '', calls: [] });
  });
});
