import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

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
