// The door of worlds of numbers: generalized advantages teach a policy in a table, whose episodes `play` plays.
import assert from 'node:assert/strict';
import {
  bandit,
  calculator,
  generalizedAdvantages,
  gridWorld,
  minimax,
  nim,
  play,
  returnOf,
  textGame,
} from '@posttrain/rl';
import { testEnvironment } from '@posttrain/rl/testing';
import { gridworld } from './gridworld.mjs';
import { it, proof } from './proof.mjs';

proof('an actor and a critic in tables learn a gridworld', async () => {
  const [logits, values] = [Array.from({ length: 4 }, () => [0, 0, 0, 0]), [0, 0, 0, 0]];
  const place = (observation) => observation.indexOf(1);
  const probabilities = (at) => {
    const exps = logits[at].map(Math.exp);
    return exps.map((x) => x / exps.reduce((a, b) => a + b));
  };
  const draw = (ps, u) =>
    Math.max(
      0,
      ps.findIndex((_, i) => u < ps.slice(0, i + 1).reduce((a, b) => a + b)),
    );
  const act = (episodes, keys) =>
    episodes.map(({ observations }, i) => draw(probabilities(place(observations.at(-1))), keys[i].uniformHost(1)[0]));
  const round = (seed) =>
    play({ environment: gridworld, policy: { name: 'table', act }, episodes: 16, maxSteps: 4, seed });
  const meanReturn = (played) => played.reduce((sum, one) => sum + returnOf(one), 0) / played.length;
  const before = meanReturn(await round(0));
  for (let seed = 1; seed <= 60; seed++) {
    for (const { observations, actions, rewards } of await round(seed)) {
      const states = actions.map((_, t) => place(observations[t]));
      const advantages = generalizedAdvantages(
        rewards,
        states.map((s) => values[s]),
        { gamma: 0.9, lambda: 0.9 },
      );
      for (const [t, s] of states.entries()) {
        const ps = probabilities(s);
        logits[s] = logits[s].map((x, a) => x + 0.1 * advantages[t] * ((a === actions[t] ? 1 : 0) - ps[a]));
        values[s] += 0.1 * advantages[t];
      }
    }
  }
  const after = meanReturn(await round(0));
  assert.ok(after > before + 0.2, `${before} to ${after}`);
});

proof('built-in worlds are worth what their oracles get', async () => {
  const [grid, arms] = [
    gridWorld({ width: 3, height: 3 }),
    bandit({ means: [0.1, 0.9], payout: 'constant', pulls: 4 }),
  ];
  const returnIn = async (environment) => {
    const [played] = await play({ environment, policy: environment.oracle, episodes: 1, maxSteps: 100 });
    return returnOf(played);
  };
  assert.ok(Math.abs((await returnIn(grid)) - grid.values()[0]) < 1e-9);
  assert.ok(Math.abs((await returnIn(arms)) - arms.best) < 1e-9);
  // 1 xor 2 xor 3 is 0: who begins loses.
  assert.equal(minimax(nim())(nim().start), -1);
});

if (process.argv.length === 2) {
  testEnvironment(it, () => textGame(), { rows: textGame().rows(2, 1), replies: ['go east', 'take key', 'go south'] });
  testEnvironment(it, () => calculator(), { rows: calculator().rows(2, 1) });
}
