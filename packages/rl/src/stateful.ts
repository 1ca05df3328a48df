/**
 * What a part of a run has learnt and a checkpoint must hold: a baseline, a buffer, a running mean. A trainer asks for
 * `state` after every step and gives it back to `load` before the first step of a resumed run.
 */
export interface Stateful {
  /** All that the next step depends on, as JSON; not changed afterwards. */
  state(): unknown;
  /** Goes on from what `state` gave. */
  load(state: unknown): void | Promise<void>;
}
