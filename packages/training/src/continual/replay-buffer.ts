import { Key } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';

/** A bounded memory of rows, which says itself what it keeps. Rows are JSON: they are in the checkpoints of a run. */
export interface ReplayBuffer<Row = unknown> {
  readonly name: string;
  /** What is kept now. */
  readonly rows: readonly Row[];
  /** Shows it rows of a task, one after the other. */
  add(rows: readonly Row[], task?: string): void;
  /** All that it depends on: JSON, not changed afterwards. */
  state(): unknown;
  /** Restores what `state` gave. */
  load(state: unknown): void;
}

/** Some of `count` places, drawn without replacement, in the order of the draw; all of them where there are fewer. */
export function drawWithout(key: Key, count: number, wanted: number): number[] {
  const places = Array.from({ length: count }, (_, i) => i);
  const size = Math.min(count, wanted);
  const uniform = key.uniformHost(size);
  for (let i = 0; i < size; i++) {
    const j = i + Math.floor(uniform[i]! * (count - i));
    [places[i], places[j]] = [places[j]!, places[i]!];
  }
  return places.slice(0, size);
}

function checkCapacity(where: string, capacity: number): void {
  if (Number.isSafeInteger(capacity) && capacity > 0) return;
  throw new PosttrainError('REPLAY_BUFFER', `${where}: capacity is ${capacity}; it must be a whole number above 0`);
}

/**
 * Reservoir sampling (Vitter's algorithm R; for replay arXiv 1902.10486, algorithm 2): of n rows that were shown each is kept with
 * the probability capacity / n, whenever it came and whatever the tasks are.
 *
 * @param options.seed of what is drawn. Default 0
 * @throws PosttrainError REPLAY_BUFFER for a capacity that is no whole number above 0
 */
export function reservoirBuffer<Row = Readonly<Record<string, unknown>>>(
  capacity: number,
  { seed = 0 }: { readonly seed?: number } = {},
): ReplayBuffer<Row> {
  checkCapacity('reservoirBuffer', capacity);
  const key = Key.fromSeed(seed);
  let kept: Row[] = [];
  let seen = 0;
  return {
    name: `reservoir(${capacity}, seed ${seed})`,
    get rows() {
      return kept;
    },
    add(rows) {
      kept = [...kept];
      for (const row of rows) {
        const place = seen < capacity ? seen : Math.floor(key.child(seen).uniformHost(1)[0]! * (seen + 1));
        if (place < capacity) kept[place] = row;
        seen++;
      }
    },
    state: () => ({ seen, kept }),
    load(state) {
      ({ seen, kept } = state as { seen: number; kept: Row[] });
    },
  };
}

/**
 * A ring of the last rows of every task (arXiv 1902.10486, algorithm 3): no task takes the place of another, and within one the
 * oldest goes first. It grows with the number of tasks.
 *
 * @param capacity rows of every task
 * @throws PosttrainError REPLAY_BUFFER for a capacity that is no whole number above 0, and for rows whose task is not said
 */
export function ringBuffer<Row = Readonly<Record<string, unknown>>>(capacity: number): ReplayBuffer<Row> {
  checkCapacity('ringBuffer', capacity);
  let rings: Readonly<Record<string, readonly Row[]>> = {};
  return {
    name: `ring(${capacity} a task)`,
    get rows() {
      return Object.values(rings).flat();
    },
    add(rows, task) {
      if (task === undefined) {
        const problem = 'a ring keeps rows by task, and their task is not said; give it, or take reservoirBuffer';
        throw new PosttrainError('REPLAY_BUFFER', `ringBuffer: ${problem}`);
      }
      rings = { ...rings, [task]: [...(rings[task] ?? []), ...rows].slice(-capacity) };
    },
    state: () => rings,
    load(state) {
      rings = state as typeof rings;
    },
  };
}
