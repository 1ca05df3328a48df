import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { SandboxFailureError } from '@posttrain/interfaces';

/** The path of a program, looked for in these folders (default: those of PATH); undefined where there is none. */
export function findProgram(
  name: string,
  folders: readonly string[] = (process.env.PATH ?? '').split(delimiter),
): string | undefined {
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** The path of the program that an option names, by its path or by a name in PATH. @throws SandboxFailureError where there is none */
export function namedProgram(where: string, name: string): string {
  const found = findProgram(name, name.includes('/') ? ['/'] : undefined);
  if (found === undefined) throw new SandboxFailureError(where, `there is no program "${name}".`);
  return found;
}
