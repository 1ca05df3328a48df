import { nextTask } from './collect-garbage.js';

/** When the event loop last had its turn, by performance.now(). */
let lastTurn = 0;

/**
 * Lets the event loop have its turn when it has had none for `most` milliseconds: calls that finish on this thread are
 * followed by promises only, and a thousand of them in a row would let no timer, no socket and no finalizer run.
 */
export function breathe(most: number): Promise<void> | undefined {
  if (performance.now() - lastTurn < most) return undefined;
  return nextTask().then(() => {
    lastTurn = performance.now();
  });
}
