import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { PosttrainError } from '@posttrain/interfaces';

/** An environment server that cannot be asked, or answers what nobody can read. Code `ENVIRONMENT_SERVER`. */
export class EnvironmentServerError extends PosttrainError {
  constructor(problem: string, options?: ErrorOptions) {
    super('ENVIRONMENT_SERVER', `environment server: ${problem}`, options);
  }
}

/** One question of the protocol; its answer has the same id. */
export interface ServerRequest {
  readonly id: number;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** What a server answers: a result, or an error in words. */
export interface ServerAnswer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** A way to an environment server: a process, an address, a recorded conversation. */
export interface ServerConnection {
  readonly name: string;
  ask(request: ServerRequest, signal?: AbortSignal): Promise<ServerAnswer>;
  close(): Promise<void>;
}

/** What a process that ends is remembered by. */
const LAST_LINES = 20;

/**
 * A server that is a process: a question is a line of JSON on its standard input, an answer a line on its standard output, in any order. Lines that are no
 * answers are taken for what a library printed.
 *
 * @param command the program and its arguments; no shell reads them
 */
export function processConnection(
  command: readonly [string, ...string[]],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
): ServerConnection {
  const [program, ...given] = command;
  const waiting = new Map<number, { resolve(answer: ServerAnswer): void; reject(error: Error): void }>();
  const heard: string[] = [];
  let child: ChildProcess | undefined;
  let ended: Error | undefined;
  const end = (why: string, cause?: unknown) => {
    const said = heard.length === 0 ? '' : ` It said:\n${heard.join('\n')}`;
    ended = new EnvironmentServerError(`${program} ${why}.${said}`, { cause });
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
  };
  const hear = (line: string) => {
    heard.push(line);
    if (heard.length > LAST_LINES) heard.shift();
  };
  const begin = (): ChildProcess => {
    const started = spawn(program, given, {
      ...options,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    started.on('error', (error) => end(`cannot be started: ${error.message}`, error));
    started.on('close', (code, signal) => end(`has ended (${signal ?? code})`));
    started.stdin!.on('error', () => undefined);
    createInterface({ input: started.stderr! }).on('line', hear);
    createInterface({ input: started.stdout! }).on('line', (line) => {
      const answer = answerIn(line);
      const asker = answer && waiting.get(answer.id);
      if (!answer || !asker) return hear(line);
      waiting.delete(answer.id);
      asker.resolve(answer);
    });
    return started;
  };
  return {
    name: command.join(' '),
    ask: (request, signal) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(ended);
        child ??= begin();
        waiting.set(request.id, { resolve, reject });
        // Nobody waits any more; a late answer is for no one.
        signal?.addEventListener('abort', () => waiting.delete(request.id) && reject(signal.reason), { once: true });
        child.stdin!.write(`${JSON.stringify(request)}\n`);
      }),
    async close() {
      const closing = child;
      if (!closing || closing.exitCode !== null || closing.signalCode !== null) return;
      const gone = new Promise((resolve) => closing.once('close', resolve));
      closing.stdin!.end();
      const timer = setTimeout(() => closing.kill('SIGKILL'), 2000);
      await gone;
      clearTimeout(timer);
    },
  };
}

function answerIn(line: string): ServerAnswer | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const answer = JSON.parse(line) as Partial<ServerAnswer>;
    return typeof answer.id === 'number' && ('result' in answer || 'error' in answer)
      ? (answer as ServerAnswer)
      : undefined;
  } catch {
    return undefined;
  }
}

/** A server at an address: a question is the body of a POST, the answer that of the response. */
export function httpConnection(url: string): ServerConnection {
  return {
    name: url,
    async ask(request, signal) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
        ...(signal && { signal }),
      }).catch((error: unknown) => {
        if (signal?.aborted) throw signal.reason;
        throw new EnvironmentServerError(`${url} cannot be reached: ${String(error)}`, { cause: error });
      });
      const text = await response.text();
      const answer = response.ok ? answerIn(text.trim()) : undefined;
      if (answer?.id === request.id) return answer;
      throw new EnvironmentServerError(
        `${url} answered ${response.status} to ${request.method}: ${text.slice(0, 200)}`,
      );
    },
    close: async () => undefined,
  };
}
