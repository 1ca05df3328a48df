import type { Completion, GenerateRequest, Generator, Verdict, Verifier, VerifyRequest } from '@posttrain/interfaces';
import { type Ledger, LedgerError, type Reservation } from '@posttrain/interfaces/ledger';
import { checkedCompletions, checkedVerdicts } from './contracts.js';
import type { Deadline } from './deadline.js';
import { ContractError } from './errors.js';

/** Completions of one prompt to be generated; each has its reservation. */
export interface Ask {
  readonly generator: Generator;
  readonly request: Omit<GenerateRequest, 'n' | 'seed' | 'signal'>;
  /** Of the first; completion i has `seed + i`. */
  readonly seed: number | undefined;
  readonly reservations: Reservation[];
  /** Nothing is to be waited for that could go out with it. */
  readonly isAlone?: boolean;
}

/** Completions to be judged; each has its reservation. */
export interface Judge {
  readonly verifier: Verifier;
  readonly requests: readonly Omit<VerifyRequest, 'signal'>[];
  readonly reservations: readonly Reservation[];
}

/** What came back; `undefined` in the place of what was lost to the wall time. */
type Completions = (Completion | undefined)[];
/** What came of an ask, and why the rest did not. */
export interface Asked {
  readonly completions: Completions;
  readonly failure?: { readonly cause: unknown };
}
type Verdicts = readonly Verdict[] | undefined;

interface Job<Work, Result> {
  readonly work: Work;
  /** It was asked for while another round was under way. */
  readonly hasWaited: boolean;
  result: Result;
  error?: { readonly cause: unknown };
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}
type AskJob = Job<Ask, Completions>;
type JudgeJob = Job<Judge, Verdicts>;

/** A part of an ask that goes into one generator call. */
interface Piece {
  readonly job: AskJob;
  readonly first: number;
  readonly n: number;
}

/**
 * The calls of a search in rounds: what was asked in one turn of the event loop goes out together, one batch a generator (in
 * calls of at most `batchSize` completions) and one a verifier; all of it comes back together, in the order of asking; and
 * what is asked meanwhile waits for the next round. So what a strategy sees never depends on which call was faster.
 */
export class Rounds {
  readonly #ledger: Ledger;
  readonly #deadline: Deadline;
  readonly #batchSize: number;
  readonly #retries: number;
  /** The rest of a job goes on where a part of it has failed. */
  readonly #drops: boolean;
  #asks: AskJob[] = [];
  #judges: JudgeJob[] = [];
  #order: (() => void)[] = [];
  #isScheduled = false;
  #isRunning = false;
  /** Completions that were asked for and never came back. */
  lostCompletions = 0;
  /** Whether a verifier has said how many tokens it took. */
  hasVerifierTokens = false;

  constructor(
    ledger: Ledger,
    deadline: Deadline,
    {
      batchSize = Number.POSITIVE_INFINITY,
      retries = 0,
      failures = 'throw',
    }: { readonly batchSize?: number; readonly retries?: number; readonly failures?: 'throw' | 'drop' },
  ) {
    this.#ledger = ledger;
    this.#deadline = deadline;
    this.#batchSize = batchSize;
    this.#retries = retries;
    this.#drops = failures === 'drop';
  }

