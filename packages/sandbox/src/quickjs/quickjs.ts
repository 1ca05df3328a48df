import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import {
  type Sandbox,
  SandboxFailureError,
  type SandboxProbe,
  type SandboxResult,
  type SandboxStop,
} from '@posttrain/interfaces';
import { guarded } from '../guarded.js';
import type { ReadJob } from '../job.js';
import { packageFolder } from '../package-folder.js';
import { runProcess } from '../process/run-process.js';
import { attackQuickJS } from './probe.js';

const NAME = 'quickjs';
/** The child ends itself at the limit, and says so; if it cannot, it is killed so much later. */
const GRACE_MS = 500;

/**
 * Of QuickJS's stack, and KiB of V8's, which the interpreter needs several times as much of: a recursion that is too deep then
 * ends as an error of QuickJS. Threads of Windows begin with less.
 */
const [STACK_BYTES, V8_STACK] = process.platform === 'win32' ? [256 * 1024, 900] : [768 * 1024, 6000];

/**
 * JavaScript in QuickJS, compiled to WebAssembly, in a process of its own that is killed at the time limit. It needs
 * nothing of the machine. A program has ECMAScript 2023 and `print`, `console`, `readline()`, `read(path)`, `require('assert')` and
 * imports of the job's files; no network, no file system, no timers, no processes, so `processes` and the bytes of new files
 * have nothing to limit. `memoryBytes` is the maximum of the module's memory. Rejections that nobody awaits are not seen.
 */
export function quickjs(): Sandbox {
  const attempt = async (job: ReadJob): Promise<SandboxResult> => {
    const where = `${NAME}.run`;
    if (!('code' in job.program)) throw new SandboxFailureError(where, 'runs JavaScript only.');
    const { wallMs, cpuMs, memoryBytes, outputBytes } = job.limits;
    const files = Object.fromEntries([...job.files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]));
    const { code } = job.program;
    const deadline = Date.now() + wallMs;
    const stdin = JSON.stringify({
      code,
      files,
      stdin: job.stdin,
      deadline,
      cpuMs,
      memoryBytes,
      stackBytes: STACK_BYTES,
    });
    const cwd = await mkdtemp(join(await realpath(tmpdir()), 'sandbox-quickjs-'));
    try {
      const child = join(packageFolder(), 'src', 'quickjs', 'child.mjs');
      const ended = await runProcess({
        where,
        file: process.execPath,
        args: [...(await nodeFlags()), child],
        cwd,
        stdin,
        outputBytes,
        wallMs: wallMs + GRACE_MS,
        signal: job.signal,
      });
      const output = {
        stdout: ended.stdout.bytes().toString(),
        stderr: ended.stderr.bytes().toString(),
        stdoutTruncated: ended.stdout.truncated,
        stderrTruncated: ended.stderr.truncated,
        wallMs: ended.wallMs,
      };
      if (ended.killedFor !== null) return { exitCode: null, stoppedBy: ended.killedFor, ...output };
      if (ended.signal !== null) return { exitCode: null, signal: ended.signal, stoppedBy: null, ...output };
      const report = readReport(ended.report);
      if (!report) throw new SandboxFailureError(where, `the child ended without a word: ${output.stderr.slice(-500)}`);
      return { ...report, ...output };
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  };
  const backend = { name: NAME, languages: ['javascript'], commands: false, attempt };
  return guarded({ ...backend, attack: (): Promise<SandboxProbe> => attackQuickJS(NAME, attempt) });
}

/**
 * A second wall behind WebAssembly's: the child may read its own modules and nothing else, write nothing, start nothing
 * and make no code from texts.
 */
async function nodeFlags(): Promise<string[]> {
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

const STOPS: readonly unknown[] = ['wall-time', 'cpu-time', 'memory'] satisfies SandboxStop[];

/** What the child says of the end; undefined when it has not said it, or not so. */
function readReport(text: string): Pick<SandboxResult, 'exitCode' | 'stoppedBy' | 'cpuMs'> | undefined {
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof report !== 'object' || report === null) return undefined;
  const { exitCode, stoppedBy, cpuMs } = report as Record<string, unknown>;
  if (!Number.isInteger(exitCode) || typeof cpuMs !== 'number') return undefined;
  if (stoppedBy === null) return { exitCode: exitCode as number, stoppedBy, cpuMs };
  return STOPS.includes(stoppedBy) ? { exitCode: null, stoppedBy: stoppedBy as SandboxStop, cpuMs } : undefined;
}
