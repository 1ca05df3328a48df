// Series to be predicted: what a pendulum does under torques that nobody planned, and two oscillations that are turned into each other.
import { createRandom } from '@posttrain/interfaces/random';
import { type NumericPolicy, pendulum, play, stateActionRows } from '@posttrain/rl';
import { gaussian } from './series.js';

/** Rows of states, and of states and actions. */
export interface System {
  readonly states: readonly number[][];
  readonly withActions: readonly number[][];
}

/** Torques that change a little at a time. */
const wandering: NumericPolicy = {
  name: 'wandering',
  act: (episodes, keys) =>
    episodes.map(({ actions }, i) => {
      const last = (actions.at(-1) as number[] | undefined)?.[0] ?? 0;
      return [Math.max(-2, Math.min(2, 0.9 * last + 0.6 * keys[i]!.normalHost(1)[0]!))];
    }),
};

/** The first steps of episodes of the pendulum. */
export async function pendulums(count: number, length: number, seed: number): Promise<System[]> {
  const played = await play({ environment: pendulum(), policy: wandering, episodes: count, maxSteps: length, seed });
  return played.map(({ observations, actions }) => ({
    states: observations.map((row) => Array.from(row)),
    withActions: stateActionRows(observations, actions),
  }));
}

/** z ← A z of two oscillations of their own speeds, with noise, seen as x = R z with a random rotation R: no x is simple by itself. */
export function turnedOscillations(count: number, length: number, seed: number): System[] {
  return Array.from({ length: count }, (_, i) => {
    const random = createRandom(seed, 'turned', i);
    const angle = 0.6 + 0.4 * random.float();
    const speeds = [0.15 + 0.2 * random.float(), 0.9 + 0.5 * random.float()];
    const sizes = [1, 0.6];
    const starts = speeds.map(() => 2 * Math.PI * random.float());
    const states = Array.from({ length }, (_, t) => {
      const z = speeds.map((speed, j) => sizes[j]! * Math.sin(starts[j]! + speed * t) + 0.02 * gaussian(random));
      return [Math.cos(angle) * z[0]! - Math.sin(angle) * z[1]!, Math.sin(angle) * z[0]! + Math.cos(angle) * z[1]!];
    });
    return { states, withActions: states };
  });
}
