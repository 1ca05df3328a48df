import { setImmediate } from 'node:timers/promises';

/** Longest that one request is worked on before others have their turn, in milliseconds. */
const TURN = 20;

/** Lets other requests go on, where work on one of them is done in pieces: `await turns.next()` between two of them. */
export class Turns {
  #since = performance.now();

  /** Waits when the turn has lasted long enough. */
  async next(): Promise<void> {
    if (performance.now() - this.#since < TURN) return;
    await setImmediate();
    this.#since = performance.now();
  }
}
