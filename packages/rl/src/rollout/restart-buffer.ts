import { custom, type Given, integer, listOf, number, options } from '@posttrain/interfaces';
import { contentHash, RowOrder } from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import type { Rollout } from '../rollout.js';
import type { RowSource, SourcedRow } from './row-source.js';

const restartBufferOptions = options('restartBuffer', {
  /** Ids of tokens that end a step of reasoning: only behind one of them is restarted. */
  stepTokens: listOf(integer({ min: 0 }), {}),
  /** How likely a row is a restart, once the buffer holds one. Default 0.5. */
  probability: number({ default: 0.5, min: 0, max: 1 }),
  /** Most trajectories that are kept; the oldest leave first. Default 256. */
  capacity: integer({ default: 256, min: 1 }),
  /** Which rollouts are kept. Default: those that could be scored, right or wrong. */
  keep: custom<(rollout: Rollout) => boolean>()('a function of a rollout', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** Whether a trajectory is right: rows that restart in it then have the column `restarted_from`. Default: they are rows as they were. */
  isRight: custom<(rollout: Rollout) => boolean>()('a function of a rollout', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** Ids of tokens that are put behind the cut: Satori's `<|reflect|>`. Default: none. */
  append: listOf(integer({ min: 0 }), { default: [] }),
  /** Seed of the order of fresh rows. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `restartBuffer`. */
export type RestartBufferOptions = Given<typeof restartBufferOptions>;

const isScorable = ({ reward }: Rollout): boolean => reward !== null;

/** A trajectory to restart from. */
interface Kept<Row extends PromptRow> {
  readonly row: Row;
  readonly wasRight?: boolean;
  readonly promptTokens: readonly number[];
  readonly completionTokens: readonly number[];
}

interface BufferState<Row extends PromptRow> {
  readonly cursor: number;
  readonly kept: readonly Kept<Row>[];
}

/**
 * Restart and explore (Satori, arXiv 2502.02508): rows are fresh ones, or states in the middle of past trajectories, cut
 * behind the end of a random step, which the policy is to finish better (or not to spoil). The tokens are those that were
 * sampled. The buffer and the place among the rows are its state.
 *
 * @param rows fresh rows; every epoch is a shuffle of its own
 * @throws OptionError
 */
export function restartBuffer<Row extends PromptRow>(
  rows: readonly Row[],
  given: RestartBufferOptions,
): RowSource<Row> {
  const {
    stepTokens,
    probability,
    capacity,
    seed,
    append,
    keep = isScorable,
    isRight,
  } = restartBufferOptions.read(given);
  const order = new RowOrder(rows.length, seed);
  const ends = new Set(stepTokens);
  let cursor = 0;
  let kept: Kept<Row>[] = [];
  /** Lengths of the prefixes that end with a step; the whole trajectory is none. */
  const cutsOf = (tokens: readonly number[]): number[] =>
    tokens.slice(0, -1).flatMap((token, t) => (ends.has(token) ? [t + 1] : []));
  return {
    name: 'restart-buffer',
    settings: { ...restartBufferOptions.settings(given), rows: contentHash([...rows]) },
    next({ count, key }) {
      return Array.from({ length: count }, (_, i): SourcedRow<Row> => {
        const [draw, which, where] = key.child(i).uniformHost(3) as unknown as readonly [number, number, number];
        if (kept.length === 0 || draw >= probability) return { row: rows[order.at(cursor++)]! };
        const { row, wasRight, promptTokens, completionTokens } = kept[Math.floor(which * kept.length)]!;
        const cuts = cutsOf(completionTokens);
        const cut = cuts[Math.floor(where * cuts.length)]!;
        const from = wasRight === undefined ? {} : { restarted_from: wasRight ? 'right' : 'wrong' };
        return {
          row: wasRight === undefined ? row : { ...row, ...from },
          promptTokens: [...promptTokens, ...completionTokens.slice(0, cut), ...append],
        };
      });
    },
    feedback(rollouts) {
      for (const rollout of rollouts) {
        const { row, promptTokens, completionTokens } = rollout;
        if (row === undefined || !keep(rollout) || cutsOf(completionTokens).length === 0) continue;
        kept.push({ row, promptTokens, completionTokens, ...(isRight && { wasRight: isRight(rollout) }) });
      }
      kept = kept.slice(-capacity);
    },
    state: (): BufferState<Row> => ({ cursor, kept: [...kept] }),
    load(state) {
      const saved = state as BufferState<Row>;
      [cursor, kept] = [saved.cursor, [...saved.kept]];
    },
  };
}
