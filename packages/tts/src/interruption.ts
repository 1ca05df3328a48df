import type { Trace } from './trace.js';

/** Hands out the trace of a search that ends by an error: once, and when what came back in the same round is in it. */
export class Interruption {
  readonly #onInterrupted: ((trace: Trace) => void) | undefined;
  readonly #trace: () => Trace;
  #told: Promise<void> | undefined;

  constructor(onInterrupted: ((trace: Trace) => void) | undefined, trace: () => Trace) {
    this.#onInterrupted = onInterrupted;
    this.#trace = trace;
  }

  /** What `work` gives; when it fails, its error, after the trace was handed out. */
  async guard<T>(work: Promise<T>): Promise<T> {
    if (!this.#onInterrupted) return work;
    try {
      return await work;
    } catch (error) {
      this.#told ??= new Promise((resolve) => setImmediate(resolve)).then(() => this.#onInterrupted!(this.#trace()));
      await this.#told;
      throw error;
    }
  }
}
