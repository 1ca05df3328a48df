import { readFile } from 'node:fs/promises';
import { InvalidModelFileError, isJsonObject, type JsonObject, parseJson } from './json.js';

export { InvalidModelFileError, isJsonObject, type JsonObject, parseJson } from './json.js';

/** Reads a file's text; undefined when there is no such file. */
export async function readTextIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new InvalidModelFileError(path, `cannot be read (${(error as Error).message}).`, { cause: error });
  }
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
