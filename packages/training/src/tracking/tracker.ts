import type { Metrics } from './metrics.js';

/** Something that entries of the log of a run are sent to: a file, a service, a dashboard. */
export interface Tracker {
  /** For warnings. */
  readonly name?: string;
  /**
   * Called once, before the first entry. `step` is the number of steps done already: what an interrupted attempt has logged
   * beyond it will be logged again.
   */
  open?(run: { readonly stage: string; readonly step: number }): void | Promise<void>;
  /** An entry of the log. `step` counts the steps that were done, as transformers' `global_step`. */
  log(step: number, metrics: Metrics): void | Promise<void>;
  /** Called when the run ends, also with an error. A run that is killed does not call it. */
  close?(): void | Promise<void>;
}

/**
 * Trackers as one. A tracker that throws is warned of, once, and left out from then on: `metrics.jsonl` has all there is,
 * and a run of days is not lost because a dashboard is.
 */
export class Trackers {
  readonly #warn: (message: string) => void;
  #left: readonly Tracker[];

  constructor(trackers: readonly Tracker[], warn: (message: string) => void) {
    this.#left = trackers;
    this.#warn = warn;
  }

  open(run: { readonly stage: string; readonly step: number }): Promise<void> {
    return this.#each((tracker) => tracker.open?.(run));
  }

  log(step: number, metrics: Metrics): Promise<void> {
    return this.#each((tracker) => tracker.log(step, metrics));
  }

  close(): Promise<void> {
    return this.#each((tracker) => tracker.close?.());
  }

  async #each(work: (tracker: Tracker) => void | Promise<void>): Promise<void> {
    for (const [i, tracker] of this.#left.entries()) {
      try {
        await work(tracker);
      } catch (error) {
        this.#left = this.#left.filter((other) => other !== tracker);
        const name = tracker.name ?? `number ${i}`;
        const message = error instanceof Error ? error.message : String(error);
        this.#warn(`the tracker ${name} failed, and gets no further entries of the log: ${message}`);
      }
    }
  }
}
