import { readFile } from 'node:fs/promises';
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

/** Reads a file's text; undefined when there is no such file. */
export async function readTextIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new InvalidModelFileError(path, `cannot be read (${(error as Error).message}).`, { cause: error });
  }
}

/** Files of models are nested a few levels deep; those of tokenizers too. */
const MOST_NESTED = 100;

/** @throws InvalidModelFileError when it is no JSON, or absurdly nested */
export function parseJson(text: string, path: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidModelFileError(path, `is not JSON (${(cause as Error).message}).`, { cause });
  }
  if (isDeeperThan(value, MOST_NESTED)) {
    throw new InvalidModelFileError(path, `has lists and objects inside each other more than ${MOST_NESTED} deep.`);
  }
  return value;
}

/** Reads a JSON object; undefined when there is no such file. @throws InvalidModelFileError when it is something else */
export async function readJsonObjectIfPresent(path: string): Promise<JsonObject | undefined> {
  const text = await readTextIfPresent(path);
  if (text === undefined) return undefined;
  const value = parseJson(text, path);
  if (!isJsonObject(value)) throw new InvalidModelFileError(path, 'must hold a JSON object.');
  return value;
}

/** Reads a JSON object. @throws InvalidModelFileError when it is missing or something else */
export async function readJsonObject(path: string): Promise<JsonObject> {
  const value = await readJsonObjectIfPresent(path);
  if (!value) {
    throw new InvalidModelFileError(path, 'there is no such file. A model folder of Hugging Face has one.');
  }
  return value;
}
