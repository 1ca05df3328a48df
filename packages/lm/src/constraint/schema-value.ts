import { InvalidConstraintError } from './expression.js';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** A JSON Schema with something that is not supported, or wrong. */
export class UnsupportedSchemaError extends InvalidConstraintError {
  constructor(path: string, what: string) {
    super(`json-schema at ${path}: ${what}`);
  }
}

export const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A keyword that is a number ≥ 0 without fraction. */
export function countOf(schema: JsonSchema, key: string, path: string, otherwise: number): number {
  const value = schema[key] ?? otherwise;
  if (value === Infinity || (Number.isInteger(value) && (value as number) >= 0)) return value as number;
  throw new UnsupportedSchemaError(path, `"${key}" must be 0 or a positive integer, not ${JSON.stringify(value)}`);
}
