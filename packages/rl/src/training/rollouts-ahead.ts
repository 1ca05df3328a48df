import type { ScoredRollout } from '../rollout.js';

/** Begins the rollouts of a step with the policy as it is now, before `policyStep`; resolves when that is needed no more. */
export type BeginRollouts = (
  step: number,
  policyStep: number,
  signal: AbortSignal,
) => Promise<() => Promise<readonly ScoredRollout[]>>;

/** Steps whose rollouts have begun, by their numbers. */
export type AheadState = readonly (readonly [step: number, rollouts: readonly ScoredRollout[]])[];

/**
 * One-step-off and k-steps-off asynchrony (arXiv 2410.18252; AReaL, arXiv 2505.24298): the rollouts of step t are sampled while earlier steps
 * learn, from the policy before step max(0, t - k), where k is `maxStaleness`. Which policy it is does not depend on how long anything takes,
 * so that a run is a function of its seed still; k = 0 would be the synchronous loop. What is under way when a checkpoint is written comes to its
 * end first and is in it.
 */
export class RolloutsAhead {
  readonly #maxStaleness: number;
  readonly #begin: BeginRollouts;
  /** Not the run's signal: what has begun ends by itself when that fires, and is in the checkpoint. */
  readonly #controller = new AbortController();
  readonly #begun = new Map<number, Promise<readonly ScoredRollout[]>>();

  constructor(maxStaleness: number, begin: BeginRollouts) {
    this.#maxStaleness = maxStaleness;
    this.#begin = begin;
  }

  /** The rollouts of a step; those of the next k steps have begun when it begins to wait. @throws the signal's reason */
  async take(step: number, steps: number, signal: AbortSignal | undefined): Promise<readonly ScoredRollout[]> {
    const last = Math.min(step + this.#maxStaleness, steps - 1);
    for (let ahead = step; ahead <= last; ahead++) {
      if (this.#begun.has(ahead)) continue;
      signal?.throwIfAborted();
      const sampled = await this.#begin(ahead, step, this.#controller.signal);
      const rollouts = sampled();
      // It is thrown when the step comes.
      rollouts.catch(() => {});
      this.#begun.set(ahead, rollouts);
    }
    return orAbort(this.#begun.get(step)!, signal);
  }

  /** The step has been learnt from. */
  done(step: number): void {
    this.#begun.delete(step);
  }

  /** What has begun, when all of it has come to its end. @throws what sampling has thrown */
  async state(): Promise<AheadState> {
    return Promise.all([...this.#begun].map(async ([step, rollouts]) => [step, await rollouts] as const));
  }

  load(state: AheadState): void {
    for (const [step, rollouts] of state) this.#begun.set(step, Promise.resolve(rollouts));
  }

  /** The run is over, or has failed. */
  close(): void {
    this.#controller.abort(new Error('the run is over'));
  }
}

function orAbort<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) return leave();
    signal.addEventListener('abort', leave, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}
