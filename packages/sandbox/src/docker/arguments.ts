import type { Limits } from '../job.js';

/** bwrap and Docker call the user without privileges so. */
const NOBODY = '65534:65534';
/** `docker-init`, which reaps what is left. */
const OWN_PROCESSES = 1;

/** The arguments of `docker run` for a job: its files come first on standard input, and the program reads what is left. */
export function dockerArguments(
  container: string,
  image: string,
  command: readonly string[],
  files: ReadonlyMap<string, Uint8Array>,
  limits: Limits,
): string[] {
  const { cpuMs, fileBytes, memoryBytes, processes } = limits;
  const seconds = Math.ceil(cpuMs / 1000);
  return [
    ...['run', '--interactive', '--init', '--name', container, '--pull', 'never', '--log-driver', 'none'],
    ...['--network', 'none', '--ipc', 'none', '--read-only', '--cap-drop', 'ALL'],
    ...['--security-opt', 'no-new-privileges', '--user', NOBODY, '--hostname', 'sandbox'],
    ...['--pids-limit', `${processes + OWN_PROCESSES}`],
    // Swap is memory too.
    ...['--memory', `${memoryBytes}`, '--memory-swap', `${memoryBytes}`],
    ...['--ulimit', `cpu=${seconds}:${seconds + 1}`, '--ulimit', `fsize=${fileBytes}`],
    ...['--ulimit', 'nofile=256', '--ulimit', 'core=0'],
    ...['--tmpfs', `/job:rw,nosuid,nodev,uid=65534,gid=65534,size=${fileBytes}`, '--workdir', '/job'],
    ...['HOME=/job', 'TMPDIR=/job', 'LANG=C.UTF-8', 'PYTHONDONTWRITEBYTECODE=1', 'PYTHONHASHSEED=0'].flatMap((set) => [
      '--env',
      set,
    ]),
    ...['--entrypoint', '/bin/sh', image, '-c', unpackScript(files), 'sh', ...command],
  ];
}

/** What the container reads: the files' contents after one another, then the program's own input. */
export const dockerInput = (files: ReadonlyMap<string, Uint8Array>, stdin: string): Uint8Array =>
  Buffer.concat([...files.values(), Buffer.from(stdin)]);

/** Takes the files off the input, to the byte, and becomes the program. */
function unpackScript(files: ReadonlyMap<string, Uint8Array>): string {
  const steps = [...files].flatMap(([path, { length }]) => {
    const to = quote(`/job/${path}`);
    const folder = path.includes('/') ? [`mkdir -p ${quote(`/job/${path.slice(0, path.lastIndexOf('/'))}`)}`] : [];
    const copy = `dd bs=${length} count=1 iflag=fullblock of=${to} 2>/dev/null`;
    return [...folder, length === 0 ? `: > ${to}` : copy];
  });
  return [...steps, 'exec "$@"'].join(' && ');
}

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** What the daemon says of a container's end; undefined when it says nothing of one that has run. */
export function readState(text: string): { readonly exitCode: number; readonly outOfMemory: boolean } | undefined {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof state !== 'object' || state === null) return undefined;
  const { ExitCode, OOMKilled, Status } = state as Record<string, unknown>;
  // One that could not be started stays "created".
  if (!Number.isInteger(ExitCode) || Status === 'created') return undefined;
  return { exitCode: ExitCode as number, outOfMemory: OOMKilled === true };
}
