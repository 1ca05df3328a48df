import { DataFileError } from '../errors.js';
import { isPlainObject, kindOf, type Row } from '../rows.js';
import { readText } from './byte-source.js';
import { type ReadJsonlOptions, readJsonl } from './jsonl.js';

/**
 * Rows of a `.json` file: either one array of objects, which is read into memory whole, or JSON Lines under that name,
 * as both are common on the Hugging Face hub.
 */
export async function* readJson(path: string, options: ReadJsonlOptions = {}): AsyncGenerator<Row> {
  let text = '';
  for await (const chunk of readText(path)) {
    text += chunk;
    const first = text.trimStart()[0];
    if (first !== undefined && first !== '[') {
      yield* readJsonl(path, options);
      return;
    }
  }
  if (text.trim() === '') return;
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch (error) {
    throw new DataFileError({ path }, `is not valid JSON: ${(error as Error).message}`, { cause: error });
  }
  for (const [i, row] of (rows as unknown[]).entries()) {
    if (!isPlainObject(row)) {
      throw new DataFileError({ path }, `element ${i + 1} of the array must be an object, got ${kindOf(row)}.`);
    }
    yield row;
  }
}
