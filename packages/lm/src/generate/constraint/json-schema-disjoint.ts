import { isSchema } from './schema-value.js';

/** Whether no value satisfies both schemas, as far as their types, constants and tagged properties show. */
export function areDisjoint(a: unknown, b: unknown): boolean {
  if (!isSchema(a) || !isSchema(b)) return false;
  const [aValues, bValues] = [valuesOf(a), valuesOf(b)];
  if (aValues && bValues) return !aValues.some((value) => bValues.includes(value));
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
