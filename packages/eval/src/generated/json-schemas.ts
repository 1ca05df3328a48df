import { type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { meanScore } from '../metrics/mean.js';
import { jsonFields, jsonValidity, schemaCompliance } from '../structured/json-schema-grader.js';
import type { GenerateTask } from '../task.js';

/** A schema, and a value that it allows. */
export interface JsonSchemaRow {
  readonly prompt: string;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly value: Readonly<Record<string, unknown>>;
}

const schemasOptions = options('jsonSchemas', {
  /**
   * `flat`: fields of texts, numbers and truths. `nested`: objects and lists in them too. `constrained`: also enumerations, bounds, patterns, formats, lists without doubles and alternatives.
   * Default `nested`.
   */
  level: oneOf(['flat', 'nested', 'constrained'], { default: 'nested' }),
  /** Default 100. */
  count: integer({ default: 100, min: 1 }),
  /** Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `jsonSchemas`. */
export type JsonSchemasOptions = Given<typeof schemasOptions>;
type Level = ReturnType<typeof schemasOptions.read>['level'];

interface Part {
  readonly schema: Record<string, unknown>;
  readonly value: unknown;
}

const WORDS = ['amber', 'basil', 'cedar', 'delta', 'ember', 'fjord', 'grove', 'heron', 'iris', 'jade', 'kelp', 'linen'];
const NAMES = ['name', 'city', 'code', 'size', 'owner', 'count', 'state', 'price', 'label', 'notes', 'rank', 'unit'];
const two = (n: number): string => String(n).padStart(2, '0');

/** Leaves, by level: each draws a schema and a value that it allows. */
const PLAIN: readonly ((random: Random) => Part)[] = [
  (random) => ({ schema: { type: 'string' }, value: random.pick(WORDS) }),
  (random) => ({ schema: { type: 'integer' }, value: random.integer(-99, 99) }),
  (random) => ({ schema: { type: 'number' }, value: random.integer(-999, 999) / 8 }),
  (random) => ({ schema: { type: 'boolean' }, value: random.integer(0, 1) === 1 }),
];
const CONSTRAINED: readonly ((random: Random) => Part)[] = [
  (random) => {
    const names = random.shuffled(WORDS).slice(0, 4);
    return { schema: { enum: names }, value: random.pick(names) };
  },
  (random) => {
    const minimum = random.integer(-20, 20);
    return { schema: { type: 'integer', minimum, maximum: minimum + 9 }, value: minimum + random.integer(0, 9) };
  },
  (random) => {
    const multipleOf = random.integer(2, 9);
    return { schema: { type: 'integer', multipleOf, exclusiveMinimum: 0 }, value: multipleOf * random.integer(1, 9) };
  },
  (random) => ({
    schema: { type: 'string', pattern: '^[A-Z]{2}-[0-9]{3}$' },
    value: `${random.pick(['AB', 'QX', 'ZZ'])}-${random.integer(100, 999)}`,
  }),
  (random) => ({
    schema: { type: 'string', format: 'date' },
    value: `20${random.integer(10, 39)}-${two(random.integer(1, 12))}-${two(random.integer(1, 28))}`,
  }),
  (random) => ({ schema: { type: 'string', minLength: 3, maxLength: 8 }, value: random.pick(WORDS) }),
  (random) => ({
    schema: { type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 4, uniqueItems: true },
    value: random.shuffled([1, 2, 3, 5, 8, 13]).slice(0, random.integer(2, 4)),
  }),
  (random) => ({
    schema: { anyOf: [{ type: 'null' }, { type: 'string', minLength: 1 }] },
    value: random.integer(0, 2) === 0 ? null : random.pick(WORDS),
  }),
];

function objectOf(random: Random, level: Level, depth: number): Part {
  const names = random.shuffled(NAMES).slice(0, random.integer(3, 5));
  const parts = names.map((name) => [name, partOf(random, level, depth)] as const);
  const schema = {
    type: 'object',
    properties: Object.fromEntries(parts.map(([name, part]) => [name, part.schema])),
    required: names,
    additionalProperties: false,
  };
  return { schema, value: Object.fromEntries(parts.map(([name, part]) => [name, part.value])) };
}

function partOf(random: Random, level: Level, depth: number): Part {
  const leaves = level === 'constrained' ? [...PLAIN, ...CONSTRAINED] : PLAIN;
  const choice = level === 'flat' || depth === 0 ? 2 : random.integer(0, 4);
  if (choice === 0) return objectOf(random, level, depth - 1);
  if (choice > 1) return random.pick(leaves)(random);
  const items = Array.from({ length: random.integer(1, 3) }, () => random.pick(WORDS));
  return { schema: { type: 'array', items: { type: 'string' } }, value: items };
}

/** Lines that say what the object is to hold, one a leaf. */
function facts(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [`${path} is ${JSON.stringify(value)}`];
  return Object.entries(value).flatMap(([key, item]) => facts(item, path === '' ? key : `${path} / ${key}`));
}

/**
 * Structured output in the manner of JSONSchemaBench (arXiv 2501.10868), made from a seed: a JSON Schema and facts that an object of it holds. Graders are a ladder: `json`, `schema` and `fields` (the
 * share of fields that are right), each of the completion as a whole and of its last fenced block.
 *
 * @throws OptionError
 */
export function jsonSchemas(given: JsonSchemasOptions = {}): GenerateTask<JsonSchemaRow> {
  const { level, count, seed } = schemasOptions.read(given);
  const dataset = Array.from({ length: count }, (_, index): JsonSchemaRow => {
    const { schema, value } = objectOf(createRandom(seed, 'json schemas', level, index), level, 2);
    const prompt = `Write one JSON object that this JSON Schema allows and that holds these facts.\n\nSchema:\n${JSON.stringify(schema)}\n\nFacts:\n${facts(value, '').join('\n')}\n\nAnswer with the JSON object only.`;
    return { prompt, schema, value: value as JsonSchemaRow['value'] };
  });
  return {
    type: 'generate',
    name: `json schemas ${level}`,
    dataset,
    prompt: ({ prompt }) => prompt,
    sampling: { temperature: 0, maxTokens: 1024 },
    graders: (['whole', 'fenced'] as const).flatMap((read) => [
      schemaCompliance({ read }),
      jsonValidity({ read }),
      jsonFields({ read }),
    ]),
    metrics: [meanScore()],
  };
}
