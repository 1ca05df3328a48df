import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Automaton } from '../../src/constraint/automaton.js';
import { decimalRange } from '../../src/constraint/decimal-range.js';
import { jsonSchemaGrammar } from '../../src/constraint/json-schema.js';
import { jsonGrammar } from '../../src/constraint/json-text.js';
import { acceptor, type Schema, textOf } from './support.js';

/** Expects the texts of some seeds to validate; how many there were: some do not end in time. */
function expectValid(schema: Schema, seeds: number): number {
  const validator = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
  let ended = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const text = textOf(schema, seed);
    // zod counts UTF-16 units, JSON Schema characters.
    if (text === undefined || /[\u{10000}-\u{10ffff}]/u.test(text)) continue;
    const { success, error } = validator.safeParse(JSON.parse(text));
    expect(success, `${text} for ${JSON.stringify(schema)}: ${error?.message}`).toBe(true);
    ended++;
  }
  return ended;
}

const name = fc.constantFrom('a', 'ab', 'b', 'é', 'a"b', 'x y', '', 'n\n');
const { schema } = fc.letrec<{ schema: Schema; leaf: Schema }>((tie) => ({
  leaf: fc.oneof(
    fc.constantFrom<Schema>(
      { type: 'null' },
      { type: 'boolean' },
      { type: 'integer' },
      { type: 'number' },
      { type: 'string' },
    ),
    fc.tuple(fc.nat(3), fc.nat(4)).map(([min, more]) => ({ type: 'string', minLength: min, maxLength: min + more })),
    fc.constantFrom<Schema>(
      { type: 'string', pattern: '^[a-c"\\\\]{1,4}$' },
      { type: 'string', pattern: '\\d\\n?x' },
      { enum: ['red', 'blue', 3, null, 'a"\\'] },
      { const: 'c\n' },
      { type: ['string', 'null'], maxLength: 3 },
    ),
    fc
      .tuple(
        fc.integer({ min: -3000, max: 3000 }),
        fc.nat(500),
        fc.boolean(),
        fc.boolean(),
        fc.constantFrom(1, 10, 100),
      )
      .map(([low, more, isInteger, isExclusive, scale]) => {
        const [from, to] = [low / scale, (low + more + 2 * scale) / scale];
        return {
          type: isInteger ? 'integer' : 'number',
          ...(isExclusive ? { exclusiveMinimum: from, exclusiveMaximum: to } : { minimum: from, maximum: to }),
        };
      }),
  ),
  schema: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    tie('leaf'),
    fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }) }),
    fc
      .tuple(tie('schema'), fc.nat(2), fc.nat(2))
      .map(([items, min, more]) => ({ type: 'array', items, minItems: min, maxItems: min + more })),
    fc
      .array(tie('schema'), { minLength: 1, maxLength: 3 })
      .map((items) => ({ type: 'array', prefixItems: items, items: false })),
    fc
      .tuple(
        fc.uniqueArray(name, { maxLength: 4 }),
        fc.array(tie('schema'), { minLength: 4, maxLength: 4 }),
        fc.nat(15),
        fc.constantFrom<unknown>(undefined, false, true, { type: 'boolean' }),
      )
      .map(([names, schemas, required, additionalProperties]) => ({
        type: 'object',
        properties: Object.fromEntries(names.map((key, i) => [key, schemas[i]])),
        required: names.filter((_, i) => required & (1 << i)),
        ...(additionalProperties === undefined ? {} : { additionalProperties }),
      })),
  ),
}));

const namedProperties = (count: number) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`property ${i} ${(i * 7919) % 10_007}`, { type: 'null' }]),
  );

