import { nearestName } from '@posttrain/interfaces';
import { decimalRange, type Limit } from './decimal-range.js';
import { choice, type Expression, type Grammar, literal, rule, sequence, words } from './expression.js';
import { arrayExpression } from './json-schema-array.js';
import { firstOverlap } from './json-schema-disjoint.js';
import { mergedSchema } from './json-schema-merge.js';
import { objectExpression } from './json-schema-object.js';
import { stringExpression } from './json-schema-string.js';
import { EXACT_DIGITS, JSON_INTEGER, JSON_NUMBER, jsonGrammar } from './json-text.js';
import { isSchema, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';

const ANNOTATIONS = [
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$schema', '$id', 'id', '$comment', '$defs', 'definitions'],
  ...['contentEncoding', 'contentMediaType', 'contentSchema'],
];
const BY_TYPE: Readonly<Record<string, readonly string[]>> = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  object: ['properties', 'required', 'additionalProperties', 'propertyNames'],
  array: ['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems', 'uniqueItems'],
};
const COMBINATORS = ['not', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', '$ref'];
/**
 * Most rules, each a part of a schema that may be any size, and most characters of all patterns. A property takes three, and
 * 2,000 of them take some tenths of a second, for which everything else in the process waits.
 */
const MOST_RULES = 7000;
const MOST_PATTERN_CHARACTERS = 50_000;
const KNOWN = [...ANNOTATIONS, ...COMBINATORS, 'type', ...Object.values(BY_TYPE).flat()];

/**
 * The JSON texts that satisfy a schema (draft 2020-12), or some of them: properties come in the order of the schema, objects
 * and tuples are closed where the schema does not open them, numbers have at most 15 digits. What is not supported is an
 * error, so that whatever is generated validates.
 *
 * @throws UnsupportedSchemaError
 */
export function jsonSchemaGrammar(schema: unknown): Grammar {
  const compiler = new SchemaCompiler(schema);
  compiler.define('root', () => compiler.expression(schema, '#'));
  return { rules: compiler.rules, root: 'root' };
}

export class SchemaCompiler {
  readonly rules = new Map<string, Expression>(jsonGrammar().rules);
  readonly #root: unknown;
  #names = 0;
  #patternCharacters = 0;

  constructor(root: unknown) {
    this.#root = root;
  }

  /** A rule under this name; its own expression may use it. */
  define(name: string, make: () => Expression): Expression {
    this.rules.set(name, sequence());
    this.rules.set(name, make());
    return rule(name);
  }

  /** A rule under a name of its own. */
  private(make: () => Expression): Expression {
    return this.define(this.newName(), make);
  }

  /** For a rule that is defined later. */
  newName(): string {
    if (this.#names >= MOST_RULES) {
      throw new UnsupportedSchemaError('#', `it is too large: it has more than ${MOST_RULES} parts`);
    }
    return `part-${this.#names++}`;
  }

  /** Counts characters of patterns. */
  spend(count: number, path: string): void {
    this.#patternCharacters += count;
    if (this.#patternCharacters <= MOST_PATTERN_CHARACTERS) return;
    throw new UnsupportedSchemaError(path, `its patterns have more than ${MOST_PATTERN_CHARACTERS} characters`);
  }

  expression(schema: unknown, path: string): Expression {
    if (schema === true) return rule('json-value');
    if (schema === false) return choice();
    if (!isSchema(schema)) throw new UnsupportedSchemaError(path, 'a schema must be an object, true or false');
    this.#checkKeys(schema, path);
    const combinator = COMBINATORS.find((key) => key in schema);
    if (combinator) return this.#combined(schema, combinator, path);
    const types = schema.type === undefined ? impliedTypes(schema) : [schema.type].flat();
    if (types.length === 0) return rule('json-value');
    return choice(...types.map((type) => this.#ofType(type, schema, path)));
  }

  #checkKeys(schema: JsonSchema, path: string): void {
    for (const key of Object.keys(schema)) {
      if (KNOWN.includes(key)) continue;
      const near = nearestName(key, KNOWN);
      throw new UnsupportedSchemaError(path, `"${key}" is not supported${near ? ` (did you mean "${near}"?)` : ''}`);
    }
  }

  #combined(schema: JsonSchema, key: string, path: string): Expression {
    if (key === 'allOf') return this.#all(schema, path);
    const allowed = [...ANNOTATIONS, key, ...(key === 'enum' || key === 'const' ? ['type'] : [])];
    const other = Object.keys(schema).find((name) => !allowed.includes(name));
    if (other) throw new UnsupportedSchemaError(path, `"${other}" beside "${key}" is not supported; write one of both`);
    const value = schema[key];
    if (key === '$ref') return this.#reference(value, path);
    if (key === 'not') {
      if (value === true || (isSchema(value) && Object.keys(value).length === 0)) return choice();
      throw new UnsupportedSchemaError(path, '"not" is supported with {} only, which nothing satisfies');
    }
    if (key === 'const') return valuesExpression([value], schema);
    if (!Array.isArray(value) || value.length === 0) {
      throw new UnsupportedSchemaError(path, `"${key}" must be a list with something in it`);
    }
    if (key === 'enum') return valuesExpression(value, schema);
    if (key === 'oneOf') {
      const overlap = firstOverlap(
        value.map((one) => this.#resolved(one, path)),
        path,
      );
      if (overlap) {
        const what = `schemas ${overlap[0]} and ${overlap[1]} of "oneOf" may both hold; write "anyOf", or a property with different "const"`;
        throw new UnsupportedSchemaError(path, what);
      }
    }
    const options = value.map((one, i) => this.expression(one, `${path}/${key}/${i}`));
    const texts = options.flatMap((option) => (option.type === 'words' ? option.texts : []));
    return choice(...options.filter(({ type }) => type !== 'words'), ...(texts.length > 0 ? [words(texts)] : []));
  }

  /** `allOf`, and what stands beside it. */
  #all({ allOf, ...rest }: JsonSchema, path: string): Expression {
    if (!Array.isArray(allOf) || allOf.length === 0) {
      throw new UnsupportedSchemaError(path, '"allOf" must be a list with something in it');
    }
    const schemas = allOf.map((one) => this.#resolved(one, path)).filter((one) => one !== true);
    if (schemas.includes(false)) return choice();
    if (!schemas.every(isSchema)) throw new UnsupportedSchemaError(path, '"allOf" must be a list of schemas');
    const beside = Object.entries(rest).filter(([key]) => !ANNOTATIONS.includes(key));
    const all = beside.length > 0 ? [...schemas, Object.fromEntries(beside)] : schemas;
    if (all.length === 0) return rule('json-value');
    // One schema may be whatever it is; several are one, which says what all say.
    return this.expression(all.length === 1 ? all[0] : mergedSchema(all, path), `${path}/allOf`);
  }

  #resolved(schema: unknown, path: string): unknown {
    return isSchema(schema) && '$ref' in schema ? this.#target(schema.$ref, path) : schema;
  }

  #reference(pointer: unknown, path: string): Expression {
    const name = `ref-${pointer}`;
    if (this.rules.has(name)) return rule(name);
    const target = this.#target(pointer, path);
    return this.define(name, () => this.expression(target, String(pointer)));
  }

  #target(pointer: unknown, path: string): unknown {
    if (typeof pointer !== 'string' || !/^#(\/|$)/.test(pointer)) {
      throw new UnsupportedSchemaError(path, `"$ref" must point into the schema (#/…), not ${JSON.stringify(pointer)}`);
    }
    let target: unknown = this.#root;
    for (const part of pointer.split('/').slice(1)) {
      const key = decoded(part, path).replaceAll('~1', '/').replaceAll('~0', '~');
      if (typeof target !== 'object' || target === null || !Object.hasOwn(target, key)) {
        throw new UnsupportedSchemaError(path, `"$ref" ${pointer} points nowhere`);
      }
      target = (target as JsonSchema)[key];
    }
    return target;
  }

  #ofType(type: unknown, schema: JsonSchema, path: string): Expression {
    switch (type) {
      case 'null':
        return literal('null');
      case 'boolean':
        return choice(literal('true'), literal('false'));
      case 'integer':
      case 'number':
        return numberExpression(schema, type === 'integer', path);
      case 'string':
        return stringExpression(this, schema, path);
      case 'array':
        return arrayExpression(this, schema, path);
      case 'object':
        return objectExpression(this, schema, path);
      default:
        throw new UnsupportedSchemaError(path, `there is no type ${JSON.stringify(type)}`);
    }
  }
}

