import { type Sandbox, type SandboxProbe, type SandboxResult, SandboxUnavailableError } from '@posttrain/interfaces';
import { type ReadJob, readJob } from './job.js';

/** A way to isolate, before anybody has shown that it does. */
export interface Backend {
  readonly name: string;
  readonly languages: readonly string[];
  readonly commands: boolean;
  /** Runs a job without asking whether the isolation holds. */
  attempt(job: ReadJob): Promise<SandboxResult>;
  /** Attacks it from inside. Throws nothing: a backend that cannot start has failed the probe. */
  attack(): Promise<SandboxProbe>;
}

/** A sandbox that runs nothing until its probe has passed. */
export function guarded(backend: Backend): Sandbox {
  const { name, languages, commands } = backend;
  let asked: Promise<SandboxProbe> | undefined;
  const probe = () => {
    asked ??= backend.attack();
    return asked;
  };
  return {
    name,
    languages,
    commands,
    probe,
    async run(job) {
      const read = readJob(name, languages, commands, job);
      read.signal?.throwIfAborted();
      const found = await probe();
      if (!found.ok) throw new SandboxUnavailableError(`${name}.run`, [found]);
      return backend.attempt(read);
    },
  };
}
