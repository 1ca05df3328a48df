import { choice, EMPTY, type Expression, InvalidConstraintError, repeat, rule, sequence } from './expression.js';
import { intersection } from './intersection.js';
import type { SchemaCompiler } from './json-schema.js';
import { jsonCharacters, jsonString } from './json-text.js';
import { parseRegex, parseSearchRegex } from './regex.js';
import { countOf, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';
import { FORMAT_PATTERNS, STRING_FORMATS } from './string-formats.js';

/** A JSON string of a schema's pattern, format and lengths, all of which hold. */
export function stringExpression(compiler: SchemaCompiler, schema: JsonSchema, path: string): Expression {
  const min = countOf(schema, 'minLength', path, 0);
  const max = countOf(schema, 'maxLength', path, Infinity);
  if (min > max) return choice();
  const languages = languagesOf(compiler, schema, path);
  if (languages.length === 0) return jsonString(repeat(rule('json-character'), min, max));
  if (languages.length === 1 && min === 0 && max === Infinity) return jsonString(languages[0]!);
  return jsonString(intersected(compiler, languages, min, max, path));
}

/** The regular expressions that a text must satisfy. */
function languagesOf(compiler: SchemaCompiler, schema: JsonSchema, path: string): Expression[] {
  const { pattern, format } = schema;
  if (pattern === undefined && format === undefined) return [];
  // A format is an annotation; only a pattern is a condition. `allOf` makes lists of them.
  if (pattern === undefined) return [formatExpression(format, path)];
  return [pattern].flat().map((one) => {
    if (typeof one !== 'string') throw new UnsupportedSchemaError(path, '"pattern" must be a text');
    compiler.spend(one.length, path);
    // Of some patterns with look-around it is known that a format is part of them.
    const known = FORMAT_PATTERNS[one];
    return known === undefined ? parseSearchRegex(one) : parseRegex(STRING_FORMATS[known]!);
  });
}

function formatExpression(format: unknown, path: string): Expression {
  const known =
    typeof format === 'string' && Object.hasOwn(STRING_FORMATS, format) ? STRING_FORMATS[format] : undefined;
  if (known !== undefined) return parseRegex(known);
  const names = Object.keys(STRING_FORMATS).join(', ');
  throw new UnsupportedSchemaError(path, `the format ${JSON.stringify(format)} is not supported; known are ${names}`);
}

function intersected(
  compiler: SchemaCompiler,
  languages: readonly Expression[],
  min: number,
  max: number,
  path: string,
): Expression {
  try {
    const states = intersection(languages, min, max);
    const names = states.map(() => compiler.newName());
    const sets = new Map<string, Expression>();
    states.forEach(({ isAccepting, edges }, i) => {
      const options = edges.map(({ characters, target }) => {
        const key = characters.join(';');
        const set = sets.get(key) ?? compiler.private(() => jsonCharacters(characters));
        sets.set(key, set);
        return sequence(set, rule(names[target]!));
      });
      compiler.define(names[i]!, () => choice(...(isAccepting ? [EMPTY] : []), ...options));
    });
    return rule(names[0]!);
  } catch (error) {
    if (!(error instanceof InvalidConstraintError) || error instanceof UnsupportedSchemaError) throw error;
    throw new UnsupportedSchemaError(path, error.message.replace(/^constraint: /, ''));
  }
}

/** `propertyNames`: what the names of other properties look like; undefined where any may come. */
export function nameExpression(compiler: SchemaCompiler, schema: JsonSchema, path: string): Expression | undefined {
  const { type = 'string', ...rest } = schema;
  if (type !== 'string') throw new UnsupportedSchemaError(path, 'names are strings');
  const keys = Object.keys(rest);
  if (keys.length === 0) return undefined;
  const other = keys.find((key) => !['pattern', 'format', 'minLength', 'maxLength'].includes(key));
  if (other) throw new UnsupportedSchemaError(path, `"${other}" is not supported for names`);
  return stringExpression(compiler, rest, path);
}
