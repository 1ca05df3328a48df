import { Key } from '@posttrain/core-tensor';
import { expect, it } from 'vitest';
import { generalizedAdvantages, type NumericEnvironment } from '../src/index.js';

const SIDE = 3;
const MOVES = [
  [0, 1],
  [1, 0],
  [0, -1],
  [-1, 0],
] as const;
const GOAL = SIDE * SIDE - 1;

/** From one corner of a square to the other; every step costs 0.1, and being there is worth 1. Cut off after 20 steps. */
const gridworld: NumericEnvironment = {
  name: 'gridworld',
  settings: {},
  observationSize: 1,
  actions: { kind: 'discrete', count: MOVES.length },
  start() {
    let [x, y, steps] = [0, 0, 0];
    const within = (value: number) => Math.min(SIDE - 1, Math.max(0, value));
    return {
      observation: [0],
      step(action) {
        const [dx, dy] = MOVES[action as number]!;
        [x, y, steps] = [within(x + dx), within(y + dy), steps + 1];
        const place = x * SIDE + y;
        const terminated = place === GOAL;
        return { observation: [place], reward: terminated ? 1 : -0.1, terminated, truncated: steps === 20 };
      },
    };
  },
};

it('an actor and a critic in tables find the shortest way by GAE, and what it is worth', async () => {
  const logits = Array.from({ length: SIDE * SIDE }, () => MOVES.map(() => 0));
  const values = new Array<number>(SIDE * SIDE).fill(0);
  const policy = (place: number) => {
    const exps = logits[place]!.map(Math.exp);
    const sum = exps.reduce((a, b) => a + b);
    return exps.map((value) => value / sum);
  };
  const lengths: number[] = [];
  for (let round = 0; round < 600; round++) {
    const key = Key.fromSeed(7).child(round);
    const episode = await gridworld.start({ sample: 0, step: round, key });
    const [places, actions, rewards]: [number[], number[], number[]] = [[], [], []];
    let place = episode.observation[0]!;
    let last = 0;
    for (const draw of key.uniformHost(20)) {
      let left = draw;
      const drawn = policy(place).findIndex((p) => {
        left -= p;
        return left < 0;
      });
      const action = drawn < 0 ? MOVES.length - 1 : drawn;
      const { observation, reward, terminated, truncated } = await episode.step(action);
      places.push(place);
      actions.push(action);
      rewards.push(reward);
      place = observation[0]!;
      last = terminated ? 0 : values[place]!;
      if (terminated || truncated) break;
    }
    const before = places.map((at) => values[at]!);
    const advantages = generalizedAdvantages(rewards, before, { gamma: 1, lambda: 0.9 }, last);
    places.forEach((at, t) => {
      const probabilities = policy(at);
      logits[at] = logits[at]!.map(
        (logit, a) => logit + 0.3 * advantages[t]! * ((a === actions[t] ? 1 : 0) - probabilities[a]!),
      );
      values[at] = values[at]! + 0.1 * (before[t]! + advantages[t]! - values[at]!);
    });
    lengths.push(places.length);
  }
  const shortest = 2 * (SIDE - 1);
  const mean = (of: readonly number[]) => of.reduce((a, b) => a + b) / of.length;
  expect(mean(lengths.slice(0, 50))).toBeGreaterThan(2 * shortest);
  expect(mean(lengths.slice(-50))).toBeLessThan(shortest + 0.5);
  // Three steps of -0.1 and the goal.
  expect(Math.abs(values[0]! - 0.7)).toBeLessThan(0.1);
});
