import { lstatSync, readlinkSync } from 'node:fs';
import type { ReadJob } from '../job.js';
import { FIRST_INPUT } from '../process/run-process.js';

/** User and group inside: nobody, with no capability. */
export const NOBODY = 65534;
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom'];
/** Parts of the system that programs are loaded from; links stay links. */
const SYSTEM = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
/** What the loader and Debian's choices of programs need of /etc; nothing in them is of a user. */
const SYSTEM_FILES = ['/etc/ld.so.cache', '/etc/alternatives'];

const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: '/job',
  TMPDIR: '/job',
  LANG: 'C.UTF-8',
  PYTHONDONTWRITEBYTECODE: '1',
  // The same grade for the same completion: sets and dictionaries in the same order.
  PYTHONHASHSEED: '0',
};

/**
 * The limits of a process, set by the shell that then becomes the program. `ulimit` counts memory in KiB, files in 512 bytes,
 * time in seconds; processes are -u in some shells and -p in dash. SIGXCPU comes first and names the limit; one second
 * later SIGKILL comes, which nothing ignores.
 */
function limitScript({ memoryBytes, fileBytes, cpuMs, processes }: ReadJob['limits']): string {
  const seconds = Math.ceil(cpuMs / 1000);
  return [
    'ulimit -c 0',
    'ulimit -n 256',
    `ulimit -v ${Math.floor(memoryBytes / 1024)}`,
    `ulimit -f ${Math.floor(fileBytes / 512)}`,
    `{ ulimit -u ${processes + OWN_PROCESSES} 2>/dev/null || ulimit -p ${processes + OWN_PROCESSES}; }`,
    `ulimit -S -t ${seconds}`,
    `ulimit -H -t ${seconds + 1}`,
    'exec "$@"',
  ].join(' && ');
}

/** The descriptors of the line that starts it, and of the filter; files follow. */
const GATE = FIRST_INPUT;
const FILTER = GATE + 1;
/** bwrap starts when it is told to, so that the process is in its control group before it has children. */
const WAIT = `read -r go <&${GATE} && exec "$@" ${GATE}<&-`;

/** bwrap's own process in the namespace, which reaps what is left. */
const OWN_PROCESSES = 1;

/** How a job is handed over: a shell that becomes bwrap, and what they read from descriptors. */
export interface Invocation {
  readonly file: string;
  readonly args: readonly string[];
  readonly inputs: readonly Uint8Array[];
}

/** How bwrap is started for a job whose program is `command`; `readOnly` are more folders that it may read. */
export function bubblewrapInvocation(
  bwrap: string,
  command: readonly string[],
  files: ReadonlyMap<string, Uint8Array>,
  limits: ReadJob['limits'],
  filter: Uint8Array,
  readOnly: readonly string[],
): Invocation {
  const inputs = [Buffer.from('go\n'), filter, ...files.values()];
  const paths = [...files.keys()];
  const args = [
    ...['-c', WAIT, 'sh', bwrap],
    ...['--unshare-all', '--die-with-parent', '--new-session', '--cap-drop', 'ALL'],
    ...['--uid', `${NOBODY}`, '--gid', `${NOBODY}`, '--hostname', 'sandbox'],
    ...['--ro-bind', '/usr', '/usr', ...SYSTEM.flatMap(systemFolder)],
    ...[...SYSTEM_FILES, ...readOnly].flatMap((path) => ['--ro-bind-try', path, path]),
    ...['--proc', '/proc', '--dir', '/dev'],
    ...DEVICES.flatMap((device) => ['--dev-bind', `/dev/${device}`, `/dev/${device}`]),
    ...['--size', `${limits.fileBytes}`, '--tmpfs', '/job', '--symlink', 'job', '/tmp'],
    ...paths.flatMap((path, i) => ['--file', `${FILTER + 1 + i}`, `/job/${path}`]),
    ...['--remount-ro', '/', '--chdir', '/job', '--clearenv'],
    ...Object.entries(ENVIRONMENT).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--seccomp', `${FILTER}`, '--json-status-fd', '3', '--'],
    ...['/bin/sh', '-c', limitScript(limits), 'sh', ...command],
  ];
  return { file: '/bin/sh', args, inputs };
}

function systemFolder(path: string): string[] {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  return found.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path];
}
