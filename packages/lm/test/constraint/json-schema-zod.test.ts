import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { jsonSchemaGrammar } from '../../src/constraint/json-schema.js';
import { type Schema, textOf } from './support.js';

const node = z.object({
  value: z.int(),
  get next() {
    return node.nullable();
  },
});

/** What people ask for through the AI SDK, which has zod write the schema. */
const ZOD_TYPES: Readonly<Record<string, z.ZodType>> = {
  'min and max': z.string().min(2).max(5),
  'regex and min': z
    .string()
    .regex(/^[a-z]+$/)
    .min(2),
  'two regexes': z
    .string()
    .regex(/a/)
    .regex(/^[ab]*b$/)
    .max(4),
  'startsWith and max': z.string().startsWith('ab').max(10),
  'endsWith, includes': z.string().endsWith('yz').includes('q').max(8),
  'lower and upper case': z.tuple([z.string().lowercase().max(4), z.string().uppercase().max(4)]),
  email: z.email(),
  'email of a length': z.email().min(8).max(12),
  url: z.url(),
  uuid: z.uuid(),
  guid: z.guid(),
  ids: z.tuple([z.cuid(), z.cuid2(), z.ulid(), z.nanoid()]),
  addresses: z.tuple([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]),
  base64: z.tuple([z.base64(), z.base64url()]),
  e164: z.e164(),
  dates: z.tuple([z.iso.date(), z.iso.time(), z.iso.datetime(), z.iso.datetime({ offset: true })]),
  duration: z.iso.duration(),
  hostname: z.hostname(),
  hex: z.hex(),
  'integers of so many bits': z.tuple([z.int(), z.int32(), z.uint32()]),
  float32: z.float32(),
  positive: z.number().positive(),
  literals: z.literal(['a', 1, true, null]),
  enum: z.enum(['a', 'b c', '"']),
  'objects, strict and loose': z.tuple([
    z.object({ a: z.boolean(), b: z.number().optional() }),
    z.strictObject({ a: z.null() }),
    z.object({ a: z.null() }).catchall(z.boolean()),
  ]),
  record: z.record(z.string(), z.boolean()),
  'record of an enum': z.record(z.enum(['a', 'b']), z.boolean()),
  'partial record': z.partialRecord(z.enum(['a', 'b']), z.boolean()),
  'record of a regex': z.record(z.string().regex(/^k\d$/), z.boolean()),
  'record of long names': z.record(z.string().min(2).max(3), z.boolean()),
  tuple: z.tuple([z.boolean(), z.null()]),
  'tuple and rest': z.tuple([z.boolean()], z.null()),
  array: z.array(z.boolean()).min(1).max(3),
  union: z.union([z.boolean(), z.int()]),
  'discriminated union': z.discriminatedUnion('t', [
    z.object({ t: z.literal('a'), x: z.boolean() }),
    z.object({ t: z.literal('b'), y: z.int() }),
  ]),
  intersection: z.intersection(z.object({ a: z.boolean() }), z.object({ b: z.int() })),
  nullable: z.boolean().nullable(),
  'optional never': z.object({ a: z.never().optional(), b: z.boolean() }),
  recursive: node,
  template: z.templateLiteral(['a', z.int(), 'b']),
  described: z.boolean().meta({ id: 'flag', title: 'Flag', description: 'x', examples: [true], deprecated: true }),
};

describe('json-schema of zod', () => {
  it.each(Object.entries(ZOD_TYPES))(
    'has what zod takes, for its types as the AI SDK has them written: %s',
    (_, type) => {
      for (const target of ['draft-7', 'draft-2020-12'] as const) {
        for (const io of ['input', 'output'] as const) {
          const written = z.toJSONSchema(type, { target, io, reused: 'inline' }) as Schema;
          let ended = 0;
          for (let seed = 1; seed <= 6; seed++) {
            const text = textOf(written, seed);
            if (text === undefined || /[\u{10000}-\u{10ffff}]/u.test(text)) continue;
            const { success, error } = type.safeParse(JSON.parse(text));
            expect(success, `${text} for ${JSON.stringify(written)}: ${error?.message}`).toBe(true);
            ended++;
          }
          expect(ended).toBeGreaterThan(0);
        }
      }
    },
  );

  it.each([
    ['emoji', z.emoji(), /look-around/],
    ['jwt', z.jwt(), /the format "jwt" is not supported/],
    ['multipleOf', z.number().multipleOf(5), /"multipleOf" is supported for 1 only/],
    ['metadata of one’s own', z.string().meta({ house: 1 }), /"house" is not supported/],
  ])('refuses by name what it cannot hold: %s', (_, type, message) => {
    expect(() => jsonSchemaGrammar(z.toJSONSchema(type))).toThrow(message);
  });
});
