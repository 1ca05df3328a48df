import {
  type Given,
  listOf,
  OptionError,
  options,
  type Sandbox,
  SandboxFailureError,
  type SandboxProbe,
  type SandboxResult,
  text,
} from '@posttrain/interfaces';
import { attackSystem, failedStart } from '../attack-system.js';
import { findProgram, namedProgram } from '../find-program.js';
import { guarded } from '../guarded.js';
import type { ReadJob } from '../job.js';
import { outputOf } from '../process/output.js';
import { type ProcessResult, runProcess } from '../process/run-process.js';
import { resultOf } from '../process/signals.js';
import { commandOf } from '../python-job.js';
import { bubblewrapInvocation, NOBODY } from './arguments.js';
import { type ControlGroup, makeControlGroup } from './control-group.js';
import { seccompFilter } from './seccomp.js';

const bubblewrapOptions = options('bubblewrap', {
  /** The program, by name or path. Default `bwrap`. */
  path: text({ default: 'bwrap' }),
  /** The Python of `{ language: 'python' }` jobs, as its path inside. Default: `python3` of /usr/local/bin or /usr/bin. */
  python: text({ optional: true }),
  /** More files and folders that programs may read, at the same path: an interpreter outside /usr. Default: none. */
  readOnly: listOf(text({}), { default: [] }),
});
/** The options of `bubblewrap`. */
export type BubblewrapOptions = Given<typeof bubblewrapOptions>;

const NAME = 'bubblewrap';
const REMEDY = 'Install bubblewrap (apt-get install bubblewrap) where the kernel lets users make namespaces.';

/**
 * Python and commands on Linux in namespaces of their own (`bwrap`, bubblewrap of 0.7 or later): no network, a read-only system of /usr, a
 * folder in memory of `fileBytes`, a user without privileges, no capability, a seccomp filter made here, and limits of the
 * kernel. Memory is counted for each process (`RLIMIT_AS`), so all together may use `memoryBytes` × `processes`; processor time too.
 */
export function bubblewrap(given: BubblewrapOptions = {}): Sandbox {
  const { path, python: givenPython, readOnly } = bubblewrapOptions.read(given);
  for (const folder of readOnly) {
    if (folder.startsWith('/') && folder !== '/') continue;
    throw new OptionError(
      'INVALID_OPTION',
      NAME,
      'readOnly',
      `readOnly has "${folder}"; each must be an absolute path below the root.`,
    );
  }
  const python = givenPython ?? findProgram('python3', ['/usr/local/bin', '/usr/bin']);
  const languages = python === undefined ? [] : ['python'];

  const attempt = async (job: ReadJob): Promise<SandboxResult> => {
    const where = `${NAME}.run`;
    const file = namedProgram(where, path);
    if (process.arch !== 'x64' && process.arch !== 'arm64') {
      throw new SandboxFailureError(where, `there is no seccomp filter for ${process.arch}, only for x64 and arm64.`);
    }
    const { command, files } = commandOf(where, job, python ?? 'python3');
    const { limits } = job;
    const invocation = bubblewrapInvocation(file, command, files, limits, seccompFilter(process.arch), readOnly);
    const group = makeControlGroup(limits);
    let isCounted = false;
    try {
      const ended = await runProcess({
        where,
        ...invocation,
        stdin: job.stdin,
        outputBytes: limits.outputBytes,
        wallMs: limits.wallMs,
        signal: job.signal,
        // The root of the host stays the root of what namespaces leave out (/proc/sys, limits of processes): never run as it.
        ...(process.geteuid?.() === 0 && { uid: NOBODY, gid: NOBODY }),
        cwd: '/',
        onStart: (pid) => {
          isCounted = group?.add(pid) ?? false;
        },
      });
      return resultIn(where, ended, isCounted ? group?.usage() : undefined);
    } finally {
      await group?.remove();
    }
  };

  const attack = async (): Promise<SandboxProbe> => {
    if (process.platform !== 'linux') return failedStart(NAME, REMEDY, `needs Linux, this is ${process.platform}`);
    return attackSystem({ name: NAME, attempt, python: languages.length > 0 ? PYTHON_ATTACKS : [], remedy: REMEDY });
  };
  return guarded({ name: NAME, languages, commands: true, attempt, attack });
}

/** 128 and SIGKILL. */
const KILLED = 137;
const PYTHON_ATTACKS = ['tcp', 'abstract socket', 'ptrace', 'unshare'] as const;

function resultIn(
  where: string,
  ended: ProcessResult,
  used: ReturnType<ControlGroup['usage']> | undefined,
): SandboxResult {
  const output = { ...outputOf(ended), ...(used?.cpuMs !== undefined && { cpuMs: used.cpuMs }) };
  if (ended.killedFor !== null) return { exitCode: null, stoppedBy: ended.killedFor, ...output };
  const code = exitCodeOf(ended.report);
  const isKilled = code === undefined || code === KILLED;
  if (isKilled && used?.outOfMemory) return { exitCode: null, signal: 'SIGKILL', stoppedBy: 'memory', ...output };
  if (code === undefined) {
    const words = output.stderr.slice(0, 500).trim() || ended.signal;
    throw new SandboxFailureError(where, `bwrap ended before the program did: ${words}`);
  }
  return resultOf(code, output);
}

/** bwrap writes one object a line; the last has the exit code. */
function exitCodeOf(report: string): number | undefined {
  const found = /"exit-code":\s*(\d{1,3})\b/.exec(report);
  return found ? Number(found[1]) : undefined;
}
