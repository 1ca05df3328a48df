import { isSchema, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';

const LARGER = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems'];
const SMALLER = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems'];
const NOTES = ['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly', '$comment'];

/**
 * One schema that says what several say together (`allOf`, and what stands beside it).
 * @throws UnsupportedSchemaError where two say of one keyword what no single one can
 */
export function mergedSchema(schemas: readonly JsonSchema[], path: string): JsonSchema {
  const merged: Record<string, unknown> = {};
  for (const schema of schemas) {
    for (const [key, value] of Object.entries(schema)) {
      merged[key] = Object.hasOwn(merged, key) ? both(key, merged[key], value, path) : value;
    }
  }
  if (schemas.filter(({ properties }) => properties !== undefined).length > 1 && 'additionalProperties' in merged) {
    const what = '"additionalProperties" beside properties of several schemas of "allOf" is not supported; merge them';
    throw new UnsupportedSchemaError(path, what);
  }
  return merged;
}

function both(key: string, a: unknown, b: unknown, path: string): unknown {
  if (NOTES.includes(key) || JSON.stringify(a) === JSON.stringify(b)) return a;
  if (typeof a === 'number' && typeof b === 'number') {
    if (LARGER.includes(key)) return Math.max(a, b);
    if (SMALLER.includes(key)) return Math.min(a, b);
  }
  if (key === 'pattern') return [a, b].flat();
  // A format is an annotation where there is a pattern, and checked for where there is none.
  if (key === 'required' && Array.isArray(a) && Array.isArray(b)) return [...new Set([...a, ...b])];
  if (key === 'properties' && isSchema(a) && isSchema(b)) {
    const twice = Object.keys(a).find(
      (name) => Object.hasOwn(b, name) && JSON.stringify(a[name]) !== JSON.stringify(b[name]),
    );
    if (twice === undefined) return { ...a, ...b };
    throw new UnsupportedSchemaError(path, `"allOf" describes the property "${twice}" twice; merge the schemas`);
  }
  throw new UnsupportedSchemaError(path, `"allOf" with two different "${key}" is not supported; merge the schemas`);
}
