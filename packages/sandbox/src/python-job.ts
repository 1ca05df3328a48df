import { OptionError } from '@posttrain/interfaces';
import type { ReadJob } from './job.js';

const MAIN = 'main.py';

/**
 * The command of a job whose code is Python, and its files with the code among them.
 *
 * @throws OptionError when a file of the job has the name of the code
 */
export function commandOf(
  where: string,
  { files, program }: ReadJob,
  python: string,
): { readonly command: readonly string[]; readonly files: ReadonlyMap<string, Uint8Array> } {
  if ('command' in program) return { command: program.command, files };
  if (files.has(MAIN)) {
    throw new OptionError('INVALID_OPTION', where, 'files', `files has "${MAIN}", which is the name of the code.`);
  }
  return { command: [python, MAIN], files: new Map([...files, [MAIN, Buffer.from(program.code)]]) };
}