describe('json-schema', () => {
  it('has only texts that validate, for random schemas', () => {
    fc.assert(
      fc.property(schema, (one) => void expectValid(one, 2)),
      { numRuns: 30 },
    );
  });

  it('has the texts of a pattern whose lengths are right, and no others', () => {
    const accepts = acceptor(jsonSchemaGrammar({ type: 'string', pattern: '^(ab|c)*$', minLength: 2, maxLength: 5 }));
    const all = (length: number): string[] =>
      length === 0 ? [''] : all(length - 1).flatMap((text) => [...'abc'].map((letter) => text + letter));
    for (let length = 0; length <= 6; length++) {
      for (const text of all(length)) {
        expect(accepts(JSON.stringify(text)), text).toBe(/^(ab|c)*$/.test(text) && length >= 2 && length <= 5);
      }
    }
    // Characters count, not what they are written with.
    const escaped = acceptor(jsonSchemaGrammar({ type: 'string', pattern: '^["\\n😀]*$', minLength: 2, maxLength: 2 }));
    expect(['"\n', '😀"', '"', '😀', '""😀'].map((text) => escaped(JSON.stringify(text)))).toEqual([
      ...[true, true, false, false, false],
    ]);
  });

  it.each([
    [
      '30 000 strings',
      { enum: Array.from({ length: 30_000 }, (_, i) => `value ${i}`) },
      '"value 29999"',
      '"value 30000"',
    ],
    ['a constant of 3 MB', { enum: ['x'.repeat(3e6), 'x'] }, '"x"', '"xx"'],
    [
      '5000 constants',
      { anyOf: Array.from({ length: 5000 }, (_, i) => ({ const: { a: i } })) },
      '{"a":4999}',
      '{"a":5000}',
    ],
    ['5000 exclusive ones', { oneOf: Array.from({ length: 5000 }, (_, i) => ({ const: i })) }, '4999', '5000'],
    [
      '2000 properties',
      { properties: Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`p${i}`, { type: 'boolean' }])) },
      '{"p7": true, "p1999": false}',
      '{"p1999": false, "p7": true}',
    ],
  ])('holds what is large: %s', (_, large, right, wrong) => {
    const accepts = acceptor(jsonSchemaGrammar(large));
    expect(accepts(right)).toBe(true);
    expect(accepts(wrong)).toBe(false);
  });

  it.each([
    ['repetitions of repetitions', { type: 'string', pattern: '^((a{1,100}){1,100}){1,100}$' }, /too large/],
    [
      'repetitions of repetitions, with a length',
      { pattern: '^((a{1,100}){1,100}){1,100}$', minLength: 3 },
      /too large|states/,
    ],
    ['a long pattern', { type: 'string', pattern: 'ab'.repeat(20_000) }, /at most 20000|50000 characters/],
    ['a deep pattern', { type: 'string', pattern: `${'('.repeat(9000)}a${')'.repeat(9000)}` }, /nested too deeply/],
    ['a length', { type: 'string', pattern: '^.*$', maxLength: 1e9 }, /more than 20000 states/],
    ['items', { type: 'array', items: { type: 'null' }, minItems: 1e9 }, /too large/],
    [
      'tagged unions',
      { oneOf: Array.from({ length: 300 }, (_, i) => ({ type: 'object', required: [`${i}`] })) },
      /256/,
    ],
    ['a reference with a stray %', { $ref: '#/$defs/a%b', $defs: { 'a%b': {} } }, /stray %/],
    ['20 000 properties', { properties: namedProperties(20_000) }, /more than 7000 parts/],
    [
      'others beside 300 properties',
      { properties: namedProperties(300), additionalProperties: true },
      /for others beside/,
    ],
    ['a circle of allOf', { allOf: [{ $ref: '#' }, { type: 'object' }] }, /nested too deeply/],
  ])('refuses what would have no end: %s', (_, large, message) => {
    const compile = () => {
      try {
        return new Automaton(jsonSchemaGrammar(large));
      } catch (error) {
        // As compiling a constraint does.
        throw error instanceof RangeError ? new Error('nested too deeply') : error;
      }
    };
    expect(compile).toThrow(message);
  });

  it.each([
    ...['date', 'time', 'date-time', 'duration', 'uuid', 'ipv4', 'ipv6', 'hostname', 'uri', 'email'].map(
      (format): Schema => ({ type: 'string', format }),
    ),
    { type: 'array', items: { oneOf: [{ type: 'string', maxLength: 2 }, { type: 'integer' }] }, maxItems: 4 } as Schema,
    {
      oneOf: [
        { type: 'object', properties: { kind: { const: 'a' }, x: { type: 'integer' } }, required: ['kind'] },
        { type: 'object', properties: { kind: { const: 'b' }, y: { type: 'null' } }, required: ['kind', 'y'] },
      ],
    } as Schema,
    {
      $ref: '#/$defs/tree',
      $defs: {
        tree: {
          type: 'object',
          properties: {
            value: { type: 'integer' },
            children: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 2 },
          },
          required: ['value'],
          additionalProperties: false,
        },
      },
    } as Schema,
    z.toJSONSchema(
      z.object({
        name: z.string().max(8),
        age: z.int().min(0).max(120),
        score: z.number().gt(0).lt(1),
        tags: z.array(z.enum(['x', 'y'])).max(3),
        note: z.string().max(4).nullable().optional(),
      }),
    ) as Schema,
  ])('has only texts that validate, for %j', (one) => {
    expect(expectValid(one, 12)).toBeGreaterThan(6);
  });

  it('has no key twice, and none of the listed ones among the others', () => {
    const accepts = acceptor(
      jsonSchemaGrammar({
        type: 'object',
        properties: { ab: { type: 'integer' }, 'a"': true },
        additionalProperties: { type: 'null' },
      }),
    );
    for (const right of [
      '{}',
      '{"ab": 1}',
      '{"a": null}',
      '{"abc": null, "b": null}',
      '{"ab":1, "a\\"":"x","a\\"b":null}',
    ]) {
      expect(accepts(right), right).toBe(true);
    }
    for (const wrong of [
      '{"ab": null}',
      '{"ab": 1, "ab": null}',
      '{"a\\"": 1, "ab": 1}',
      '{"\\u0061b": null}',
      '{"c": 1}',
      '{"ab": 1,}',
    ]) {
      expect(accepts(wrong), wrong).toBe(false);
    }
  });

  it('counts characters, escaped or outside the basic plane', () => {
    const accepts = acceptor(jsonSchemaGrammar({ type: 'string', minLength: 2, maxLength: 3 }));
    for (const right of ['"ab"', '"😀é"', '"\\n\\"\\u0000"', '"😀😀😀"']) expect(accepts(right), right).toBe(true);
    for (const wrong of ['"a"', '"😀"', '"😀😀😀😀"', '"\\n"', 'ab']) expect(accepts(wrong), wrong).toBe(false);
  });

  it('reads long texts, whose states are not all kept', () => {
    const accepts = acceptor(jsonSchemaGrammar({ type: 'string', maxLength: 6000 }));
    for (const [length, isRight] of [
      [5999, true],
      [6000, true],
      [6001, false],
      [1, true],
    ] as const) {
      expect(accepts(JSON.stringify('a'.repeat(length)))).toBe(isRight);
    }
  });

  it('writes constants as JSON', () => {
    const accepts = acceptor(jsonSchemaGrammar({ enum: [{ deep: [1, 'two'] }, 'é"'] }));
    expect([accepts('{"deep":[1,"two"]}'), accepts('"é\\""'), accepts('{"deep":[1]}')]).toEqual([true, true, false]);
  });

  it('has what JSON.stringify writes, compact or indented', () => {
    const accepts = acceptor(jsonGrammar());
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom(0, 1, 2, 4), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        // Fewer digits than JavaScript writes, no lone surrogates, and no deep indentation.
        fc.pre(!/\d{16}|e[+-]\d{3}|\\u[d8-f]|\n {21}/i.test(text));
        fc.pre(!/\x7f/.test(text));
        expect(accepts(text), text).toBe(true);
      }),
    );
    for (const wrong of [
      '',
      '{',
      '[1,]',
      '{"a"}',
      "{'a':1}",
      '01',
      '1.',
      '.5',
      '+1',
      '"\n"',
      '"\\x"',
      'nul',
      '[1 2]',
      'true false',
    ]) {
      expect(accepts(wrong), wrong).toBe(false);
    }
  });

  it.each([
    [{ type: 'strin' }, 'there is no type "strin"'],
    [{ type: 'string', minlength: 3 }, 'did you mean "minLength"'],
    [{ type: 'object', patternProperties: {} }, '#: "patternProperties" is not supported'],
    [
      { type: 'object', properties: { a: { not: { type: 'null' } } } },
      '#/properties/a: "not" is supported with {} only',
    ],
    [{ type: 'array', uniqueItems: true }, '"uniqueItems" is not supported'],
    [{ type: 'integer', multipleOf: 3 }, '"multipleOf" is supported for 1 only'],
    [{ allOf: [{ type: 'string' }, { type: 'null' }] }, 'merge the schemas'],
    [{ oneOf: [{ type: 'integer' }, { type: 'number' }] }, 'may both hold'],
    [{ type: 'object', anyOf: [{}] }, '"type" beside "anyOf"'],
    [{ type: 'string', format: 'jwt' }, 'the format "jwt" is not supported'],
    [{ type: 'string', pattern: 'aaaa', maxLength: 3 }, 'no text satisfies it'],
    [{ $ref: '#/$defs/none' }, 'points nowhere'],
    [{ $ref: 'https://example.com/schema' }, 'must point into the schema'],
    [{ type: 'string', minLength: 3, maxLength: 2 }, 'no text satisfies it'],
    [{ type: 'integer', minimum: 3.2, maximum: 3.8 }, 'no text satisfies it'],
    [{ $ref: '#' }, 'begins with itself'],
    [{ type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }, 'no text satisfies it'],
  ])('refuses %j', (wrong, message) => {
    expect(() => new Automaton(jsonSchemaGrammar(wrong))).toThrow(message);
  });
});

