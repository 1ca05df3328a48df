import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MutationHints, MutationKind } from './mutate.js';

/**
 * What is done with one mutant: returns when it was accepted, throws a `PosttrainError` when it was refused. Everything else
 * is a fault: another error, a rejection that nobody handles, a process that ends, hangs or takes more memory than it may.
 * `folder` is an empty folder of the child process, for readers that want a path.
 */
export type FuzzTarget = (mutant: Uint8Array, context: { readonly folder: string; readonly index: number }) => unknown;

/** A module of fuzz targets exports `fuzzTargets`, and for each the files that mutants are made of. */
export interface FuzzModule {
  readonly fuzzTargets: Readonly<
    Record<string, { corpus(): readonly Uint8Array[] | Promise<readonly Uint8Array[]>; run: FuzzTarget }>
  >;
}

export interface FuzzOptions extends MutationHints {
  /** `import.meta.url` of a file beside which `module` lies, or an absolute file URL. */
  readonly module: URL;
  readonly target: string;
  readonly kind: MutationKind;
  /** How many mutants. */
  readonly count: number;
  /** Number of the first one. Default 0. */
  readonly from?: number;
  /** Default 1. */
  readonly seed?: number;
  /** One mutant may take so long before it counts as a hang. Default 30 seconds: ten times what a slow machine needs. */
  readonly hangSeconds?: number;
  /** Memory that the process may take beyond what it has once the corpus is loaded, MiB. Default 1500. */
  readonly maxMemoryMiB?: number;
}

export interface FuzzFault {
  /** Number of the mutant: `mutate(corpus[index % corpus.length], kind, seed, index)` makes it again. */
  readonly index: number;
  readonly kind: 'raw error' | 'unhandled rejection' | 'death' | 'hang' | 'memory';
  readonly message: string;
}

export interface FuzzReport {
  readonly accepted: number;
  readonly refused: number;
  readonly faults: readonly FuzzFault[];
}

/** Messages of the child. */
export type FuzzMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'begin'; readonly index: number }
  | { readonly type: 'end'; readonly outcome: 'accepted' | 'refused' }
  | { readonly type: 'fault'; readonly kind: FuzzFault['kind']; readonly message: string };

/**
 * Runs a reader on mutants of a file in a process of its own, which is killed and started again where it hangs, dies or
 * takes too much memory: the faults that a test in the same process could not report.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { count, from = 0, hangSeconds = 30 } = options;
  const tally = { accepted: 0, refused: 0 };
  const faults: FuzzFault[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'));
  try {
    let next = from;
    while (next < from + count) next = await runChild(next);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { ...tally, faults };

  /** Runs mutants from number `start` on until the child ends; returns the number to go on with. */
  function runChild(start: number): Promise<number> {
    const { module, ...rest } = options;
    const spec = JSON.stringify({ ...rest, module: module.href, folder, from: start, count: from + count - start });
    const { NODE_OPTIONS: _, VITEST: __, ...env } = process.env;
    const child = fork(fileURLToPath(new URL('fuzz-child.ts', import.meta.url)), [spec], {
      execArgv: ['--import', 'tsx'],
      env,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let stderr = '';
    child.stderr!.on('data', (data) => {
      stderr = `${stderr}${data}`.slice(-2000);
    });
    return new Promise((resolve, reject) => {
      let current = start;
      let [ready, running, hung] = [false, false, false];
      let timer: NodeJS.Timeout;
      const wait = (seconds: number) => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          hung = true;
          child.kill('SIGKILL');
        }, seconds * 1000);
      };
      wait(hangSeconds + 60);
      child.on('message', (message: FuzzMessage) => {
        if (message.type === 'ready') ready = true;
        if (message.type === 'begin') [current, running] = [message.index, true];
        if (message.type === 'end') tally[message.outcome]++;
        if (message.type === 'fault') faults.push({ index: current, kind: message.kind, message: message.message });
        if (message.type === 'end' || message.type === 'fault') running = false;
        wait(hangSeconds);
      });
      child.on('exit', (code, signal) => {
        clearTimeout(timer);
        if (!ready) return reject(new Error(`The fuzzing process did not start (${code ?? signal}): ${stderr}`));
        if (running) {
          const kind = hung ? 'hang' : 'death';
          const what = hung ? `no end in ${hangSeconds} s` : `ended with ${code ?? signal}: ${stderr.slice(-300)}`;
          faults.push({ index: current, kind, message: what });
        } else if (hung) return reject(new Error(`The fuzzing process hung between two mutants, after ${current}.`));
        resolve(code === 0 && !running ? from + count : current + 1);
      });
    });
  }
}

/** Faults as lines, for the message of a failed test: each says how to make it again. */
export function describeFaults({ faults }: FuzzReport): string {
  return faults.map(({ index, kind, message }) => `mutant ${index}: ${kind}: ${message}`).join('\n');
}
