import { nearestName } from '@posttrain/interfaces';
import { decimalRange, type Limit } from './decimal-range.js';
import { choice, type Expression, type Grammar, literal, repeat, rule, sequence } from './expression.js';
import { arrayExpression } from './json-schema-array.js';
import { areDisjoint } from './json-schema-disjoint.js';
import { objectExpression } from './json-schema-object.js';
import { JSON_INTEGER, JSON_NUMBER, jsonGrammar, jsonString } from './json-text.js';
import { parseRegex, parseSearchRegex } from './regex.js';
import { countOf, isSchema, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';
import { STRING_FORMATS } from './string-formats.js';

const ANNOTATIONS = [
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$schema', '$id', '$comment', '$defs', 'definitions'],
];
const BY_TYPE: Readonly<Record<string, readonly string[]>> = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'],
};
const COMBINATORS = ['enum', 'const', 'anyOf', 'oneOf', 'allOf', '$ref'];
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
    return this.define(`part-${this.#names++}`, make);
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
    const allowed = [...ANNOTATIONS, key, ...(key === 'enum' || key === 'const' ? ['type'] : [])];
    const other = Object.keys(schema).find((name) => !allowed.includes(name));
    if (other) throw new UnsupportedSchemaError(path, `"${other}" beside "${key}" is not supported; write one of both`);
    const value = schema[key];
    if (key === '$ref') return this.#reference(value, path);
    if (key === 'const') return literal(JSON.stringify(value));
    if (!Array.isArray(value) || value.length === 0) {
      throw new UnsupportedSchemaError(path, `"${key}" must be a list with something in it`);
    }
    if (key === 'enum') {
      const types = schema.type === undefined ? undefined : [schema.type].flat();
      const values = value.filter((one) => !types || types.some((type) => hasType(one, type)));
      return choice(...values.map((one) => literal(JSON.stringify(one))));
    }
    if (key === 'allOf' && value.length > 1) {
      throw new UnsupportedSchemaError(path, '"allOf" of several schemas is not supported; merge them');
    }
    if (key === 'oneOf') {
      for (const [i, a] of value.entries()) {
        for (const [j, b] of value.entries()) {
          if (i < j && !areDisjoint(this.#resolved(a, path), this.#resolved(b, path))) {
            const what = `schemas ${i} and ${j} of "oneOf" may both hold; write "anyOf", or a property with different "const"`;
            throw new UnsupportedSchemaError(path, what);
          }
        }
      }
    }
    return choice(...value.map((one, i) => this.expression(one, `${path}/${key}/${i}`)));
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
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
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
        return jsonString(stringExpression(schema, path));
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

function stringExpression(schema: JsonSchema, path: string): Expression {
  const { pattern, format } = schema;
  const hasLength = 'minLength' in schema || 'maxLength' in schema;
  if (pattern !== undefined || format !== undefined) {
    if (hasLength) {
      const what =
        'minLength and maxLength beside pattern or format are not supported; write them in the pattern, {3,8}';
      throw new UnsupportedSchemaError(path, what);
    }
    // A format is an annotation; only a pattern is a condition.
    if (typeof pattern === 'string') return parseSearchRegex(pattern);
    const known = STRING_FORMATS[format as string];
    if (pattern !== undefined || known === undefined) {
      const what = `the format ${JSON.stringify(format)} is not supported; known are ${Object.keys(STRING_FORMATS).join(', ')}`;
      throw new UnsupportedSchemaError(path, pattern === undefined ? what : '"pattern" must be a text');
    }
    return parseRegex(known);
  }
  const min = countOf(schema, 'minLength', path, 0);
  const max = countOf(schema, 'maxLength', path, Infinity);
  return min > max ? choice() : repeat(rule('json-character'), min, max);
}

function numberExpression(schema: JsonSchema, isInteger: boolean, path: string): Expression {
  const { multipleOf } = schema;
  if (multipleOf !== undefined && multipleOf !== 1) {
    throw new UnsupportedSchemaError(path, '"multipleOf" is supported for 1 only');
  }
  const isWhole = isInteger || multipleOf === 1;
  const from = limitOf(schema, ['minimum', 'exclusiveMinimum'], Math.max, path);
  const to = limitOf(schema, ['maximum', 'exclusiveMaximum'], Math.min, path);
  if (!from && !to) return isWhole ? JSON_INTEGER : JSON_NUMBER;
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