describe('decimalRange', () => {
  const limit = fc.option(
    fc.record({
      value: fc.tuple(fc.integer({ min: -20000, max: 20000 }), fc.constantFrom(1, 8, 10, 1000)).map(([a, b]) => a / b),
      isExclusive: fc.boolean(),
    }),
    { nil: undefined },
  );
  const number = fc
    .tuple(fc.constantFrom('', '-'), fc.nat(20000), fc.option(fc.integer({ min: 0, max: 9999 }), { nil: undefined }))
    .map(
      ([sign, whole, fraction]) =>
        `${sign}${whole}${fraction === undefined ? '' : `.${String(fraction).padStart(4, '0')}`}`,
    );

  it('has the decimals between two limits', () => {
    fc.assert(
      fc.property(limit, limit, fc.array(number, { minLength: 1, maxLength: 40 }), (from, to, texts) => {
        const expression = decimalRange(from, to, false);
        const isIn = (value: number) =>
          (!from || value > from.value || (!from.isExclusive && value === from.value)) &&
          (!to || value < to.value || (!to.isExclusive && value === to.value));
        let accepts: (text: string) => boolean = () => false;
        try {
          accepts = acceptor({ root: 'root', rules: new Map([['root', expression]]) });
        } catch {
          // Nothing is between them.
        }
        const limits = [from, to].flatMap((one) =>
          one ? [`${one.value}`, `${one.value}.0`.replace(/(\..*)\.0/, '$10')] : [],
        );
        for (const text of [...texts, ...limits]) {
          // Zero has no sign here.
          if (/^-0(\.0*)?$/.test(text)) continue;
          expect(accepts(text), `${text} in ${JSON.stringify([from, to])}`).toBe(isIn(Number(text)));
        }
      }),
      { numRuns: 80 },
    );
  });
});
