import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { EvaluationError } from '../errors.js';

type Module = Readonly<Record<string, unknown>>;

/** A module by its file. @throws EvaluationError `BAD_MODULE` */
export async function importModule(file: string): Promise<Module> {
  try {
    return (await import(pathToFileURL(resolve(file)).href)) as Module;
  } catch (cause) {
    throw new EvaluationError('BAD_MODULE', `${file} could not be imported: ${(cause as Error).message}`, { cause });
  }
}

/** A package that the folder `from` has installed, which this one does not depend on. @throws EvaluationError `MISSING_PACKAGE`, `BAD_MODULE` */
export async function importPackage(name: string, from: string, what: string): Promise<Module> {
  let file: string;
  try {
    file = createRequire(join(from, 'index.js')).resolve(name);
  } catch (cause) {
    throw new EvaluationError(
      'MISSING_PACKAGE',
      `${what} needs ${name}, which ${from} does not have: npm install ${name}`,
      {
        cause,
      },
    );
  }
  return importModule(file);
}
