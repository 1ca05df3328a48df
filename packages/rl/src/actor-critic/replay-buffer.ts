import type { Key } from '@posttrain/core-tensor';
import { type Given, integer, options, PosttrainError } from '@posttrain/interfaces';

/** One step of an episode, in an environment's own units. */
export interface Transition {
  readonly observation: ArrayLike<number>;
  readonly action: ArrayLike<number>;
  readonly reward: number;
  readonly nextObservation: ArrayLike<number>;
  /** The episode was over: what comes behind is worth 0. */
  readonly terminated: boolean;
  /** The last of its episode, over or cut off: the next transition of the buffer begins another. */
  readonly isLast: boolean;
}

const bufferOptions = options('replayBuffer', {
  /** Transitions, the oldest of which are forgotten. */
  capacity: integer({ min: 1 }),
});
/** Options of `replayBuffer`. */
export type ReplayBufferOptions = Given<typeof bufferOptions>;

/** The last transitions, in the order in which they came. */
export interface ReplayBuffer {
  readonly size: number;
  add(transition: Transition): void;
  /** By age, 0 being the oldest that is left. */
  at(index: number): Transition;
  /** `count` of them, each drawn from all, with replacement. @throws PosttrainError EMPTY_REPLAY */
  sample(count: number, key: Key): Transition[];
  /** `length` that follow each other in one episode, drawn from all such windows; undefined: there is none. */
  window(length: number, key: Key): Transition[] | undefined;
}

/** A ring of the last `capacity` transitions, from which batches and pieces of episodes are drawn. @throws OptionError */
export function replayBuffer(given: ReplayBufferOptions): ReplayBuffer {
  const { capacity } = bufferOptions.read(given);
  const kept: Transition[] = [];
  let oldest = 0;
  const at = (index: number): Transition => kept[(oldest + index) % kept.length]!;
  return {
    get size() {
      return kept.length;
    },
    at,
    add(transition) {
      if (kept.length < capacity) {
        kept.push(transition);
        return;
      }
      kept[oldest] = transition;
      oldest = (oldest + 1) % capacity;
    },
    sample(count, key) {
      if (kept.length === 0)
        throw new PosttrainError('EMPTY_REPLAY', 'replayBuffer: there is no transition to draw; add some first');
      return Array.from(key.uniformHost(count), (u) => at(Math.floor(u * kept.length)));
    },
    window(length, key) {
      const starts: number[] = [];
      let run = 0;
      for (let i = 0; i < kept.length; i++) {
        run++;
        if (run >= length) starts.push(i - length + 1);
        if (at(i).isLast) run = 0;
      }
      if (starts.length === 0) return undefined;
      const start = starts[Math.floor(key.uniformHost(1)[0]! * starts.length)]!;
      return Array.from({ length }, (_, i) => at(start + i));
    },
  };
}
