import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/** Thrown where a process would have been killed. */
class Killed extends Error {}

type AnyFunction = (...given: unknown[]) => unknown;

const CHANGES = ['rename', 'rm', 'mkdir', 'writeFile', 'appendFile', 'unlink', 'link', 'copyFile', 'symlink', 'cp'];

/** Calls `before` before every change of the file system that `work` makes through `node:fs/promises`. */
async function watchingChanges<T>(before: (what: string) => void, work: () => Promise<T>): Promise<T> {
  const functions = fs as unknown as Record<string, AnyFunction>;
  const originals = Object.fromEntries([...CHANGES, 'open'].map((name) => [name, functions[name]!]));
  for (const name of CHANGES) {
    functions[name] = (...given) => {
      before(name);
      return originals[name]!(...given);
    };
  }
  functions.open = async (...given) => {
    const isRead = given[1] === undefined || given[1] === 'r';
    if (!isRead) before('open');
    const handle = (await originals.open!(...given)) as Record<string, AnyFunction>;
    for (const name of isRead ? [] : ['write', 'writeFile', 'sync']) {
      const original = handle[name]!.bind(handle);
      handle[name] = (...rest) => {
        before(name);
        return original(...rest);
      };
    }
    return handle;
  };
  syncBuiltinESMExports();
  try {
    return await work();
  } finally {
    Object.assign(functions, originals);
    syncBuiltinESMExports();
  }
}

/** How many changes of the file system `work` makes. */
export async function countChanges(work: () => Promise<unknown>): Promise<number> {
  let count = 0;
  await watchingChanges(() => {
    count++;
  }, work);
  return count;
}

/** Leaves the disk as it would be if the process had been killed before change number `at`, counted from 0. */
export async function killedAt(at: number, work: () => Promise<unknown>): Promise<void> {
  let count = 0;
  const before = () => {
    if (count++ >= at) throw new Killed();
  };
  await watchingChanges(before, work).catch((error: unknown) => {
    for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof Killed) return;
    throw error;
  });
}

/** `work`, in which change number `at` fails with an error of the operating system. */
export function failingAt<T>(at: number, code: string, work: () => Promise<T>): Promise<T> {
  let count = 0;
  const before = () => {
    if (count++ === at) throw Object.assign(new Error(`${code}: made for the test`), { code });
  };
  return watchingChanges(before, work);
}
