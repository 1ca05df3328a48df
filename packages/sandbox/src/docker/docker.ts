import { randomUUID } from 'node:crypto';
import {
  type Given,
  options,
  type Sandbox,
  SandboxFailureError,
  type SandboxProbe,
  type SandboxResult,
  text,
} from '@posttrain/interfaces';
import { attackSystem, failedStart } from '../attack-system.js';
import { namedProgram } from '../find-program.js';
import { guarded } from '../guarded.js';
import type { ReadJob } from '../job.js';
import { outputOf } from '../process/output.js';
import { runProcess } from '../process/run-process.js';
import { resultOf } from '../process/signals.js';
import { commandOf } from '../python-job.js';
import { dockerArguments, dockerInput, readState } from './arguments.js';

const dockerOptions = options('docker', {
  /** An image that the daemon has, with sh, dd and python3; none is ever pulled. Default `python:3.12-slim`. */
  image: text({ default: 'python:3.12-slim' }),
  /** The program, by name or path: podman takes the same arguments. Default `docker`. */
  path: text({ default: 'docker' }),
});
/** The options of `docker`. */
export type DockerOptions = Given<typeof dockerOptions>;

const NAME = 'docker';
/** Most milliseconds of a question to the daemon. */
const ASK_MS = 60_000;

/**
 * Python and commands in a container of its own for each job, where a daemon is: no network, a read-only root, a folder in memory,
 * a user without privileges, no capability, memory counted for all processes together, Docker's seccomp filter. A start takes
 * about a second. Who may speak with the daemon is root of its machine: run the client where that is acceptable.
 */
export function docker(given: DockerOptions = {}): Sandbox {
  const { image, path } = dockerOptions.read(given);
  const remedy = `Start a Docker daemon, and pull the image: ${path} pull ${image}.`;
  const client = () => namedProgram(`${NAME}.run`, path);
  // The client finds its daemon by these; the container gets none of them.
  const environment = Object.fromEntries(
    ['HOME', 'PATH', 'DOCKER_HOST', 'DOCKER_CONTEXT', 'DOCKER_CONFIG', 'XDG_RUNTIME_DIR'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );

  const attempt = async (job: ReadJob): Promise<SandboxResult> => {
    const where = `${NAME}.run`;
    const { command, files } = commandOf(where, job, 'python3');
    const container = `posttrain-sandbox-${randomUUID()}`;
    const { limits } = job;
    const file = client();
    const ask = (args: readonly string[], wallMs = ASK_MS) =>
      runProcess({ where, file, args, environment, stdin: '', outputBytes: 100_000, wallMs });
    try {
      const ended = await runProcess({
        where,
        file,
        args: dockerArguments(container, image, command, files, limits),
        environment,
        stdin: dockerInput(files, job.stdin),
        outputBytes: limits.outputBytes,
        wallMs: limits.wallMs,
        signal: job.signal,
      });
      const output = outputOf(ended);
      if (ended.killedFor !== null) return { exitCode: null, stoppedBy: ended.killedFor, ...output };
      // The client's exit code may be its own; only the daemon knows the program's.
      const asked = await ask(['inspect', '--format', '{{json .State}}', container]);
      const state = readState(asked.stdout.bytes().toString());
      if (!state) {
        throw new SandboxFailureError(
          where,
          `no container has run: ${output.stderr.slice(0, 500).trim() || ended.exitCode}`,
        );
      }
      const { exitCode, outOfMemory } = state;
      if (outOfMemory) return { exitCode: null, stoppedBy: 'memory', ...output };
      return resultOf(exitCode, output);
    } finally {
      // The end of the client is not the container's.
      await ask(['rm', '--force', '--volumes', container]);
    }
  };

  const attack = async (): Promise<SandboxProbe> => {
    try {
      client();
    } catch (error) {
      return failedStart(NAME, remedy, (error as Error).message);
    }
    return attackSystem({ name: NAME, attempt, python: ['tcp', 'abstract socket', 'unshare'], remedy });
  };
  return guarded({ name: NAME, languages: ['python'], commands: true, attempt, attack });
}
