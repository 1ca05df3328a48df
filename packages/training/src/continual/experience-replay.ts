import { boolean, custom, type Given, integer, number, OptionError, options, text } from '@posttrain/interfaces';
import { contentHash } from '../run/identity.js';
import { RowOrder } from '../run/row-order.js';
import type { RowSource } from '../run/row-source.js';
import type { ReplayBuffer } from './replay-buffer.js';

const replayOptions = options('experienceReplay', {
  /** γ: replayed rows for each fresh one. Default 1, as in the paper. */
  gamma: number({ default: 1, min: 0 }),
  /** The task that the fresh rows belong to, for a buffer that keeps rows by task. */
  task: text({ optional: true }),
  /** Whether fresh rows are shown to the buffer when they have been given. Default true; false where it is filled between tasks. */
  adds: boolean({ default: true }),
  /** Seed of the order of fresh rows. Default 42. */
  seed: integer({ default: 42, min: 0 }),
  /** What is remembered: `reservoirBuffer(capacity)` or `ringBuffer(capacity)`. */
  buffer: custom<ReplayBuffer<never>>()(
    'a buffer, such as reservoirBuffer(100)',
    (value) => typeof (value as Partial<ReplayBuffer> | null)?.add === 'function',
    { settings: ({ name, state }) => `${name} ${contentHash([state()])}` },
  ),
});

/** Options of `experienceReplay`. */
export type ExperienceReplayOptions<Row> = Omit<Given<typeof replayOptions>, 'buffer'> & {
  /** What is remembered: `reservoirBuffer(capacity)` or `ringBuffer(capacity)`. It is changed where `adds` is true. */
  readonly buffer: ReplayBuffer<Row>;
};

/**
 * Experience replay (ER, arXiv 1902.10486, algorithm 1): rows of a small memory stand among those of a new task. Of each row it is
 * drawn whether it is fresh, with the probability 1 / (1 + γ); which remembered row another is, is drawn uniformly. While the
 * memory is empty all are fresh. The place among the fresh rows, and the memory where it is added to, are its state.
 *
 * @param rows fresh rows; every epoch is a shuffle of its own
 * @throws OptionError; PosttrainError REPLAY_BUFFER for a ring without a `task`
 */
export function experienceReplay<Row extends object = Readonly<Record<string, unknown>>>(
  rows: readonly Row[],
  given: ExperienceReplayOptions<Row>,
): RowSource<Row> {
  const declared = { ...given, buffer: given?.buffer as ReplayBuffer<never> };
  const { gamma, task, adds, seed } = replayOptions.read(declared);
  const { buffer } = given;
  if (rows.length === 0) {
    throw new OptionError('INVALID_OPTION', 'experienceReplay', 'rows', 'rows are empty; give those of the new task.');
  }
  const settings = { ...replayOptions.settings(declared), rows: contentHash(rows) };
  const order = new RowOrder(rows.length, seed);
  let cursor = 0;
  return {
    name: 'experience-replay',
    settings,
    next({ count, key }) {
      const remembered = buffer.rows;
      const fresh: Row[] = [];
      const taken = Array.from({ length: count }, (_, i) => {
        const [isOld, which] = key.child(i).uniformHost(2) as unknown as readonly [number, number];
        if (remembered.length > 0 && isOld * (1 + gamma) >= 1) {
          return { row: remembered[Math.floor(which * remembered.length)]! };
        }
        const row = rows[order.at(cursor++)]!;
        fresh.push(row);
        return { row };
      });
      if (adds) buffer.add(fresh, task);
      return taken;
    },
    state: () => (adds ? { cursor, buffer: buffer.state() } : { cursor }),
    load(state) {
      const saved = state as { readonly cursor: number; readonly buffer?: unknown };
      cursor = saved.cursor;
      if (saved.buffer !== undefined) buffer.load(saved.buffer);
    },
  };
}
