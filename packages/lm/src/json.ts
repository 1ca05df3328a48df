import { isDeeperThan, PosttrainError } from '@posttrain/interfaces';

/** A JSON file of a model folder is missing, is not JSON, or has a field that cannot be right. */
export class InvalidModelFileError extends PosttrainError {
  constructor(path: string, problem: string, options?: ErrorOptions) {
    super('INVALID_MODEL_FILE', `${path}: ${problem}`, options);
  }
}

/** An object of JSON: values by name. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a value is an object, and neither null nor a list. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Files of models are nested a few levels deep; those of tokenizers too. */
const MOST_NESTED = 100;

/** A string, or an infinite number as Python writes it; strings first, so that numbers are found outside of them only. */
const STRING_OR_INFINITY = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b/g;

/** JSON as Python writes it: with infinite numbers. */
function parseOfPython(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const plain = text.replace(STRING_OR_INFINITY, (found) =>
      found.startsWith('"') ? found : found.replace('Infinity', '1e999'),
    );
    if (plain === text) throw error;
    return JSON.parse(plain);
  }
}

/** @throws InvalidModelFileError when it is no JSON, or absurdly nested */
export function parseJson(text: string, path: string): unknown {
  let value: unknown;
  try {
    value = parseOfPython(text);
  } catch (cause) {
    throw new InvalidModelFileError(path, `is not JSON (${(cause as Error).message}).`, { cause });
  }
  if (isDeeperThan(value, MOST_NESTED)) {
    throw new InvalidModelFileError(path, `has lists and objects inside each other more than ${MOST_NESTED} deep.`);
  }
  return value;
}
