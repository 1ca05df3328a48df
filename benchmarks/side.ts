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

/** A process that measures cases of a task on request. */
export class Side {
  readonly versions: Readonly<Record<string, string>>;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(child: ChildProcess, answers: AsyncIterator<string>, versions: Readonly<Record<string, string>>) {
    this.#child = child;
    this.#answers = answers;
    this.versions = versions;
  }

  /** Starts the process and waits until it has loaded what it needs. */
  static async start(command: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Side> {
    const [program, ...args] = command;
    const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
    const failed = new Promise<never>((_, reject) => {
      child.once('error', (cause) => reject(new Error(`${program} does not start: ${cause.message}`)));
    });
    const answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const { versions } = await Promise.race([failed, nextAnswer<{ versions: Record<string, string> }>(answers)]);
    return new Side(child, answers, versions);
  }

  measure(index: number): Promise<Measurement> {
    this.#child.stdin!.write(`${JSON.stringify({ case: index })}\n`);
    return nextAnswer<Measurement>(this.#answers);
  }

  /** Ends the process and waits for it. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin!.end();
    await ended;
  }
}

async function nextAnswer<Answer>(answers: AsyncIterator<string>): Promise<Answer> {
  const { value, done } = await answers.next();
  if (done) throw new Error('a measured process ended early; its own message is above');
  return JSON.parse(value) as Answer;
}
