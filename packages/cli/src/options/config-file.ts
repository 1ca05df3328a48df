import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { CommandLineError } from './command-line-error.js';
import { isRecord } from './names.js';

/** The options of a YAML file, under the names that it has. @throws CommandLineError */
export async function readConfigFile(path: string): Promise<Readonly<Record<string, unknown>>> {
  let content: string;
  try {
    content = await readFile(path, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new CommandLineError(`--config ${path}: ${missing ? 'there is no such file' : (cause as Error).message}.`);
  }
  let read: unknown;
  try {
    read = parse(content, { maxAliasCount: 100 });
  } catch (cause) {
    throw new CommandLineError(`--config ${path}: is no YAML: ${(cause as Error).message.split('\n')[0]}`);
  }
  if (read === null) return {};
  if (isRecord(read)) return read;
  throw new CommandLineError(`--config ${path}: must be options by name, such as "learning-rate: 1e-4".`);
}
