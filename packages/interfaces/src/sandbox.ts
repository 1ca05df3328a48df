import { PosttrainError } from './errors.js';

/** What a program may use. What is not given is the sandbox's own default, which is a limit too: nothing is unlimited. */
export interface SandboxLimits {
  /** Milliseconds from the start to the end of the program. */
  readonly wallMs?: number;
  /** Milliseconds of processor time; a backend may count whole seconds, rounded up. */
  readonly cpuMs?: number;
  /** Bytes of memory: of each process, or of all together where the backend can count them together. */
  readonly memoryBytes?: number;
  /** Processes and threads at a time, the program itself among them. */
  readonly processes?: number;
  /** Bytes of standard output, and as many again of standard error. */
  readonly outputBytes?: number;
  /** Bytes of all files of the folder together. */
  readonly fileBytes?: number;
}

interface JobParts {
  /** The folder that the program starts in: contents by relative path, with `/` between folders. Default: empty. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** What the program reads from standard input. Default: nothing. */
  readonly stdin?: string;
  readonly limits?: SandboxLimits;
  /** Kills the program; `run` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A program in a language that the sandbox knows. */
export interface SandboxCode extends JobParts {
  /** One of the sandbox's `languages`: `javascript`, `python`. */
  readonly language: string;
  readonly code: string;
}

/** A program of the sandbox's own system, with its arguments; no shell reads them. */
export interface SandboxCommand extends JobParts {
  readonly command: readonly [string, ...string[]];
}

/** What a sandbox runs. */
export type SandboxJob = SandboxCode | SandboxCommand;

/** The limits that end a program from outside. Others the program sees itself, as an error of its language or system. */
export type SandboxStop = 'wall-time' | 'cpu-time' | 'memory' | 'output' | 'file-size';

/** What became of a program. */
export interface SandboxResult {
  /** What the program ended with; `null` when a signal or a limit ended it. */
  readonly exitCode: number | null;
  /** The signal that ended the program, by name (`SIGSEGV`). */
  readonly signal?: string;
  /** The limit that ended the program; `null` when none did. */
  readonly stoppedBy: SandboxStop | null;
  /** Bytes that are no UTF-8 are U+FFFD. */
  readonly stdout: string;
  readonly stderr: string;
  /** Whether there was more than `outputBytes`; the program was then killed. */
  readonly stdoutTruncated: boolean;
  readonly stderrTruncated: boolean;
  /** Milliseconds that the program ran, its start among them. */
  readonly wallMs: number;
  /** Milliseconds of processor time, where the backend knows them. */
  readonly cpuMs?: number;
}

/** One thing that a probe tried from inside. */
export interface SandboxCheck {
  readonly name: string;
  /** Whether the sandbox held. */
  readonly held: boolean;
  /** What happened. */
  readonly detail: string;
}

/** What an attack on a sandbox, from inside it, has shown on this machine. */
export interface SandboxProbe {
  readonly sandbox: string;
  /** Whether it runs, and everything that was tried was held. */
  readonly ok: boolean;
  readonly checks: readonly SandboxCheck[];
  /** Remedy where it is not. */
  readonly remedy?: string;
}

/**
 * Runs untrusted programs: no network, no file outside the job's folder, no signal to other
 * processes, limits on everything. Jobs are independent: each has a folder of its own, which is gone when `run` ends.
 */
export interface Sandbox {
  readonly name: string;
  /** Languages of `{ language, code }` jobs. */
  readonly languages: readonly string[];
  /** Whether it takes `{ command }` jobs. */
  readonly commands: boolean;
  /**
   * Runs a program to its end. A program that fails is a result, not an error.
   *
   * @throws SandboxUnavailableError where the sandbox's probe has not passed
   * @throws SandboxFailureError when the sandbox itself failed, so that nothing is known of the program
   * @throws OptionError for a job that it cannot run
   */
  run(job: SandboxJob): Promise<SandboxResult>;
  /** Attacks the sandbox from inside and says what was tried. Asked once, then remembered. */
  probe(): Promise<SandboxProbe>;
}

/** No sandbox on this machine isolates, or not this one. `tried` says what was tried, and the message what to do. */
export class SandboxUnavailableError extends PosttrainError {
  readonly tried: readonly SandboxProbe[];

  constructor(where: string, tried: readonly SandboxProbe[]) {
    const lines = tried.map(({ sandbox, checks, remedy }) => {
      const failed = checks.filter(({ held }) => !held).map(({ name, detail }) => `${name} (${detail})`);
      return `${sandbox}: ${failed.join('; ') || 'nothing was tried'}.${remedy ? ` ${remedy}` : ''}`;
    });
    super('SANDBOX_UNAVAILABLE', `${where}: no isolation here. ${lines.join(' ')}`);
    this.tried = tried;
  }
}

/** The sandbox failed, not the program in it: a job that is worth another try, and never a score of 0. */
export class SandboxFailureError extends PosttrainError {
  constructor(where: string, message: string, options?: ErrorOptions) {
    super('SANDBOX_FAILURE', `${where}: ${message}`, options);
  }
}
