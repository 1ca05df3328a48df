import type { Metrics, StepMetrics } from './run-options.js';

/** The open window of a log as JSON: a resumed run goes on with it. */
export interface SavedWindow {
  readonly steps: number;
  readonly sums: Metrics;
}

/** Turns the metrics of steps into log entries: means over the steps since the last entry, but for the `latest` ones. */
export class LogWindow {
  readonly #every: number;
  readonly #latest: ReadonlySet<string>;
  #steps = 0;
  #sums: Record<string, number> = {};

  constructor({ every, latest }: { readonly every: number; readonly latest: readonly string[] }) {
    this.#every = every;
    this.#latest = new Set(latest);
  }

  /** The entry that closes the window with this step; undefined while it stays open. */
  add(step: number, metrics: Metrics, isLast: boolean): StepMetrics | undefined {
    if (this.#every === 1) return { step, metrics };
    this.#steps++;
    for (const [name, value] of Object.entries(metrics)) {
      if (!this.#latest.has(name)) this.#sums[name] = (this.#sums[name] ?? 0) + value;
    }
    if ((step + 1) % this.#every !== 0 && !isLast) return undefined;
    const means = Object.entries(this.#sums).map(([name, sum]) => [name, sum / this.#steps] as const);
    const entry = { step, metrics: { ...metrics, ...Object.fromEntries(means) } };
    [this.#steps, this.#sums] = [0, {}];
    return entry;
  }

  get saved(): SavedWindow {
    return { steps: this.#steps, sums: { ...this.#sums } };
  }

  restore(saved: SavedWindow | undefined): void {
    [this.#steps, this.#sums] = [saved?.steps ?? 0, { ...saved?.sums }];
  }
}
