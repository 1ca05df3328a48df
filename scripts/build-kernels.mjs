// Compiles the kernels of packages/core-tensor/native with the C compiler of this machine, once per version of their source
// (docs/decisions/0011-kernels-of-our-own.md). Without a compiler there are none, and everything works as it did.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const native = join(dirname(dirname(fileURLToPath(import.meta.url))), 'packages', 'core-tensor', 'native');
const sources = join(native, 'kernels');
const EXTENSIONS = { linux: 'so', darwin: 'dylib', win32: 'dll' };
const FLAGS = ['-std=gnu11', '-O3', '-fno-math-errno', '-fno-trapping-math', '-Wall', '-Wextra'];
const LIBRARY_FLAGS = ['-shared', '-fPIC', '-fvisibility=hidden'];

/** The file name of the library for `process.platform` and `process.arch`. */
export const libraryName = (platform, arch) => `kernels-${platform}-${arch}.${EXTENSIONS[platform] ?? 'so'}`;

/** Where the engine looks for the library (`native/kernels.ts` of core-tensor). */
export const library = join(native, 'build', libraryName(process.platform, process.arch));

const sourceFiles = () => readdirSync(sources).sort();

/**
 * Compiles with `[command, ...arguments]` into a library; with `program`, the path of a C file with `main`, into a program. Gives
 * undefined, or what the compiler said.
 */
export function compileKernels([command, ...args], output, program) {
  const files = sourceFiles().filter((file) => file.endsWith('.c'));
  const code = [...(program ? [program] : []), ...files.map((file) => join(sources, file))];
  const flags = [...FLAGS, ...(program ? [] : LIBRARY_FLAGS)];
  const { status, stderr, error } = spawnSync(command, [...args, ...flags, '-o', output, ...code, '-lm'], {
    encoding: 'utf8',
  });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}

/** Builds unless it is built already. Gives what became of it, in a sentence. */
export function buildKernels() {
  const compiler = process.env.CC ?? ['cc', 'gcc', 'clang'].find((name) => runs(name, ['--version']));
  const hash = createHash('sha256').update(JSON.stringify([compiler, FLAGS, LIBRARY_FLAGS]));
  for (const file of sourceFiles()) hash.update(`\0${file}\0`).update(readFileSync(join(sources, file)));
  const stamp = hash.digest('hex');
  const stampFile = `${library}.stamp`;
  if (compiler === undefined) return 'no C compiler was found: products are left to ONNX Runtime';
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return 'built already';
  mkdirSync(dirname(library), { recursive: true });
  const made = `${library}.${process.pid}`;
  const problem = compileKernels([compiler], made);
  if (problem !== undefined) {
    rmSync(made, { force: true });
    rmSync(stampFile, { force: true });
    // An older library computes as its own source did.
    rmSync(library, { force: true });
    return `${compiler} could not compile the kernels: ${problem.split('\n')[0]}`;
  }
  renameSync(made, library);
  writeFileSync(stampFile, stamp);
  return `built with ${compiler}`;
}

function runs(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(buildKernels());
