import { accessSync, constants, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeAtomically } from '@posttrain/interfaces/node';

/**
 * The text of the file that --output names, undefined when it is not there yet; its folder is made. Call it before anything
 * is measured too: where the file could not be written, it throws.
 */
export function readOutput(path: string): string | undefined {
  mkdirSync(dirname(path), { recursive: true });
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) throw new Error(`--output: ${path} is a folder; name a file`);
  accessSync(found ? path : dirname(path), constants.W_OK);
  return found && readFileSync(path, 'utf8');
}

/** Writes it whole or not at all. */
export async function writeOutput(path: string, text: string): Promise<void> {
  await writeAtomically((files) => files.stage(path, (write) => write(new TextEncoder().encode(text))));
}
