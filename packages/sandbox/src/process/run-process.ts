import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { SandboxFailureError } from '@posttrain/interfaces';
import { type BoundedOutput, boundedOutput } from './bounded-output.js';
import { inheritedDescriptors } from './descriptors.js';

export interface ProcessRequest {
  /** What errors begin with. */
  readonly where: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Default: no variable at all. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  readonly stdin: string | Uint8Array;
  /** What the process reads from descriptors 4, 5, … */
  readonly inputs?: readonly Uint8Array[];
  /** Most bytes of standard output, and of standard error. */
  readonly outputBytes: number;
  /** Milliseconds until the process and its group are killed. */
  readonly wallMs: number;
  /** Milliseconds that the process has until its first byte on descriptor 3, from which `wallMs` then counts. Default: it counts at once. */
  readonly startMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with the process before it has any input. */
  readonly onStart?: (pid: number) => void;
}

export interface ProcessResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it was killed here; `null` when it ended by itself. */
  readonly killedFor: 'wall-time' | 'output' | null;
  readonly stdout: BoundedOutput;
  readonly stderr: BoundedOutput;
  /** What the process wrote to descriptor 3: the sandbox's own word, where the program has no hand. */
  readonly report: string;
  readonly wallMs: number;
}

/** Descriptors of `inputs` begin here; 3 is the report. */
export const FIRST_INPUT = 4;
const REPORT_BYTES = 4096;
/** After the end of a process its pipes close at once, unless something else still holds them. */
const CLOSE_MS = 5000;

/**
 * Runs a process of a sandbox to its end: empty environment, no inherited descriptor, pipes that keep a bounded number of
 * bytes, SIGKILL to its whole group at the limit.
 *
 * @throws SandboxFailureError when it cannot be started or leaves something behind
 */
export async function runProcess(request: ProcessRequest): Promise<ProcessResult> {
  const { where, inputs = [], outputBytes, wallMs, startMs, signal } = request;
  signal?.throwIfAborted();
  const started = performance.now();
  const child = start(request);
  let killedFor: ProcessResult['killedFor'] = null;
  const stop = (reason: ProcessResult['killedFor']) => {
    killedFor ??= reason;
    killGroup(child);
  };
  const streams = child.stdio as readonly (Readable | Writable | null | undefined)[];
  const stdout = boundedOutput(streams[1] as Readable, outputBytes, () => stop('output'));
  const stderr = boundedOutput(streams[2] as Readable, outputBytes, () => stop('output'));
  const report = boundedOutput(streams[3] as Readable, REPORT_BYTES, () => stop('output'));
  const end = ended(where, child);
  if (child.pid !== undefined) request.onStart?.(child.pid);
  feed(streams[0] as Writable, request.stdin);
  inputs.forEach((bytes, i) => {
    feed(streams[FIRST_INPUT + i] as Writable, bytes);
  });

  let timer = setTimeout(() => stop('wall-time'), startMs ?? wallMs);
  if (startMs !== undefined) {
    (streams[3] as Readable).once('data', () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop('wall-time'), wallMs);
    });
  }
  const onAbort = () => stop(null);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const [exitCode, endedBy] = await end;
    signal?.throwIfAborted();
    const took = performance.now() - started;
    return { exitCode, signal: endedBy, killedFor, stdout, stderr, report: report.bytes().toString(), wallMs: took };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function start({ where, file, args, cwd, environment = {}, uid, gid, inputs = [] }: ProcessRequest): ChildProcess {
  // An inherited descriptor is covered by an empty one: that is all that spawn can do about it.
  const empty = openSync(devNull, 'r+');
  try {
    const stdio: ('pipe' | 'ignore' | number)[] = new Array(FIRST_INPUT + inputs.length).fill('pipe');
    for (const descriptor of inheritedDescriptors()) {
      while (stdio.length < descriptor) stdio.push('ignore');
      if (stdio.length === descriptor) stdio.push(empty);
    }
    return spawn(file, args, {
      cwd,
      env: { ...environment },
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
      stdio,
      // A group of its own, to be killed as one.
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
  } catch (error) {
    throw new SandboxFailureError(where, `${file} cannot be started: ${String(error)}`, { cause: error });
  } finally {
    closeSync(empty);
  }
}

function feed(stream: Writable, bytes: string | Uint8Array): void {
  // Nobody has to read it.
  stream.on('error', () => {});
  stream.end(bytes);
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  if (process.platform === 'win32') {
    child.kill('SIGKILL');
    return;
  }
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

function ended(where: string, child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  return new Promise((resolve, reject) => {
    let late: NodeJS.Timeout | undefined;
    child.once('error', (error) => {
      clearTimeout(late);
      reject(new SandboxFailureError(where, `cannot be started: ${error.message}`, { cause: error }));
    });
    child.once('exit', () => {
      late = setTimeout(() => {
        for (const stream of child.stdio) stream?.destroy();
        reject(new SandboxFailureError(where, 'something that the program started has outlived the sandbox.'));
      }, CLOSE_MS);
    });
    child.once('close', (code, signal) => {
      clearTimeout(late);
      resolve([code, signal]);
    });
  });
}
