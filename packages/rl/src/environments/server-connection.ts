import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
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

/** What a server answers: a result, or an error in words; null is none. */
export interface ServerAnswer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string | null;
}

/** A way to an environment server: a process, an address, a recorded conversation. */
export interface ServerConnection {
  readonly name: string;
  ask(request: ServerRequest, signal?: AbortSignal): Promise<ServerAnswer>;
  close(): Promise<void>;
}

/** What a process that ends is remembered by, and how much of a line. */
const LAST_LINES = 20;
const LONGEST_HEARD = 1000;
/** Bytes of one answer; a server that never ends a line, or a body, would fill the memory. */
const LONGEST_ANSWER = 2 ** 26;
/** Milliseconds for what an ended process has written to be read: its children may keep the pipe open for ever. */
const LAST_WORDS_MS = 1000;

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
    if (ended) return;
    const said = heard.length === 0 ? '' : ` It said:\n${heard.join('\n')}`;
    ended = new EnvironmentServerError(`${program} ${why}.${said}`, { cause });
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
  };
  const hear = (line: string) => {
    heard.push(line.slice(0, LONGEST_HEARD));
    if (heard.length > LAST_LINES) heard.shift();
  };
  const begin = (): ChildProcess => {
    const started = spawn(program, given, {
      ...options,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    started.on('error', (error) => end(`cannot be started: ${error.message}`, error));
    const gone = (code: number | null, signal: string | null) => end(`has ended (${signal ?? code})`);
    started.on('close', gone);
    started.on('exit', (code, signal) => {
      const timer = setTimeout(() => {
        gone(code, signal);
        for (const stream of [started.stdin, started.stdout, started.stderr]) stream!.destroy();
      }, LAST_WORDS_MS);
      started.once('close', () => clearTimeout(timer));
    });
    started.stdin!.on('error', () => undefined);
    onLines(started.stderr!, hear, () => undefined);
    const endless = () => {
      end(`wrote a line of more than ${LONGEST_ANSWER} bytes`);
      started.kill('SIGKILL');
    };
    onLines(
      started.stdout!,
      (line) => {
        const answer = answerIn(line);
        const asker = answer && waiting.get(answer.id);
        if (!answer || !asker) return hear(line);
        waiting.delete(answer.id);
        asker.resolve(answer);
      },
      endless,
    );
    return started;
  };
  return {
    name: command.join(' '),
    ask: (request, signal) => {
      // Nobody waits any more; a late answer is for no one.
      const leave = () => {
        waiting.get(request.id)?.reject(signal!.reason);
        waiting.delete(request.id);
      };
      return new Promise<ServerAnswer>((resolve, reject) => {
        signal?.throwIfAborted();
        if (ended) throw ended;
        child ??= begin();
        waiting.set(request.id, { resolve, reject });
        signal?.addEventListener('abort', leave, { once: true });
        child.stdin!.write(`${JSON.stringify(request)}\n`);
      }).finally(() => signal?.removeEventListener('abort', leave));
    },
    async close() {
      const closing = child;
      if (!closing || closing.exitCode !== null || closing.signalCode !== null) return;
      const gone = new Promise((resolve) => closing.once('exit', resolve));
      closing.stdin!.end();
      const timer = setTimeout(() => closing.kill('SIGKILL'), 2000);
      await gone;
      clearTimeout(timer);
      end('has ended (closed)');
    },
  };
}

/** The lines of a stream; one that is too long is given up with all that follows. */
function onLines(stream: Readable, line: (text: string) => void, endless: () => void): void {
  let parts: string[] = [];
  let length = 0;
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const [first, ...others] = chunk.split('\n') as [string, ...string[]];
    parts.push(first);
    length += first.length;
    for (const next of others) {
      line(parts.join('').replace(/\r$/, ''));
      parts = [next];
      length = next.length;
    }
    if (length <= LONGEST_ANSWER) return;
    parts = [];
    length = 0;
    endless();
  });
  stream.on('end', () => length > 0 && line(parts.join('')));
  stream.on('error', () => undefined);
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

async function bodyOf({ body }: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > LONGEST_ANSWER)
      throw new EnvironmentServerError(`${url} gave an answer of more than ${LONGEST_ANSWER} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** A server at an address: a question is the body of a POST, the answer that of the response. */
export function httpConnection(url: string): ServerConnection {
  return {
    name: url,
    async ask(request, signal) {
      const lost = (what: string) => (error: unknown) => {
        if (signal?.aborted) throw signal.reason;
        if (error instanceof EnvironmentServerError) throw error;
        throw new EnvironmentServerError(`${url} ${what}: ${String(error)}`, { cause: error });
      };
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
        ...(signal && { signal }),
      }).catch(lost('cannot be reached'));
      const text = await bodyOf(response, url).catch(lost('broke off in its answer'));
      const answer = response.ok ? answerIn(text.trim()) : undefined;
      if (answer?.id === request.id) return answer;
      throw new EnvironmentServerError(
        `${url} answered ${response.status} to ${request.method}: ${text.slice(0, 200)}`,
      );
    },
    close: async () => undefined,
  };
}