/** The types whose keywords a schema without `type` has. */
function impliedTypes(schema: JsonSchema): string[] {
  return Object.entries(BY_TYPE).flatMap(([type, keys]) => (keys.some((key) => key in schema) ? [type] : []));
}

function hasType(value: unknown, type: unknown): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  return type === 'object' ? isSchema(value) : typeof value === type;
}

/** One of some values, of those that have the schema's type if it has one. */
function valuesExpression(values: readonly unknown[], schema: JsonSchema): Expression {
  const types = schema.type === undefined ? undefined : [schema.type].flat();
  const possible = values.filter((one) => !types || types.some((type) => hasType(one, type)));
  return words(possible.map((one) => JSON.stringify(one)));
}

/** A part of a pointer. */
function decoded(part: string, path: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new UnsupportedSchemaError(path, `"$ref" has a stray % in ${JSON.stringify(part)}; % itself is written %25`);
  }
}

const LARGEST = 10 ** EXACT_DIGITS;

function numberExpression(schema: JsonSchema, isInteger: boolean, path: string): Expression {
  const { multipleOf } = schema;
  if (multipleOf !== undefined && multipleOf !== 1) {
    throw new UnsupportedSchemaError(path, '"multipleOf" is supported for 1 only');
  }
  const isWhole = isInteger || multipleOf === 1;
  const lower = limitOf(schema, ['minimum', 'exclusiveMinimum'], Math.max, path);
  const upper = limitOf(schema, ['maximum', 'exclusiveMaximum'], Math.min, path);
  if (!lower && !upper) return isWhole ? JSON_INTEGER : JSON_NUMBER;
  // No number of so few digits comes near limits like those of float32.
  const from = lower && lower.value <= -LARGEST ? undefined : lower;
  const to = upper && upper.value >= LARGEST ? undefined : upper;
  if (!isWhole) return decimalRange(from, to, false);
  const inside = (limit: Limit | undefined, step: 1 | -1): Limit | undefined => {
    if (!limit) return undefined;
    const rounded = step * Math.ceil(step * limit.value);
    const value = rounded === limit.value && limit.isExclusive ? rounded + step : rounded;
    return { value, isExclusive: false };
  };
  return decimalRange(inside(from, 1), inside(to, -1), true);
}

/** The tighter of two limits. */
function limitOf(
  schema: JsonSchema,
  keys: readonly [inclusive: string, exclusive: string],
  tighter: (a: number, b: number) => number,
  path: string,
): Limit | undefined {
  const limits = keys.flatMap((key, i): Limit[] => {
    const value = schema[key];
    if (value === undefined) return [];
    if (typeof value !== 'number') throw new UnsupportedSchemaError(path, `"${key}" must be a number`);
    return [{ value, isExclusive: i === 1 }];
  });
  return limits.sort((a, b) => {
    if (a.value === b.value) return Number(b.isExclusive) - Number(a.isExclusive);
    return tighter(a.value, b.value) === a.value ? -1 : 1;
  })[0];
}
