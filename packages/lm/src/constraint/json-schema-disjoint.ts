import { isSchema, UnsupportedSchemaError } from './schema-value.js';

/** Pairs of schemas that are compared; as many as 256 schemas have. */
const MOST_COMPARED = 256;

/**
 * The first two of some schemas that one value may satisfy, as far as their types, constants and tagged properties show.
 * @throws UnsupportedSchemaError for too many to compare
 */
export function firstOverlap(schemas: readonly unknown[], path: string): readonly [number, number] | undefined {
  const values = schemas.map((schema) => (isSchema(schema) ? valuesOf(schema) : undefined));
  if (values.every((list) => list !== undefined)) {
    const owners = new Map<string, number>();
    for (const [i, list] of values.entries()) {
      for (const value of list!) {
        const owner = owners.get(value);
        if (owner !== undefined && owner !== i) return [owner, i];
        owners.set(value, i);
      }
    }
    return undefined;
  }
  if (schemas.length > MOST_COMPARED) {
    throw new UnsupportedSchemaError(
      path,
      `"oneOf" of more than ${MOST_COMPARED} schemas is not supported; write "anyOf"`,
    );
  }
  for (const [j, b] of schemas.entries()) {
    for (let i = 0; i < j; i++) if (!areDisjoint(schemas[i], b)) return [i, j];
  }
  return undefined;
}

/** Whether no value satisfies both schemas. */
function areDisjoint(a: unknown, b: unknown): boolean {
  if (!isSchema(a) || !isSchema(b)) return false;
  const [aValues, bValues] = [valuesOf(a), valuesOf(b)];
  if (aValues && bValues) {
    const known = new Set(bValues);
    return !aValues.some((value) => known.has(value));
  }
  const [aTypes, bTypes] = [typesOf(a), typesOf(b)];
  if (aTypes && bTypes && !aTypes.some((type) => bTypes.includes(type))) return true;
  const [aProperties, bProperties] = [a.properties, b.properties];
  if (!isSchema(aProperties) || !isSchema(bProperties)) return false;
  const isRequired = (schema: unknown, name: string) =>
    isSchema(schema) && Array.isArray(schema.required) && schema.required.includes(name);
  return Object.keys(aProperties).some((name) => {
    if (!isRequired(a, name) || !isRequired(b, name)) return false;
    return areDisjoint(aProperties[name], bProperties[name]);
  });
}

/** The values of `const` and `enum`, as JSON; undefined where they are not listed. */
function valuesOf(schema: Readonly<Record<string, unknown>>): string[] | undefined {
  if ('const' in schema) return [JSON.stringify(schema.const)];
  return Array.isArray(schema.enum) ? schema.enum.map((value) => JSON.stringify(value)) : undefined;
}

function typesOf(schema: Readonly<Record<string, unknown>>): unknown[] | undefined {
  if (schema.type === undefined) return undefined;
  // An integer is a number.
  return [schema.type].flat().map((type) => (type === 'integer' ? 'number' : type));
}
