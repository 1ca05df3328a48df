import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
import { outputOf } from '../process/output.js';
import { runProcess } from '../process/run-process.js';
import { nodeFlags, STACK_BYTES } from './node-flags.js';
import { attackQuickJS } from './probe.js';

const NAME = 'quickjs';
/** The child ends itself at the limit, and says so; if it cannot, it is killed so much later. */
const GRACE_MS = 500;
/** Until Node and the interpreter are there, which is no time of the program's. */
const START_MS = 60_000;

/**
 * JavaScript in QuickJS, compiled to WebAssembly, in a process of its own that is killed at the time limit. It needs
 * nothing of the machine. A program has ECMAScript 2023 and `print`, `console`, `readline()`, `read(path)`, `require('assert')` and
 * imports of the job's files; no network, no file system, no timers, no processes, so `processes` and the bytes of new files
 * have nothing to limit. `memoryBytes` is the maximum of the module's memory. Unhandled rejections are not seen.
 */
export function quickjs(): Sandbox {
  const attempt = async (job: ReadJob): Promise<SandboxResult> => {
    const where = `${NAME}.run`;
    if (!('code' in job.program)) throw new SandboxFailureError(where, 'runs JavaScript only.');
    const { wallMs, cpuMs, memoryBytes, outputBytes } = job.limits;
    const files = Object.fromEntries([...job.files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]));
    const { code } = job.program;
    const stdin = JSON.stringify({
      code,
      files,
      stdin: job.stdin,
      wallMs,
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
        startMs: START_MS,
        wallMs: wallMs + GRACE_MS,
        signal: job.signal,
      });
      const output = outputOf(ended);
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
