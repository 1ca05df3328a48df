/**
 * What a part of a run has learnt and a checkpoint must hold: a baseline, a buffer, a running mean, an average of weights. A
 * trainer asks for `state` after every step and gives it back to `load` before the first step of a resumed run.
 */
export interface Stateful {
  /**
   * All that the next step depends on: JSON, typed arrays and tensors, which checkpoints keep as safetensors. It is copied at
   * once; what has no place in a checkpoint (NaN outside of arrays, a Map) is refused by name.
   */
  state(): unknown;
  /** Goes on from what `state` gave. It may keep what it is given. */
  load(state: unknown): void | Promise<void>;
}
