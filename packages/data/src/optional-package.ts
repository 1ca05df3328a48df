import { DataOptionError } from './errors.js';

/** An optional package, which is loaded when it is needed. @throws DataOptionError that says what to install */
export async function optionalPackage<T>(where: string, names: string, load: () => Promise<T>): Promise<T> {
  return await load().catch((cause: unknown) => {
    const problem = `needs ${names}, which ${names.includes(' ') ? 'are' : 'is'} not installed: npm install ${names}.`;
    throw Object.assign(new DataOptionError(where, problem), { cause });
  });
}
