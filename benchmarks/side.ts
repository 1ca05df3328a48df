import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** What one measurement gives. */
export interface Measurement {
  readonly seconds: number;
  /** User and system time of all threads of the process. */
  readonly processorSeconds: number;
  /** Compared between the sides. */
  readonly numbers: readonly number[];
  /** Largest resident memory of the process so far. */
  readonly peakBytes: number;
}

interface Ready {
  readonly versions: Readonly<Record<string, string>>;
  readonly startBytes: number;
}

/** A process that measures cases of a task on request. */
export class Side {
  readonly versions: Readonly<Record<string, string>>;
  /** Resident memory with everything loaded and nothing run. */
  readonly startBytes: number;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess, answers: AsyncIterator<string>, { versions, startBytes }: Ready) {
    this.#child = child;
    this.#answers = answers;
    this.#ended = new Promise((resolve) => child.once('exit', resolve));
    this.versions = versions;
    this.startBytes = startBytes;
  }

  /** Starts the process and waits until it has loaded what it needs. */
  static async start(command: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Side> {
    const [program, ...args] = command;
    const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
    const failed = new Promise<never>((_, reject) => {
      child.once('error', (cause) => reject(new Error(`${program} does not start: ${cause.message}`)));
    });
    const answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    return new Side(child, answers, await Promise.race([failed, nextAnswer<Ready>(answers)]));
  }

  /** @throws Error with the process's own message when it could not do it */
  async measure(index: number): Promise<Measurement> {
    this.#child.stdin!.write(`${JSON.stringify({ case: index })}\n`);
    const answer = await nextAnswer<Measurement | { readonly error: string }>(this.#answers);
    if ('error' in answer) throw new Error(answer.error);
    return answer;
  }

  /** Ends the process and waits for it. */
  async stop(): Promise<void> {
    this.#child.stdin!.end();
    await this.#ended;
  }
}

async function nextAnswer<Answer>(answers: AsyncIterator<string>): Promise<Answer> {
  const { value, done } = await answers.next();
  if (done) throw new Error('a measured process ended early; its own message is above');
  return JSON.parse(value) as Answer;
}
