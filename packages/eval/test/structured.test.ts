import { readFileSync } from 'node:fs';
import type { Generator, Verifier } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import {
  evaluate,
  type JsonSchemaRow,
  jsonFields,
  jsonSchemas,
  jsonValidity,
  metricOf,
  schemaCompliance,
  schemaCoverage,
} from '../src/index.js';

const scoreOf = async (grader: Verifier, completion: string, row: object = {}): Promise<number | null> =>
  (await grader.verify([{ prompt: '', completion, row: row as never }]))[0]!.score;

describe('schemaCompliance', () => {
  it('says of every value what python-jsonschema says', async () => {
    const file = new URL('../../../goldens/json-schema/verdicts.json', import.meta.url);
    const { cases } = JSON.parse(readFileSync(file, 'utf8')) as {
      cases: { schema: object; values: unknown[]; valid: boolean[] }[];
    };
    // A multiple of 0.01 is one of decimal numbers; Python divides binary ones, of which hardly any is.
    const decimals = JSON.stringify({ type: 'number', multipleOf: 0.01 });
    for (const { schema, values, valid } of cases) {
      if (JSON.stringify(schema) === decimals) valid.splice(0, 4, true, true, false, true);
      const found = await Promise.all(
        values.map(async (value) => (await scoreOf(schemaCompliance(), JSON.stringify(value), { schema })) === 1),
      );
      expect(found, JSON.stringify(schema)).toEqual(valid);
    }
  });

  it('reads the completion as a whole or its last fenced block, and refuses rows without a schema', async () => {
    const schema = JSON.stringify({ type: 'object', required: ['a'] });
    const fenced = 'Here:\n```json\n{"b": 1}\n```\nno, this:\n```\n{"a": 1}\n```\n';
    expect(await scoreOf(schemaCompliance(), fenced, { schema })).toBe(0);
    expect(await scoreOf(schemaCompliance({ read: 'fenced' }), fenced, { schema })).toBe(1);
    expect(await scoreOf(schemaCompliance({ read: 'fenced' }), ' {"a": 1} ', { schema })).toBe(1);
    expect(await scoreOf(schemaCompliance(), '{"a": 1', { schema })).toBe(0);
    expect([await scoreOf(jsonValidity(), '{"a": NaN}'), await scoreOf(jsonValidity(), '[1]')]).toEqual([0, 1]);
    await expect(scoreOf(schemaCompliance(), '1', { schema: 3 })).rejects.toThrow(/the column "schema" must be/);
    await expect(scoreOf(schemaCompliance(), '1', { schema: { $ref: '#/$defs/no' } })).rejects.toThrow(
      /cannot be followed/,
    );
    expect(() => schemaCompliance({ raed: 'whole' } as never)).toThrow(/read/);
  });

  it('counts fields that are right by their paths', async () => {
    const value = { a: 1, b: { c: 'x', d: [1, 2] }, e: null };
    const of = (said: unknown) => scoreOf(jsonFields(), JSON.stringify(said), { value });
    expect(await of({ e: null, b: { d: [1, 2], c: 'x' }, a: 1 })).toBe(1);
    expect(await of({ a: '1', b: { c: 'x', d: [2, 1] }, e: null, more: 1 })).toBe(0.5);
    expect(await of({ 'b/c': 'x', e: 0 })).toBe(0);
    expect(await scoreOf(jsonFields(), 'no', { value })).toBe(0);
    await expect(scoreOf(jsonFields(), '1', { value: {} })).rejects.toThrow(/an object with fields/);
  });
});

describe('jsonSchemas', () => {
  const rowsOf = (given: Parameters<typeof jsonSchemas>[0]) => [...(jsonSchemas(given).dataset as JsonSchemaRow[])];

  it.each(['flat', 'nested', 'constrained'] as const)(
    '%s: every value is allowed, and no value with a field less or more',
    async (level) => {
      const rows = rowsOf({ level, count: 30, seed: 4 });
      for (const row of rows) {
        const of = (value: unknown) => scoreOf(schemaCompliance(), JSON.stringify(value), row);
        const [first, ...rest] = Object.entries(row.value);
        expect(await of(row.value)).toBe(1);
        expect(await of(Object.fromEntries(rest))).toBe(0);
        expect(await of({ ...row.value, other: 1 })).toBe(0);
        expect(await of({ ...row.value, [first![0]]: { not: 'so' } })).toBe(0);
        expect(await scoreOf(jsonFields(), JSON.stringify(row.value), row)).toBe(1);
      }
      expect(rowsOf({ level, count: 30, seed: 4 })).toEqual(rows);
      expect(rowsOf({ level, count: 30, seed: 5 })).not.toEqual(rows);
      expect(new Set(rows.map(({ prompt }) => prompt)).size).toBe(30);
    },
  );

  it('tells one who copies the facts from one who only follows the schema, and from one who talks', async () => {
    const task = jsonSchemas({ level: 'flat', count: 12 });
    const rows = new Map([...(task.dataset as JsonSchemaRow[])].map((row) => [row.prompt, row]));
    const writer = (name: string, write: (row: JsonSchemaRow) => string): Generator => ({
      name,
      generate: async (requests) =>
        requests.map(({ prompt }) => [
          {
            text: write(rows.get(prompt as string)!),
            finishReason: 'stop',
            usage: { promptTokens: 1, completionTokens: 1 },
          },
        ]),
    });
    const anything = { string: 'zz', integer: 1000, number: 0.3, boolean: true };
    const empty = ({ schema }: JsonSchemaRow) =>
      Object.fromEntries(
        Object.entries(schema.properties as Record<string, { type: keyof typeof anything }>).map(([key, { type }]) => [
          key,
          anything[type],
        ]),
      );
    const of = async (name: string, write: (row: JsonSchemaRow) => string) => {
      const result = await evaluate(task, writer(name, write));
      return ['json whole', 'schema whole', 'fields whole', 'schema fenced'].map(
        (grader) => metricOf(result, 'mean', grader).value,
      );
    };
    expect(await of('right', ({ value }) => JSON.stringify(value))).toEqual([1, 1, 1, 1]);
    const [valid, complies, fields] = await of('formal', (row) => JSON.stringify(empty(row)));
    expect([valid, complies]).toEqual([1, 1]);
    expect(fields).toBeLessThan(0.4);
    expect(await of('chatty', ({ value }) => `Sure!\n\`\`\`json\n${JSON.stringify(value)}\n\`\`\``)).toEqual([
      0, 0, 0, 1,
    ]);
  });
});

describe('schemaCoverage', () => {
  it('tells what is refused from what is wrong', () => {
    const schema = { type: 'integer' };
    const found = schemaCoverage([null, '1', '2', '"x"', '{'].map((completion) => ({ schema, completion })));
    expect([found.declared.value, found.empirical.value, found.compliance!.value]).toEqual([0.8, 0.4, 0.5]);
    expect(found.empirical.interval[0]).toBeGreaterThan(0.1);
    expect(schemaCoverage([{ schema, completion: null }]).compliance).toBeNull();
    expect(() => schemaCoverage([])).toThrow(/no outcomes/);
    expect(() => schemaCoverage([{ schema: 1, completion: null }])).toThrow(/schema 0 must be/);
  });
});
