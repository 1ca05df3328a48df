import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UnsupportedGgufError } from './errors.js';

/**
 * The GGUF file that a path means: itself, or the only one of a folder without a `config.json`. Undefined when it means
 * a folder of Hugging Face (or nothing that is there).
 *
 * @throws UnsupportedGgufError when the folder has several
 */
export async function findGguf(path: string): Promise<string | undefined> {
  if (path.toLowerCase().endsWith('.gguf')) return path;
  const names = await readdir(path).catch(() => [] as string[]);
  const files = names.filter((name) => name.toLowerCase().endsWith('.gguf'));
  if (files.length === 0 || names.includes('config.json')) return undefined;
  if (files.length === 1) return join(path, files[0]!);
  throw new UnsupportedGgufError(path, `the folder has several models: name one of ${files.sort().join(', ')}.`);
}
