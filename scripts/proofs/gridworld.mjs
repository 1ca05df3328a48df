// A gridworld of two by two, as `NumericEnvironment`: from one corner to the other, where the reward is 1.
const MOVES = [
  [0, 1],
  [1, 0],
  [0, -1],
  [-1, 0],
];
const within = (x) => Math.min(1, Math.max(0, x));

export const gridworld = {
  name: 'gridworld',
  settings: {},
  observationSize: 4,
  actions: { kind: 'discrete', count: 4 },
  start() {
    let at = [0, 0];
    const observe = () => [0, 1, 2, 3].map((i) => (i === 2 * at[0] + at[1] ? 1 : 0));
    return {
      observation: observe(),
      step(action) {
        at = at.map((x, i) => within(x + MOVES[action][i]));
        const terminated = at[0] === 1 && at[1] === 1;
        return { observation: observe(), reward: terminated ? 1 : 0, terminated };
      },
    };
  },
};
