import { array, assert, constantFrom, integer, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ToolFormat } from '../../src/serve/index.js';
import { callSchema, forcedCallParser, toolCallParser } from '../../src/serve/tool-calls.js';

/** What the parser finds in a text that comes in pieces of the given length. */
function parse(text: string, format: ToolFormat = 'tags', size = 1, names = ['f', 'g']) {
  const parser = toolCallParser(format, new Set(names));
  const characters = [...text];
  const pieces = Array.from({ length: Math.ceil(characters.length / size) }, (_, i) =>
    parser.push(characters.slice(i * size, (i + 1) * size).join('')),
  );
  pieces.push(parser.end());
  return { text: pieces.map((piece) => piece.text).join(''), calls: pieces.flatMap((piece) => piece.calls) };
}

const F = { name: 'f', arguments: '{"x":1}' };

describe('calls in tags', () => {
  const call = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>';
  it('are found among text, which keeps nothing of them', () => {
    expect(parse(call)).toEqual({ text: '', calls: [F] });
    expect(parse(`Well.\n\n${call}\n${call}`)).toEqual({ text: 'Well.', calls: [F, F] });
    expect(parse(`a ${call} b`)).toEqual({ text: 'a b', calls: [F] });
  });

  it('may lack the end', () => {
    expect(parse(call.slice(0, -13))).toEqual({ text: '', calls: [F] });
  });

  it.each([
    ['<tool_call>{"name": "f", "arguments": {"x": 1}', 'cut off'],
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
    const parts = constantFrom('<tool_call>', '</tool_call>', '<tool', '{"name":"f"}', '{', ' ', '\n', 'x', '😀');
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

describe('calls that are the whole answer', () => {
  it.each([
    ['{"name": "f", "parameters": {"x": 1}}', [F]],
    ['\n{"name": "f", "arguments": {"x": 1}}\n', [F]],
    ['{"name": "f", "parameters": {"x": 1}}; {"name": "g"}', [F, { name: 'g', arguments: '{}' }]],
    ['[{"name": "f", "arguments": {"x": 1}}]', [F]],
    ['{"name": "f", "arguments": "{\\"x\\":1}"}', [F]],
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
    const parser = toolCallParser('json', new Set(['f']));
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
    const parser = forcedCallParser(new Set(['f']));
    expect(parser.push('{"name":"f","arguments":{"x":1}}').calls).toEqual([]);
    expect(parser.end().calls).toEqual([F]);
  });
});
