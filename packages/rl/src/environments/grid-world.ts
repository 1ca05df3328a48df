import { boolean, type Given, integer, number, options } from '@posttrain/interfaces';
import type { NumericEnvironment } from '../rollout/numeric-environment.js';
import type { NumericPolicy } from '../rollout/play.js';

const gridWorldOptions = options('gridWorld', {
  /** Cells of a row. Default 4. */
  width: integer({ default: 4, min: 1 }),
  /** Rows. Default 4. */
  height: integer({ default: 4, min: 1 }),
  /** What a step costs. Default 0.1. */
  cost: number({ default: 0.1, min: 0 }),
  /** What the goal is worth. Default 1. */
  goal: number({ default: 1 }),
  /** How likely a step goes another way, each of the four alike. Default 0. */
  slip: number({ default: 0, min: 0, below: 1 }),
  /** Steps after which an episode is cut off. Default 100. */
  maxSteps: integer({ default: 100, min: 1 }),
  /** Begin in any cell but the goal, drawn from the episode's key. Default false: in the first. */
  randomStart: boolean({ default: false }),
});
/** Options of `gridWorld`. */
export type GridWorldOptions = Given<typeof gridWorldOptions>;

const MOVES = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
] as const;

/** A gridworld, with what it is worth. */
export interface GridWorld extends NumericEnvironment {
  /** V*(s) of every cell without discount, but for the end by `maxSteps`: by value iteration; exact where nothing slips. */
  values(): number[];
  /** Goes where V* is greatest. */
  readonly oracle: NumericPolicy;
}

/**
 * A gridworld from the first cell to the last one: right, down, left, up; a wall leaves one where one is. Every step costs but that to the goal, which is worth
 * `goal` and ends it. Without slips the best return from a cell d steps away is goal − cost · (d − 1). An observation is the number of the cell.
 *
 * @throws OptionError
 */
export function gridWorld(given: GridWorldOptions = {}): GridWorld {
  const { width, height, cost, goal, slip, maxSteps, randomStart } = gridWorldOptions.read(given);
  const cells = width * height;
  const next = (cell: number, action: number): number => {
    const [dx, dy] = MOVES[action]!;
    const x = Math.min(width - 1, Math.max(0, (cell % width) + dx));
    const y = Math.min(height - 1, Math.max(0, Math.floor(cell / width) + dy));
    return y * width + x;
  };
  const worth = (cell: number, values: readonly number[]): number => (cell === cells - 1 ? goal : values[cell]! - cost);
  const actionValues = (cell: number, values: readonly number[]): number[] => {
    const direct = MOVES.map((_, action) => worth(next(cell, action), values));
    const mean = direct.reduce((a, b) => a + b, 0) / MOVES.length;
    return direct.map((value) => (1 - slip) * value + slip * mean);
  };
  const values = (): number[] => {
    let now = new Array<number>(cells).fill(0);
    for (let round = 0; round < 100_000; round++) {
      const then = now.map((_, cell) => (cell === cells - 1 ? 0 : Math.max(...actionValues(cell, now))));
      const change = Math.max(...then.map((value, cell) => Math.abs(value - now[cell]!)));
      now = then;
      if (change < 1e-12) break;
    }
    return now;
  };
  let known: number[] | undefined;
  return {
    name: 'grid-world',
    settings: gridWorldOptions.settings(given),
    observationSize: 1,
    actions: { kind: 'discrete', count: MOVES.length },
    values,
    oracle: {
      name: 'oracle',
      act(episodes) {
        known ??= values();
        return episodes.map(({ observations }) => {
          const own = actionValues(observations.at(-1)![0]!, known!);
          return own.indexOf(Math.max(...own));
        });
      },
    },
    start({ key }) {
      let cell = randomStart && cells > 1 ? Math.floor(key.uniformHost(1)[0]! * (cells - 1)) : 0;
      let steps = 0;
      return {
        observation: [cell],
        step(action) {
          steps++;
          const [slips, where] = slip === 0 ? [1, 0] : Array.from(key.child(steps).uniformHost(2));
          cell = next(cell, slips! < slip ? Math.floor(where! * MOVES.length) : (action as number));
          const terminated = cell === cells - 1;
          return { observation: [cell], reward: terminated ? goal : -cost, terminated, truncated: steps >= maxSteps };
        },
      };
    },
  };
}
