import { isPosttrainError, PosttrainError, type SamplerServer, type SamplerServerFacts } from '@posttrain/interfaces';
import { createLimiter, type Limiter, sleep } from '@posttrain/interfaces/concurrency';
import type { OnFleetEvent } from './fleet-event.js';

/** Servers that cannot give rollouts, or none that is left. Code `FLEET`. */
export class FleetError extends PosttrainError {
  constructor(problem: string, options?: ErrorOptions) {
    super('FLEET', `fleetRollouts: ${problem}`, options);
  }
}

interface FleetSettings {
  readonly servers: readonly SamplerServer[];
  /** Groups in flight at a server. */
  readonly concurrency: number;
  /** Milliseconds for which there may be no server. */
  readonly patienceMs: number;
  /** Milliseconds between two looks at one that is lost. */
  readonly recheckMs: number;
  readonly onEvent: OnFleetEvent;
}

/** Poison: a group that servers are lost by, again and again, while they are well otherwise. So many losses for each server, and the run ends. */
const MOST_LOSSES = 3;

/** One server, as the fleet knows it. */
export interface Member {
  readonly server: SamplerServer;
  readonly limit: Limiter;
  facts: SamplerServerFacts | undefined;
  /** Groups that it has or that wait for it. */
  load: number;
  /** It did not answer, and is looked at again from this time on; undefined: it answers. */
  lostUntil: number | undefined;
  /** Counts how often it was lost: what was loaded into it before may be gone. */
  lives: number;
  /** By what it was lost last. */
  why: string | undefined;
}

/**
 * Membership of servers: which answer, which has room, and what is done when one stops. A lost server loses only what it is at, which is
 * asked of another; when it answers again it is a member again.
 */
export class Fleet {
  readonly members: readonly Member[];
  readonly #settings: FleetSettings;

  constructor(settings: FleetSettings) {
    this.#settings = settings;
    this.members = settings.servers.map((server) => ({
      ...{ server, limit: createLimiter(settings.concurrency), facts: undefined, load: 0 },
      ...{ lostUntil: undefined, lives: 0, why: undefined },
    }));
  }

  /**
   * Runs `work` at one server, in its turn; where that is lost meanwhile, at another one from the beginning. `key` names a prompt: the same
   * goes to the same server (its prefix cache) unless another has less to do.
   *
   * @throws FleetError when no server has answered for `patienceMs`, or when for as long every one, three times over, was lost by this work;
   *   what `work` throws of a server that has answered
   */
  async run<T>(
    key: number,
    work: (member: Member, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { patienceMs } = this.#settings;
    let losses = 0;
    let firstLoss = 0;
    for (;;) {
      const member = await this.#choose(key, signal);
      member.load++;
      try {
        // What was lost while it waited goes elsewhere at once.
        const { lives } = member;
        const result = await member.limit(async () =>
          member.lives === lives && member.lostUntil === undefined ? { value: await work(member, signal) } : undefined,
        );
        if (result) return result.value;
      } catch (error) {
        signal.throwIfAborted();
        if (!isLoss(error)) throw error;
        this.lose(member, error);
        if (losses++ === 0) firstLoss = performance.now();
        if (losses >= MOST_LOSSES * this.members.length && performance.now() - firstLoss >= patienceMs) {
          const said = `the same group was lost ${losses} times at servers that answer otherwise, at last by: ${messageOf(error)}`;
          throw new FleetError(said, { cause: error });
        }
      } finally {
        member.load--;
      }
    }
  }

  /** Every server that answers, asked the same; those that are lost by it are left out. @throws what is no loss */
  async each(work: (member: Member) => Promise<void>, signal: AbortSignal): Promise<void> {
    const present = this.members.filter(({ lostUntil }) => lostUntil === undefined);
    await Promise.all(
      present.map(async (member) => {
        try {
          await work(member);
        } catch (error) {
          signal.throwIfAborted();
          if (!isLoss(error)) throw error;
          this.lose(member, error);
        }
      }),
    );
  }

  lose(member: Member, error: unknown): void {
    if (member.lostUntil === undefined) {
      this.#settings.onEvent({ kind: 'lost', server: member.server.name, why: messageOf(error) });
    }
    member.why = messageOf(error);
    member.lives++;
    member.lostUntil = performance.now() + this.#settings.recheckMs;
  }

  /** Least load first; of equals by rendezvous hashing of the prompt, which moves few prompts when a server comes or goes. */
  async #choose(key: number, signal: AbortSignal): Promise<Member> {
    const { patienceMs, recheckMs, concurrency, servers } = this.#settings;
    const deadline = performance.now() + patienceMs;
    for (;;) {
      signal.throwIfAborted();
      await this.#look(signal);
      const present = this.members.flatMap((member, i) => {
        if (member.lostUntil !== undefined) return [];
        // With room, the prompt decides; without, the shortest queue.
        const queue = Math.max(0, member.load - concurrency + 1);
        return [{ member, queue, weight: mixed(key, i) }];
      });
      const [best] = present.sort((a, b) => a.queue - b.queue || b.weight - a.weight);
      if (best) return best.member;
      if (performance.now() >= deadline) {
        const names = servers.map(({ name }) => name).join(', ');
        const [why] = this.members.flatMap((member) => member.why ?? []);
        const said = why === undefined ? '' : `. One was lost by: ${why}`;
        throw new FleetError(
          `no server has answered for ${patienceMs} ms (${names}); start one, or raise patienceMs${said}`,
        );
      }
      await sleep(Math.min(recheckMs, Math.max(1, deadline - performance.now())), signal);
    }
  }

  /** Lost servers whose time has come are looked at. */
  async #look(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const due = this.members.filter(({ lostUntil = Infinity }) => lostUntil <= now);
    await Promise.all(
      due.map(async (member) => {
        member.lostUntil = performance.now() + this.#settings.recheckMs;
        if (!(await member.server.isHealthy(signal))) return;
        member.lostUntil = undefined;
        member.facts = undefined;
        this.#settings.onEvent({ kind: 'returned', server: member.server.name });
      }),
    );
  }
}

/** Whether an error says that the server is gone, and not that the request is wrong: no answer, or one of its own failure. */
function isLoss(error: unknown): boolean {
  if (!isPosttrainError(error) || error.code !== 'OPENAI_ENDPOINT') return false;
  const { status } = error as { readonly status?: number };
  return status === undefined || status >= 500 || status === 408 || status === 429;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Two numbers as one, of 32 bits, by the finaliser of MurmurHash3. */
function mixed(a: number, b: number): number {
  let h = (a ^ Math.imul(b + 1, 0x9e3779b1)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Names a prompt. */
export const hashOf = (tokens: readonly number[]): number => tokens.reduce(mixed, 0);
