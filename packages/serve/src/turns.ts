import { setImmediate } from 'node:timers/promises';

/** Time slice of a request, in milliseconds. */
const TURN = 20;

/** Cooperative yielding to the event loop, for work that is done in pieces: `await turns.next()` between two of them. */
export class Turns {
  #since = performance.now();

  /** Yields when the time slice is used up. */
  async next(): Promise<void> {
    if (performance.now() - this.#since < TURN) return;
    await setImmediate();
    this.#since = performance.now();
  }
}
