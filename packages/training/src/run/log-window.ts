import type { Metrics, StepMetrics } from '../tracking/metrics.js';

/** The open averaging window of a log as JSON: a resumed run continues it. */
export interface SavedWindow {
  readonly steps: number;
  readonly sums: Metrics;
  /** In how many of the steps a metric was. Left out by earlier versions: in all. */
  readonly counts?: Metrics;
}

/** Metrics that are about where a run is: an entry has their latest value. */
const LATEST: ReadonlySet<string> = new Set(['grad_norm', 'learning_rate', 'num_tokens', 'epoch']);
/** Of one of several trained at once, too: `learning_rate/NAME`. */
const isLatest = (name: string): boolean => LATEST.has(name.split('/', 1)[0]!);

/**
 * Turns the metrics of steps into log entries: means over the steps since the last entry that have them, but for those that are
 * about where the run is.
 */
export class LogWindow {
  readonly #every: number;
  #steps = 0;
  #sums: Record<string, number> = {};
  #counts: Record<string, number> = {};

  constructor(every: number) {
    this.#every = every;
  }

  /** The entry that closes the window with this step; undefined while it stays open. */
  add(step: number, metrics: Metrics, isLast: boolean): StepMetrics | undefined {
    if (this.#every === 1) return { step, metrics };
    this.#steps++;
    for (const [name, value] of Object.entries(metrics)) {
      if (isLatest(name)) continue;
      this.#sums[name] = (this.#sums[name] ?? 0) + value;
      this.#counts[name] = (this.#counts[name] ?? 0) + 1;
    }
    if ((step + 1) % this.#every !== 0 && !isLast) return undefined;
    const means = Object.entries(this.#sums).map(([name, sum]) => [name, sum / this.#counts[name]!] as const);
    const entry = { step, metrics: { ...metrics, ...Object.fromEntries(means) } };
    this.restore(undefined);
    return entry;
  }

  get saved(): SavedWindow {
    return { steps: this.#steps, sums: { ...this.#sums }, counts: { ...this.#counts } };
  }

  restore(saved: SavedWindow | undefined): void {
    [this.#steps, this.#sums] = [saved?.steps ?? 0, { ...saved?.sums }];
    this.#counts = { ...(saved?.counts ?? Object.fromEntries(Object.keys(this.#sums).map((x) => [x, this.#steps]))) };
  }
}