  /** Never rejects: what came back before a part of it failed has been paid for. */
  ask(work: Ask): Promise<Asked> {
    const completions: Completions = new Array<Completion | undefined>(work.reservations.length).fill(undefined);
    return this.#add(this.#asks, work, completions).then(
      () => ({ completions }),
      (cause: unknown) => ({ completions, failure: { cause } }),
    );
  }

  judge(work: Judge): Promise<Verdicts> {
    return this.#add<Judge, Verdicts>(this.#judges, work, undefined);
  }

  #add<Work, Result>(jobs: Job<Work, Result>[], work: Work, result: Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const job: Job<Work, Result> = { work, result, hasWaited: this.#isRunning, resolve, reject };
      jobs.push(job);
      this.#order.push(() => (job.error ? reject(job.error.cause) : resolve(job.result)));
      this.#schedule((work as Partial<Ask>).isAlone);
    });
  }

  #schedule(isAlone = false): void {
    if (this.#isScheduled || this.#isRunning || this.#order.length === 0) return;
    this.#isScheduled = true;
    // After all microtasks: whoever heard of the last round has asked by then.
    if (isAlone) queueMicrotask(() => void this.#run());
    else setImmediate(() => void this.#run());
  }

  async #run(): Promise<void> {
    this.#isScheduled = false;
    this.#isRunning = true;
    const [asks, judges, order] = [this.#asks, this.#judges, this.#order];
    [this.#asks, this.#judges, this.#order] = [[], [], []];
    const byGenerator = groupBy(asks, ({ work }) => work.generator);
    const byVerifier = groupBy(judges, ({ work }) => work.verifier);
    await Promise.all([
      ...[...byGenerator].map(([generator, jobs]) => this.#generate(generator, jobs)),
      ...[...byVerifier].map(([verifier, jobs]) => this.#verify(verifier, jobs)),
    ]);
    this.#isRunning = false;
    for (const answer of order) answer();
    this.#schedule();
  }

  async #generate(generator: Generator, jobs: readonly AskJob[]): Promise<void> {
    const batches: Piece[][] = [];
    let room = 0;
    for (const job of jobs) {
      const { length } = job.work.reservations;
      for (let first = 0; first < length; ) {
        if (room === 0) {
          batches.push([]);
          room = this.#batchSize;
        }
        const n = Math.min(room, length - first);
        batches.at(-1)!.push({ job, first, n });
        first += n;
        room -= n;
      }
    }
    for (const batch of batches) await this.#attempt(generator, batch, this.#retries);
  }

  /** Asks for a batch; never rejects: what failed is the error of its jobs. */
  async #attempt(generator: Generator, pieces: readonly Piece[], retries: number): Promise<void> {
    const open = pieces.filter(({ job, first, n }) => {
      const { reservations } = job.work;
      return this.#mayBegin(job, this.#drops ? reservations.slice(first, first + n) : reservations);
    });
    if (open.length === 0) return;
    this.#ledger.charge({ generatorCalls: 1 });
    try {
      const answer = await this.#deadline.run((signal) =>
        generator.generate(
          open.map(({ job: { work }, first, n }) => ({
            ...work.request,
            ...(work.seed === undefined ? {} : { seed: work.seed + first }),
            n,
            signal,
          })),
        ),
      );
      if (!answer) {
        for (const { n } of open) this.lostCompletions += n;
        this.#forfeit(open);
        return;
      }
      open.forEach(({ job, first, n }, i) => {
        const list = Array.isArray(answer.value) ? answer.value[i] : undefined;
        const completions = checkedCompletions(generator.name, list, n);
        // Servers count the tokens of all completions of a prompt together: one's share may be more than its bound.
        const tokens = completions.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
        const bounds = job.work.reservations.slice(first, first + n).map(({ bound }) => bound.completionTokens ?? 0);
        const isShare = tokens <= bounds.reduce((a, b) => a + b, 0);
        for (const [k, completion] of completions.entries()) {
          const { promptTokens, completionTokens } = completion.usage;
          job.work.reservations[first + k]!.settle({ completions: 1, promptTokens, completionTokens }, isShare);
          job.result[first + k] = completion;
        }
      });
    } catch (error) {
      const cause = blaming(`generator "${generator.name}"`, error);
      if (retries > 0 && !(cause instanceof ContractError) && !this.#deadline.hasEnded) {
        const again = this.#again(open, cause);
        const pieces = this.#drops && retries === 1 ? again.flatMap(singles) : again;
        await Promise.all(pieces.map((piece) => this.#attempt(generator, [piece], retries - 1)));
      } else {
        this.#forfeit(open);
        for (const { job } of open) if (!job.error || cause instanceof ContractError) job.error = { cause };
      }
    }
  }

  /** Reserves what failed anew; what there is no room for has failed with `cause`. */
  #again(pieces: readonly Piece[], cause: unknown): Piece[] {
    return pieces.filter(({ job, first, n }) => {
      const { reservations } = job.work;
      let hasRoom = true;
      for (let i = first; i < first + n; i++) {
        const again = reservations[i]!.retry({ completions: 1 });
        if (typeof again === 'string') hasRoom = false;
        else reservations[i] = again;
      }
      if (!hasRoom) job.error ??= { cause };
      if (hasRoom && (this.#drops || !job.error)) return true;
      const lost = this.#drops ? reservations.slice(first, first + n) : reservations;
      for (const reservation of lost) if (reservation.isOpen) reservation.settle({});
      return false;
    });
  }

  #forfeit(pieces: readonly Piece[]): void {
    for (const { job, first, n } of pieces) {
      for (const reservation of job.work.reservations.slice(first, first + n)) {
        if (reservation.isOpen) reservation.forfeit({ completions: 1 });
      }
    }
  }

  async #verify(verifier: Verifier, jobs: readonly JudgeJob[]): Promise<void> {
    const open = jobs.filter((job) => this.#mayBegin(job, job.work.reservations));
    if (open.length === 0) return;
    const reservations = open.flatMap(({ work }) => work.reservations);
    try {
      const answer = await this.#deadline.run((signal) =>
        verifier.verify(open.flatMap(({ work }) => work.requests.map((request) => ({ ...request, signal })))),
      );
      if (!answer) {
        for (const reservation of reservations) reservation.forfeit({ verifierCalls: 1 });
        return;
      }
      const verdicts = checkedVerdicts(verifier.name, answer.value, reservations.length);
      verdicts.forEach(({ usage }, i) => {
        if (usage) this.hasVerifierTokens = true;
        const verifierTokens = usage ? usage.promptTokens + usage.completionTokens : 0;
        reservations[i]!.settle({ verifierCalls: 1, verifierTokens });
      });
      let first = 0;
      for (const job of open) {
        job.result = verdicts.slice(first, first + job.work.requests.length);
        first += job.work.requests.length;
      }
    } catch (error) {
      const cause = blaming(`verifier "${verifier.name}"`, error);
      for (const reservation of reservations) if (reservation.isOpen) reservation.forfeit({ verifierCalls: 1 });
      for (const job of open) job.error ??= { cause };
    }
  }

  /** Gives the rest back where a part of the job has failed, the search has ended, or the wall time was over before its turn. */
  #mayBegin(job: AskJob | JudgeJob, reservations: readonly Reservation[]): boolean {
    try {
      this.#deadline.throwIfAborted();
      const goesOn = !job.error || (this.#drops && !(job.error.cause instanceof ContractError));
      if (goesOn && (!job.hasWaited || !this.#deadline.isOver)) return true;
    } catch (cause) {
      job.error ??= { cause };
    }
    for (const reservation of reservations) if (reservation.isOpen) reservation.settle({});
    return false;
  }
}

/** Each completion of a piece as one. */
const singles = ({ job, first, n }: Piece): Piece[] =>
  Array.from({ length: n }, (_, i) => ({ job, first: first + i, n: 1 }));

/** Whoever took more than it may has broken its contract. */
const blaming = (who: string, error: unknown): unknown =>
  error instanceof LedgerError ? new ContractError(`${who}: ${error.message}`) : error;

function groupBy<T, Key>(items: readonly T[], keyOf: (item: T) => Key): Map<Key, T[]> {
  const groups = new Map<Key, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}
