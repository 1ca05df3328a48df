import { realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, sep } from 'node:path';
import { packageFolder } from '../package-folder.js';

/**
 * Of QuickJS's stack, and KiB of V8's, which the interpreter needs several times as much of: a recursion that is too deep then
 * ends as an error of QuickJS. Threads of Windows begin with less.
 */
export const [STACK_BYTES, V8_STACK] = process.platform === 'win32' ? [256 * 1024, 900] : [768 * 1024, 6000];

/**
 * A second wall behind WebAssembly's: the child may read its own modules and nothing else, write nothing, start nothing
 * and make no code from texts.
 */
export async function nodeFlags(): Promise<string[]> {
  // Named otherwise before Node 22.13.
  const known = process.allowedNodeEnvironmentFlags.has('--permission');
  const readable = await moduleFolders();
  return [
    ...['--no-warnings', '--disallow-code-generation-from-strings'],
    ...['--max-old-space-size=128', `--stack-size=${V8_STACK}`],
    known ? '--permission' : '--experimental-permission',
    ...readable.map((folder) => `--allow-fs-read=${folder}${sep}*`),
  ];
}

/** This package, and the `node_modules` folders that what the child imports is in: Node looks around in them. */
async function moduleFolders(): Promise<string[]> {
  const own = packageFolder();
  const variant = entryOf(join(own, 'package.json'), '@jitl/quickjs-wasmfile-release-sync');
  const entries = [
    [variant, '@jitl/quickjs-wasmfile-release-sync'],
    [entryOf(join(own, 'package.json'), 'quickjs-emscripten-core'), 'quickjs-emscripten-core'],
    [entryOf(variant, '@jitl/quickjs-ffi-types'), '@jitl/quickjs-ffi-types'],
  ] as const;
  const folders = [own, ...entries.map(([entry, name]) => entry.slice(0, entry.lastIndexOf(join(name)) - 1))];
  return [...new Set([...folders, ...(await Promise.all(folders.map((folder) => realpath(folder))))])];
}

const entryOf = (from: string, name: string) => createRequire(from).resolve(name);
