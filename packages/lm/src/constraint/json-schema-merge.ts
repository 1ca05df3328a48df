import { isSchema, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';

const LARGER = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems'];
const SMALLER = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems'];
const NOTES = ['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly', '$comment'];

/**
 * One schema that says what several say together (`allOf`, and what stands beside it).
 * @throws UnsupportedSchemaError where two say of one keyword what no single one can
 */
export function mergedSchema(schemas: readonly JsonSchema[], path: string): JsonSchema {
  // By keyword, so that time grows with what is said and not with what is said so far.
  const said = new Map<string, unknown[]>();
  for (const schema of schemas) {
    for (const [key, value] of Object.entries(schema)) {
      const values = said.get(key);
      if (values) values.push(value);
      else said.set(key, [value]);
    }
  }
  const merged = Object.fromEntries(
    [...said].map(([key, values]) => [key, values.length === 1 ? values[0] : together(key, values, path)]),
  );
  if ((said.get('properties')?.length ?? 0) > 1 && said.has('additionalProperties')) {
    const what = '"additionalProperties" beside properties of several schemas of "allOf" is not supported; merge them';
    throw new UnsupportedSchemaError(path, what);
  }
  return merged;
}

/** What several schemas say of one keyword, as one. */
function together(key: string, values: readonly unknown[], path: string): unknown {
  const [first] = values;
  if (NOTES.includes(key)) return first;
  if (values.every((value) => typeof value === 'number')) {
    if (LARGER.includes(key)) return values.reduce((a, b) => Math.max(a, b));
    if (SMALLER.includes(key)) return values.reduce((a, b) => Math.min(a, b));
  }
  // A format is an annotation where there is a pattern, and checked for where there is none.
  if (key === 'pattern') return distinct(values.flat());
  if (key === 'required' && values.every(Array.isArray)) return [...new Set(values.flat())];
  if (key === 'properties' && values.every(isSchema)) return allProperties(values, path);
  const text = JSON.stringify(first);
  if (values.every((value) => value === first || JSON.stringify(value) === text)) return first;
  throw new UnsupportedSchemaError(path, `"allOf" with two different "${key}" is not supported; merge the schemas`);
}

/** One of which there is only one stays itself. */
function distinct(values: readonly unknown[]): unknown {
  const once = [...new Set(values)];
  return once.length === 1 ? once[0] : once;
}

function allProperties(values: readonly JsonSchema[], path: string): JsonSchema {
  const all = new Map<string, unknown>();
  for (const properties of values) {
    for (const [name, schema] of Object.entries(properties)) {
      if (all.has(name) && JSON.stringify(all.get(name)) !== JSON.stringify(schema)) {
        throw new UnsupportedSchemaError(path, `"allOf" describes the property "${name}" twice; merge the schemas`);
      }
      all.set(name, schema);
    }
  }
  return Object.fromEntries(all);
}
