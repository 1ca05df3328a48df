import { Key, referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { naturalGradient } from '@posttrain/core-tensor/natural-gradient';
import { negativeLogLikelihood } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import { evolved } from '../src/evolution/evolution-strategies.js';
import {
  type Advantage,
  contrastiveSteps,
  type EnumeratedCompletion,
  evolutionStrategies,
  type FiniteMdp,
  finiteMdp,
  gae,
  generalizedAdvantages,
  lambdaReturns,
  leaveOneOut,
  mdpEnvironment,
  type NumericEnvironment,
  noBaseline,
  noRatio,
  nStepAdvantage,
  nStepReturns,
  type Outcome,
  optimalValues,
  type PolicyObjectiveParts,
  play,
  policyGradients,
  policyObjective,
  policyObjectives,
  policyValues,
  type Rollout,
  returnOf,
  rolloutOfCompletion,
  segmentReturns,
  softmaxPolicy,
  tablePolicy,
  tdLambda,
  tokenMdp,
  truncatedImportance,
  vinePpo,
} from '../src/index.js';
import { evaluateLoss, expectClose, readGolden } from './goldens.js';

beforeAll(() => setEngine(referenceEngine()));

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

/** At most three tokens of three letters, the last of which ends; two prompts, a reward of the whole and one of single tokens. */
const writing = (gamma = 1, maxLength = 3) =>
  tokenMdp({
    ...{ vocabulary: 3, maxLength, endToken: 2, prompts: 2, gamma },
    reward: (tokens, prompt) => tokens.filter((token) => token === prompt).length - 0.3 * tokens.length,
    tokenReward: (tokens) => (tokens.at(-1) === 1 ? 0.2 : 0),
  });
/** Logits that are not alike anywhere. */
const logitsOf = ({ states, actions }: FiniteMdp) =>
  Array.from({ length: states }, (_, s) => Array.from({ length: actions }, (__, a) => Math.sin(3 * s + 5 * a + 1)));

/** Five places in a row, from the middle one to either end; 1 is paid at the right one (Sutton and Barto, example 6.2). */
const walk = finiteMdp({
  ...{ name: 'random walk', states: 5, actions: 1, start: [0, 0, 1, 0, 0], gamma: 1 },
  outcomes: (state) =>
    [-1, 1].map((by) => {
      const next = state + by;
      return { probability: 0.5, reward: next === 5 ? 1 : 0, next: next < 0 || next > 4 ? null : next };
    }),
});

describe('an MDP that is enumerated', () => {
  it.each([1, 0.8])('of tokens: J, V and the gradient are those of all completions (γ %d)', (gamma) => {
    const mdp = writing(gamma);
    const logits = logitsOf(mdp);
    const policy = softmaxPolicy(logits);
    const { value, values, visits } = policyValues(mdp, policy);
    /** What completions come to, token by token. */
    const enumerated = (table: number[][]) =>
      [0, 1].reduce((sum, prompt) => {
        const all = mdp.completions(table, prompt);
        expect(all.reduce((total, { probability }) => total + probability, 0)).toBeCloseTo(1, 12);
        return sum + all.reduce((total, one) => total + 0.5 * one.probability * returnFrom(one, 0, gamma), 0);
      }, 0);
    expect(value).toBeCloseTo(enumerated(policy), 12);
    // V and d of a state in the middle, from the completions that pass it.
    const state = mdp.stateOf(1, [0, 1]);
    const passing = mdp.completions(policy, 1).filter(({ states }) => states[2] === state);
    const mass = passing.reduce((sum, { probability }) => sum + probability, 0);
    const mean = passing.reduce((sum, one) => sum + (one.probability / mass) * returnFrom(one, 2, gamma), 0);
    expect(values[state]).toBeCloseTo(mean, 12);
    expect(visits[state]).toBeCloseTo((gamma ** 2 * mass) / 2, 12);
    const gradient = policyGradients(mdp, logits);
    for (const [s, a] of [
      [0, 1],
      [mdp.stateOf(1, [1]), 2],
      [state, 0],
    ] as const) {
      const moved = (by: number) =>
        enumerated(softmaxPolicy(logits.map((row, i) => row.map((x, j) => (i === s && j === a ? x + by : x)))));
      expect(gradient[s]![a]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 8);
    }
  });

  it('keeps the identities of Bellman, and no policy is better than the best', () => {
    const mdp = writing();
    const policy = softmaxPolicy(logitsOf(mdp));
    const { values, actionValues, advantages, value } = policyValues(mdp, policy);
    policy.forEach((row, s) => {
      expect(row.reduce((sum, p, a) => sum + p * advantages[s]![a]!, 0)).toBeCloseTo(0, 12);
      row.forEach((_, a) => {
        const [{ reward, next }] = mdp.outcomes(s, a) as [Outcome];
        expect(actionValues[s]![a]).toBeCloseTo(reward + (next === null ? 0 : values[next]!), 12);
      });
    });
    const best = optimalValues(mdp).values;
    // To a prompt 0 the best is 0, 0, 0; to a prompt 1 it is 1, 1, 1, of which each token is worth 0.2 more.
    expect([best[0], best[1]]).toEqual([expect.closeTo(2.1, 12), expect.closeTo(2.7, 12)]);
    expect(value).toBeLessThan((best[0]! + best[1]!) / 2);
  });

  it('of a random walk has the values i / 6, and played as a world it pays what it is worth', async () => {
    const policy = new Array(5).fill([1]);
    expectClose(
      policyValues(walk, policy).values,
      [1, 2, 3, 4, 5].map((i) => i / 6),
      1e-10,
    );
    const mdp = writing();
    const table = softmaxPolicy(logitsOf(mdp));
    const given = { environment: mdpEnvironment(mdp), policy: tablePolicy(mdp, table), episodes: 400, maxSteps: 9 };
    const returns = (await play(given)).map(returnOf);
    const mean = returns.reduce((a, b) => a + b) / 400;
    const error = Math.sqrt(returns.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 399 / 400);
    const z = (to: number) => Math.abs(mean - to) / error;
    expect(z(policyValues(mdp, table).value)).toBeLessThan(3.3);
    expect(
      z(
        policyValues(
          mdp,
          table.map(() => [1 / 3, 1 / 3, 1 / 3]),
        ).value,
      ),
    ).toBeGreaterThan(3.3);
  });

  it.each([
    [
      'a row that is no distribution',
      () => policyValues(walk, new Array(5).fill([0.9])),
      /the policy's row 0 must have 1 prob/,
    ],
    ['a policy of another size', () => policyValues(walk, [[1]]), /the policy has 1 rows, and there are 5 states/],
    [
      'a next state that is not there',
      () => finiteMdp({ ...walk, outcomes: () => [{ probability: 1, reward: 0, next: 5 }] }),
      /action 0 in state 0 leads to state 5, and there are 5/,
    ],
    [
      'probabilities',
      () => finiteMdp({ ...walk, outcomes: () => [{ probability: 0.4, reward: 0, next: 0 }] }),
      /do not sum to 1/,
    ],
    [
      'a reward',
      () => finiteMdp({ ...walk, outcomes: () => [{ probability: 1, reward: Number.NaN, next: 0 }] }),
      /pays NaN/,
    ],
    [
      'an episode without an end',
      () =>
        policyValues(
          finiteMdp({ ...walk, outcomes: () => [{ probability: 1, reward: 1, next: 0 }] }),
          new Array(5).fill([1]),
        ),
      /is there an end that is reached/,
    ],
    [
      'too many states',
      () => tokenMdp({ vocabulary: 64, maxLength: 4, reward: () => 0 }),
      /it has 266305 states, more than 100000/,
    ],
    ['a state that is complete', () => writing().stateOf(0, [2]), /\[2\] of prompt 0 is no beginning/],
  ])('refuses %s', (_, act, problem) => {
    expect(act).toThrow(problem);
  });
});

/** What a completion is worth from its token t on. */
const returnFrom = ({ tokenRewards, reward }: EnumeratedCompletion, t: number, gamma: number): number =>
  tokenRewards.slice(t).reduce((sum, r, k) => sum + gamma ** k * r, 0) +
  gamma ** (tokenRewards.length - 1 - t) * reward;

describe('TD(λ)', () => {
  interface Returns {
    readonly rewards: number[];
    readonly values: number[];
    readonly cases: readonly {
      readonly gamma: number;
      readonly lambda: number;
      readonly n: number;
      readonly ends: boolean;
      readonly lambda_returns: number[];
      readonly n_step_returns: number[];
      readonly td_loss: number;
      readonly td_gradient: number[];
    }[];
  }
  const golden = readGolden<Returns>('../background-rl/returns.json');

  it.each(golden.cases)("has rlax's returns and the gradient of its errors (γ $gamma, λ $lambda, n $n)", (one) => {
    const { rewards, values } = golden;
    const last = one.ends ? 0 : values[7]!;
    const before = values.slice(0, 7);
    const returns = lambdaReturns(rewards, before, one, last);
    expectClose(returns, one.lambda_returns, 1e-12);
    expectClose(nStepReturns(rewards, before, { gamma: one.gamma, nSteps: one.n }, last), one.n_step_returns, 1e-12);
    // ½ Σ (G - V)², of which G is no part that is moved: the gradient is V - G.
    const errors = before.map((value, t) => value - returns[t]!);
    expect(errors.reduce((sum, x) => sum + x * x, 0) / 2).toBeCloseTo(one.td_loss, 10);
    expectClose(errors, one.td_gradient, 1e-12);
    // Offline, the traces of the backward view come to the same, whatever state comes again.
    const places = [0, 1, 0, 2, 2, 1, 0];
    const td = tdLambda({ features: 4, learningRate: 0.1, gamma: one.gamma, lambda: one.lambda, updates: 'offline' });
    td.load([0.3, -0.2, 0.5, one.ends ? 0 : 0.7]);
    const start = [...td.weights];
    rewards.forEach((reward, t) => {
      td.step({ from: places[t]!, reward, to: t < 6 ? places[t + 1]! : one.ends ? null : 3 });
    });
    td.end();
    const forward = lambdaReturns(
      rewards,
      places.map((place) => start[place]!),
      one,
      start[3]!,
    );
    const moved = [...start];
    places.forEach((place, t) => {
      moved[place] = moved[place]! + 0.1 * (forward[t]! - start[place]!);
    });
    expectClose([...td.weights], moved, 1e-12);
  });

  it('learns the values of a random walk; a walk that pays by chance teaches it others', async () => {
    const truth = [1, 2, 3, 4, 5].map((i) => i / 6);
    const rmse = (weights: ArrayLike<number>) =>
      Math.sqrt(truth.reduce((sum, value, i) => sum + (weights[i]! - value) ** 2, 0) / 5);
    const environment = mdpEnvironment(walk);
    const policy = tablePolicy(walk, new Array(5).fill([1]));
    const errors = { learnt: [] as number[], shuffled: [] as number[] };
    for (const seed of [1, 2, 3]) {
      const episodes = await play({ environment, policy, episodes: 200, maxSteps: 500, seed });
      for (const arm of ['learnt', 'shuffled'] as const) {
        const td = tdLambda({ features: 5, learningRate: 0.05, lambda: 0.8, initial: 0.5 });
        episodes.forEach(({ observations, rewards }, e) => {
          // The control is paid what another episode was.
          const paid = arm === 'learnt' ? rewards.at(-1)! : episodes[(e + 97) % 200]!.rewards.at(-1)!;
          observations.forEach((seen, t) => {
            const next = observations[t + 1];
            td.step({ from: seen[0]!, reward: next ? 0 : paid, to: next ? next[0]! : null });
          });
        });
        errors[arm].push(rmse(td.weights));
      }
    }
    // Values of 1/2 everywhere, as all began, are 0.236 off.
    for (const error of errors.learnt) expect(error).toBeLessThan(0.12);
    for (const error of errors.shuffled) expect(error).toBeGreaterThan(0.17);
  });

  it('replacing traces begin anew where a state comes again, states have a place, and features a number', () => {
    const td = tdLambda({ features: 2, learningRate: 1, lambda: 1, traces: 'replacing' });
    td.step({ from: 0, reward: 0, to: 0 });
    expect(td.step({ from: [1, 0], reward: 1, to: null })).toBe(1);
    expect([...td.weights]).toEqual([1, 0]);
    const again = tdLambda({ features: 2, learningRate: 1, lambda: 1 });
    again.load(td.state());
    expect(again.value([1, 1])).toBe(1);
    expect(() => td.value(2)).toThrow(/there is no feature 2; they are 0 to 1/);
    expect(() => td.value([1, 0, 0])).toThrow(/a state has 3 features, and 2 are expected/);
    expect(() => tdLambda({ features: 2, learningRate: 1, lambda: 2 })).toThrow(/lambda is 2/);
  });
});

describe('A2C', () => {
  interface A2c {
    readonly [name: string]: unknown;
    readonly logits: number[][];
    readonly values: number[];
    readonly states: number[][];
    readonly actions: number[][];
    readonly rewards: number[][];
    readonly starts: number[][];
    readonly last_states: number[];
    readonly last_dones: number[];
    readonly returns: number[][];
    readonly advantages: number[][];
    readonly logits_gradient: number[][];
    readonly values_gradient: number[];
    readonly gamma: number;
    readonly ent_coef: number;
  }
  const golden = readGolden<A2c>('../background-rl/a2c.json');
  const { gamma, values, logits } = golden;
  const policy = softmaxPolicy(logits);
  /** What each worker met in its five steps, cut where an episode was over. */
  const segments = golden.states.flatMap((states, worker) => {
    const starts = states.flatMap((_, t) => (t === 0 || golden.starts[worker]![t] ? [t] : []));
    return starts.map((from, i) => {
      const to = starts[i + 1] ?? states.length;
      const isOver = to < states.length || golden.last_dones[worker] === 1;
      const part = <T>(list: T[]) => list.slice(from, to);
      return {
        ...{ states: part(states), actions: part(golden.actions[worker]!), rewards: part(golden.rewards[worker]!) },
        last: isOver ? 0 : values[golden.last_states[worker]!]!,
      };
    });
  });
  const returnsOf = ({ states, rewards, last }: (typeof segments)[number]) =>
    segmentReturns(
      rewards,
      states.map((s) => values[s]!),
      { gamma, nSteps: 5 },
      last,
    );
  /** The gradients of a batch of segments, by table: of actor and critic. */
  const gradients = async (of: typeof segments, count: number) => {
    const steps = of.flatMap((segment) => {
      const returns = returnsOf(segment);
      return segment.states.map((state, t) => ({ state, action: segment.actions[t]!, target: returns[t]! }));
    });
    const parts = policyObjectives.a2c({
      critic: { name: 'given', values: async () => [] },
      entropyCoef: golden.ent_coef,
    });
    const advantage = { name: 'given', compute: () => steps.map(({ state, target }) => target - values[state]!) };
    const objective = policyObjective({ ...parts, advantage });
    const at = steps.map(({ state, action }) => [Math.log(policy[state]![action]!)]);
    const rollouts = steps.map(({ action }, i): Rollout => {
      return { group: 0, promptTokens: [9], completionTokens: [action], reward: 0, oldLogProbs: at[i]! };
    });
    const { rows } = objective.annotate(rollouts, { maxCompletionLength: 1 });
    const entropies = steps.map(({ state }) => [-policy[state]!.reduce((sum, p) => sum + p * Math.log(p), 0)]);
    const { gradient, entropiesGradient } = await evaluateLoss(objective.loss, rows, at, entropies);
    const share = steps.length / count;
    const actor = logits.map((row) => row.map(() => 0));
    const critic = values.map(() => 0);
    steps.forEach(({ state, action, target }, i) => {
      critic[state] = critic[state]! + (values[state]! - target) / count;
      policy[state]!.forEach((p, a) => {
        const score = (a === action ? 1 : 0) - p;
        const ofEntropy = -p * (Math.log(p) + entropies[i]![0]!);
        actor[state]![a] = actor[state]![a]! + share * (gradient[i]! * score + entropiesGradient[i]! * ofEntropy);
      });
    });
    return { actor: actor.flat(), critic };
  };

  it("has Stable-Baselines3's returns and gradients, of a batch of all workers or of one after the other", async () => {
    expectClose(segments.flatMap(returnsOf), golden.returns.flat(), 2e-6);
    const advantages = segments.flatMap((one) => returnsOf(one).map((target, t) => target - values[one.states[t]!]!));
    expectClose(advantages, golden.advantages.flat(), 2e-6);
    const whole = await gradients(segments, 15);
    expectClose(whole.actor, golden.logits_gradient.flat(), 1e-6);
    expectClose(whole.critic, golden.values_gradient, 1e-6);
    // k workers, each with gradients of its own that are averaged, are one batch of k.
    const apart = await Promise.all(segments.map((one) => gradients([one], 15)));
    const summed = (of: 'actor' | 'critic') =>
      whole[of].map((_, i) => apart.reduce((sum, one) => sum + one[of][i]!, 0));
    expectClose(summed('actor'), whole.actor, 1e-7);
    expectClose(summed('critic'), whole.critic, 1e-12);
  });

  it.each([
    ['segments of two tokens', 2, [0.7 - 0.1, 0.7 - 0.5, 1.1 - 0.7]],
    ['one step: the temporal difference', 1, [0.5 - 0.1, 0.7 - 0.5, 1.1 - 0.7]],
    ['longer than the completion: the return less the value', 9, [1.1 - 0.1, 1.1 - 0.5, 1.1 - 0.7]],
  ])('as an advantage of tokens: %s', (_, nSteps, expected) => {
    const rollout: Rollout = {
      ...{ group: 0, promptTokens: [1], completionTokens: [2, 3, 4], oldLogProbs: [0, 0, 0], reward: 1.1 },
      values: [0.1, 0.5, 0.7],
    };
    const [advantages] = nStepAdvantage({ nSteps }).compute([rollout, { ...rollout, reward: null }]);
    expectClose(Array.from(advantages as number[]), expected, 1e-12);
  });

  it('finds in a gridworld what dynamic programming does', async () => {
    const mdp = finiteMdp({
      ...{ name: 'gridworld', states: GOAL, actions: MOVES.length, gamma: 0.95 },
      start: Array.from({ length: GOAL }, () => 1 / GOAL),
      outcomes(state, action) {
        const within = (at: number) => Math.min(SIDE - 1, Math.max(0, at));
        const [x, y] = [Math.floor(state / SIDE), state % SIDE].map((at, i) => within(at + MOVES[action]![i]!));
        const place = x! * SIDE + y!;
        return [{ probability: 1, reward: place === GOAL ? 1 : -0.1, next: place === GOAL ? null : place }];
      },
    });
    const environment = mdpEnvironment(mdp);
    const preferences = Array.from({ length: GOAL }, () => MOVES.map(() => 0));
    const critic = new Array<number>(GOAL).fill(0);
    for (let round = 0; round < 150; round++) {
      const acting = softmaxPolicy(preferences);
      const episodes = await play({
        environment,
        policy: tablePolicy(mdp, acting),
        episodes: 8,
        maxSteps: 30,
        seed: round,
      });
      for (const { observations, actions, rewards } of episodes) {
        const places = observations.map((seen) => seen[0]!);
        const over = rewards.at(-1) === 1;
        const before = places.map((at) => critic[at]!);
        const returns = segmentReturns(rewards, before, { gamma: 0.95, nSteps: 5 }, over ? 0 : critic[places.at(-1)!]!);
        places.forEach((at, t) => {
          const gained = returns[t]! - before[t]!;
          critic[at] = critic[at]! + 0.1 * (returns[t]! - critic[at]!);
          preferences[at] = preferences[at]!.map(
            (x, a) => x + 0.3 * gained * ((a === actions[t] ? 1 : 0) - acting[at]![a]!),
          );
        });
      }
    }
    const best = optimalValues(mdp).values;
    const reached = policyValues(mdp, softmaxPolicy(preferences)).values;
    const untaught = policyValues(
      mdp,
      preferences.map(() => [0.25, 0.25, 0.25, 0.25]),
    ).values;
    const off = (from: readonly number[]) => Math.max(...best.map((value, s) => value - from[s]!));
    expect(off(reached)).toBeLessThan(0.05);
    expect(off(untaught)).toBeGreaterThan(1);
    const missed = best.map((value, s) => Math.abs(critic[s]! - value));
    expect(Math.max(...missed)).toBeLessThan(0.15);
  });
});

describe('the natural policy gradient of a table', () => {
  /** Two actions' logits a state, of parameters that are mixed and scaled by M: θ' = M θ. */
  it('is the advantage (Kakade), and does not depend on an affine map of the parameters, as the vanilla one does', async () => {
    const mdp = tokenMdp({ vocabulary: 3, maxLength: 1, reward: ([token]) => [0.2, 1, -0.4][token!]! });
    const logits = [[0.4, -0.1, 0.3]];
    const [p] = softmaxPolicy(logits) as [number[]];
    const { advantages } = policyValues(mdp, [p]);
    const [gradient] = policyGradients(mdp, logits) as [number[]];
    const mix = [
      [3, 0, 0.1],
      [0, 0.2, 0],
      [0.1, 0, 1],
    ];
    const times = (m: number[][], v: number[]) => m.map((row) => row.reduce((sum, x, j) => sum + x * v[j]!, 0));
    const transposed = (m: number[][]) => m[0]!.map((_, j) => m.map((row) => row[j]!));
    const ofLogits = (v: number[]) => v.map((x, i) => p[i]! * (x - p.reduce((sum, q, j) => sum + q * v[j]!, 0)));
    /** What logits move by, where they are A u of parameters u: A (Aᵀ F A + λ)⁻¹ Aᵀ g. */
    const movedBy = async (a: number[][]) => {
      const g = tensor(times(transposed(a), gradient));
      const product = async (v: Tensor) => tensor(times(transposed(a), ofLogits(times(a, [...(await v.toArray())]))));
      const { solution } = await naturalGradient(product, g, { maxIterations: 3, damping: 1e-10 });
      return { natural: times(a, [...(await solution.toArray())]), vanilla: times(a, times(transposed(a), gradient)) };
    };
    const identity = mix.map((row, i) => row.map((_, j) => (i === j ? 1 : 0)));
    const [plain, mixed] = [await movedBy(identity), await movedBy(mix)];
    // Logits are the same policy up to a constant.
    const centred = (v: number[]) => v.map((x) => x - p.reduce((sum, q, j) => sum + q * v[j]!, 0));
    expectClose(centred(plain.natural), advantages[0]! as number[], 1e-6);
    expectClose(centred(mixed.natural), centred(plain.natural), 1e-5);
    const [one, two] = [centred(plain.vanilla), centred(mixed.vanilla)];
    const cosine = one.reduce((sum, x, i) => sum + x * two[i]!, 0) / Math.hypot(...one) / Math.hypot(...two);
    expect(cosine).toBeLessThan(0.98);
  });
});

describe('policy gradients of a table', () => {
  const mdp = writing(1, 2);
  const logits = logitsOf(mdp);
  const policy = softmaxPolicy(logits);
  /** The gradient of a loss of completions by the logits of the table. */
  const byLogits = async (
    parts: Partial<PolicyObjectiveParts>,
    of: readonly (readonly [EnumeratedCompletion, Rollout])[],
  ) => {
    const objective = policyObjective({ ...policyObjectives.reinforce(), ...parts });
    const total = logits.map((row) => row.map(() => 0));
    const { rows } = objective.annotate(
      of.map(([, rollout]) => rollout),
      { maxCompletionLength: 3 },
    );
    for (const [i, [{ states, tokens }]] of of.entries()) {
      const at = [Array.from(tokens, (token, t) => Math.log(policy[states[t]!]![token]!))];
      const { gradient } = await evaluateLoss(objective.loss, [rows[i]!], at, [tokens.map(() => 0)]);
      states.forEach((state, t) => {
        policy[state]!.forEach((p, a) => {
          total[state]![a] = total[state]![a]! - gradient[t]! * ((a === tokens[t] ? 1 : 0) - p);
        });
      });
    }
    return total;
  };
  /** A return that is all paid at the end. */
  const whole = (one: EnumeratedCompletion, weight = 1): Rollout => {
    return { ...rolloutOfCompletion(one), reward: weight * returnFrom(one, 0, 1) };
  };

  it('of a log that another policy wrote, weighted by π / μ, are the exact ones; unweighted they are not', async () => {
    const all = [0, 1].flatMap((prompt) => mdp.completions(policy, prompt));
    // μ writes every completion of a prompt alike, and each is logged once.
    const count = all.length / 2;
    const logged = all.map((one) => {
      const samplerLogProbs = one.tokens.map((_, t) => (t === 0 ? -Math.log(count) : 0));
      return [one, { ...whole(one), samplerLogProbs }] as const;
    });
    const exact = policyGradients(mdp, logits);
    const ratio = truncatedImportance(noRatio(), { level: 'sequence', cap: 1e9 });
    expectClose((await byLogits({ ratio }, logged)).flat(), exact.flat(), 1e-6);
    const off = (await byLogits({}, logged)).flat().map((x, i) => Math.abs(x - exact.flat()[i]!));
    expect(Math.max(...off)).toBeGreaterThan(0.05);
  });

  it.each(['none', 'batch-mean', 'moving-average'] as const)(
    'a bandit is learnt (baseline %s), and not from a reward of chance',
    async (baseline) => {
      const paid = [0.2, 1, 0.5];
      const chance = async (seed: number, isRandom: boolean) => {
        const { advantage, annotators = [] } = policyObjectives.reinforce({ baseline });
        let table = [[0, 0, 0]];
        for (let step = 0; step < 80; step++) {
          const key = Key.fromSeed(seed).child(step);
          const [p] = softmaxPolicy(table) as [number[]];
          const [draws, noise] = [key.child(0).uniformHost(8), key.child(1).uniformHost(8)];
          const arms = Array.from(draws, (u) => (u < p[0]! ? 0 : u < p[0]! + p[1]! ? 1 : 2));
          let rollouts: readonly Rollout[] = arms.map((arm, i) => {
            return {
              group: 0,
              promptTokens: [0],
              completionTokens: [arm],
              oldLogProbs: [0],
              reward: isRandom ? noise[i]! : paid[arm]!,
            };
          });
          for (const one of annotators)
            rollouts = (await one.annotate(rollouts as never, {} as never)) as unknown as Rollout[];
          const advantages = advantage.compute(rollouts) as number[];
          for (const one of annotators) await one.learn?.(rollouts, advantages, {} as never);
          arms.forEach((arm, i) => {
            table = [table[0]!.map((x, a) => x + 0.1 * advantages[i]! * ((a === arm ? 1 : 0) - p[a]!))];
          });
        }
        return softmaxPolicy(table)[0]![1]!;
      };
      const differences = await Promise.all(
        [1, 2, 3].map(async (seed) => (await chance(seed, false)) - (await chance(seed, true))),
      );
      const mean = differences.reduce((a, b) => a + b) / 3;
      const error = Math.sqrt(differences.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
      // Student's t with two degrees of freedom, 95 %.
      expect(mean - 4.303 * error, String(differences)).toBeGreaterThan(0);
    },
  );

  it('behaviour cloning stands still at the counts of what it is shown, and nowhere beside them', async () => {
    const shown = [[0], [0], [1], [2], [0], [1]].map((tokens) => ({ tokens: [9, ...tokens], weights: [1 / 6] }));
    const slope = async (p: readonly number[]) => {
      const at = shown.map(({ tokens }) => [Math.log(p[tokens[1]!]!)]);
      const { gradient } = await evaluateLoss(
        negativeLogLikelihood,
        shown,
        at,
        at.map(() => [0]),
      );
      return p.map((q, a) =>
        shown.reduce((sum, { tokens }, i) => sum + gradient[i]! * ((tokens[1] === a ? 1 : 0) - q), 0),
      );
    };
    expectClose(await slope([3 / 6, 2 / 6, 1 / 6]), [0, 0, 0], 1e-6);
    expectClose(await slope([1 / 3, 1 / 3, 1 / 3]), [1 / 3 - 3 / 6, 0, 1 / 3 - 1 / 6], 1e-6);
  });

  interface Formulas {
    readonly logps: number[][];
    readonly q: number[][];
    readonly rewards: number[];
    readonly forced: number[][];
    readonly baseline: number;
    readonly seqgan: { readonly loss: number; readonly gradient: number[][] };
    readonly mixer: { readonly loss: number; readonly gradient: number[][] };
  }
  it("SeqGAN's and MIXER's losses and gradients are torch's of their formulas", async () => {
    const golden = readGolden<Formulas>('../background-rl/formulas.json');
    const { logps, q, rewards, forced, baseline } = golden;
    const rollouts = logps.map((oldLogProbs, i): Rollout => {
      const extras = {
        'seqgan.q': q[i]!,
        'mixer.xent': forced[i]!,
        'mixer.reinforce': forced[i]!.map((isForced) => 1 - isForced),
      };
      return {
        group: 0,
        promptTokens: [1],
        completionTokens: [2, 3, 4, 5],
        oldLogProbs,
        extras,
        reward: rewards[i]!,
        baseline,
      };
    });
    const discriminator = { name: 'none', realness: async () => [] };
    const real = [{ promptTokens: [1], completionTokens: [2] }];
    const made = {
      seqgan: policyObjectives.seqgan({ discriminator, real }),
      mixer: policyObjectives.mixer({ baseline: 'annotated' }),
    };
    for (const name of ['seqgan', 'mixer'] as const) {
      const objective = policyObjective(made[name]);
      const { rows } = objective.annotate(rollouts, { maxCompletionLength: 4 });
      const { loss, gradient } = await evaluateLoss(
        objective.loss,
        rows,
        logps,
        logps.map((row) => row.map(() => 0)),
      );
      expectClose([loss], [golden[name].loss], 1e-6, name);
      expectClose(gradient, golden[name].gradient.flat(), 1e-6, name);
    }
  });
});

describe('credit and variance, where all completions are known', () => {
  const deciding = tokenMdp({ vocabulary: 2, maxLength: 3, reward: (tokens) => 2 + (tokens[1] === 1 ? 1 : 0) });
  // A policy that does not look at what it has written: no other token has a part in what is decided.
  const logits = Array.from({ length: deciding.states }, () => [0.4, -0.3]);
  const policy = softmaxPolicy(logits);
  const { values } = policyValues(deciding, policy);
  const all = deciding.completions(policy);
  const rollouts = all.map((one) => rolloutOfCompletion(one, values));
  const tokensOf = (advantage: Advantage) =>
    advantage.compute(rollouts).map((own) => (typeof own === 'number' ? [own, own, own] : Array.from(own)));

  it('the token that decides has all the credit by the exact values, and a third of it by the outcome', () => {
    const exact = tokensOf(nStepAdvantage({ nSteps: 1 }));
    const { advantages } = policyValues(deciding, policy);
    exact.forEach((own, i) => {
      const { states, tokens } = all[i]!;
      expectClose(
        own,
        tokens.map((token, t) => advantages[states[t]!]![token]!),
        1e-12,
      );
      expect([own[0], own[2]]).toEqual([expect.closeTo(0, 12), expect.closeTo(0, 12)]);
      expect(Math.abs(own[1]!)).toBeGreaterThan(0.01);
    });
    for (const [first, ...others] of tokensOf(leaveOneOut())) expect(others).toEqual([first, first]);
    // VinePPO with the same values is the same credit.
    expectClose(tokensOf(vinePpo({ stepTokens: [0, 1] })).flat(), exact.flat(), 1e-12);
  });

  it('siblings that part at a step are told apart there: of all completions alike, the exact credit', () => {
    const even = softmaxPolicy(logits.map(() => [0, 0]));
    const known = policyValues(deciding, even);
    const group = deciding.completions(even).map((one) => rolloutOfCompletion(one, known.values));
    const credit = contrastiveSteps({ stepTokens: [0, 1] }).compute(group) as number[][];
    deciding.completions(even).forEach(({ states, tokens }, i) => {
      expectClose(
        credit[i]!,
        tokens.map((token, t) => known.advantages[states[t]!]![token]!),
        1e-12,
      );
    });
    const mean = group.reduce((sum, { reward }) => sum + reward! / group.length, 0);
    // Whatever is shared, the steps add up; without shared prefixes all is at the first.
    for (const some of [group, group.slice(1, 4), [group[0]!, group[7]!]]) {
      const own = some.reduce((sum, { reward }) => sum + reward! / some.length, 0);
      const found = contrastiveSteps({ stepTokens: [0, 1] }).compute(some) as number[][];
      found.forEach((steps, i) => {
        expect(steps.reduce((a, b) => a + b, 0)).toBeCloseTo(some[i]!.reward! - own, 12);
      });
    }
    const apart = contrastiveSteps({ stepTokens: [0, 1] }).compute([group[0]!, group[7]!]) as number[][];
    expect(apart.map(([, ...later]) => later)).toEqual([
      [0, 0],
      [0, 0],
    ]);
    // Of what cannot be scored nothing is said, and it counts in no mean.
    const [none, ...scored] = group;
    const with_ = contrastiveSteps({ stepTokens: [0, 1] }).compute([
      { ...none!, reward: null },
      ...scored,
    ]) as number[][];
    expect(with_[0]).toEqual([0, 0, 0]);
    expect(with_.slice(1)).toEqual(contrastiveSteps({ stepTokens: [0, 1] }).compute(scored));
    expect(mean).toBeCloseTo(known.values[0]!, 12);
  });

  it('the variance of one completion’s gradient falls from no baseline to the best constant, to V, to the credit of each token', () => {
    const exact = policyGradients(deciding, logits).flat();
    const spread = (advantages: readonly (readonly number[])[]) => {
      let square = 0;
      const mean = exact.map(() => 0);
      all.forEach(({ probability, states, tokens }, i) => {
        const estimate = exact.map(() => 0);
        states.forEach((state, t) => {
          policy[state]!.forEach((p, a) => {
            const at = 2 * state + a;
            estimate[at] = estimate[at]! + advantages[i]![t]! * ((a === tokens[t] ? 1 : 0) - p);
          });
        });
        estimate.forEach((x, j) => {
          square += probability * x * x;
          mean[j] = mean[j]! + probability * x;
        });
      });
      expectClose(mean, exact, 1e-12);
      return square - exact.reduce((sum, x) => sum + x * x, 0);
    };
    const constant = (b: number) => tokensOf(noBaseline()).map((own) => own.map((r) => r - b));
    const best = Math.min(...Array.from({ length: 41 }, (_, i) => spread(constant(2 + i / 40))));
    const spreads = [
      spread(constant(0)),
      best,
      spread(tokensOf(gae({ lambda: 1, whiten: false }))),
      spread(tokensOf(nStepAdvantage({ nSteps: 1 }))),
    ];
    expect(spreads).toEqual([...spreads].sort((a, b) => b - a));
    expect(spreads[0]!).toBeGreaterThan(10 * spreads[1]!);
    expect(spreads[1]!).toBeGreaterThan(1.5 * spreads[3]!);
  });
});

describe('evolutionStrategies', () => {
  it('makes the updates of its golden', () => {
    type Case = Parameters<typeof evolved>[3] & Record<'point' | 'values' | 'next', number[]> & { noise: number[][] };
    for (const one of readGolden<{ cases: Case[] }>('updates.json', 'evolution').cases) {
      const next = evolved(one.point, one.noise, one.values, one);
      next.forEach((x, k) => {
        expect(x).toBeCloseTo(one.next[k]!, 12);
      });
    }
  });

  it('of a linear function is the gradient on average, and exactly what its noise says', () => {
    const slope = [2, -1, 0.5];
    const noise = [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ].map((row) => row.map((x) => x * Math.sqrt(3)));
    const worth = (point: readonly number[]) => point.reduce((sum, x, k) => sum + x * slope[k]!, 7);
    const values = noise.flatMap((own) => [1, -1].map((sign) => worth(own.map((x) => sign * 0.3 * x))));
    // Directions whose outer products average to the identity: the estimate is the gradient itself.
    const settings = { sigma: 0.3, learningRate: 1, weightDecay: 0, shaping: 'none' } as const;
    evolved([0, 0, 0], noise, values, settings).forEach((x, k) => {
      expect(x).toBeCloseTo(slope[k]!, 10);
    });
  });

  it('recovers the best weights of a mixture, of which it knows only what each mixture is worth', async () => {
    // What a merged model is worth: best at these weights of three members, and the members do not count alike.
    const best = [0.6, 0.3, 0.1];
    const scales = [4, 1, 0.5];
    let asked = 0;
    const fitness = (points: readonly (readonly number[])[]) => {
      asked += points.length;
      return points.map((point) => -point.reduce((sum, x, k) => sum + scales[k]! * (x - best[k]!) ** 2, 0));
    };
    const start = [1 / 3, 1 / 3, 1 / 3];
    const distance = (point: readonly number[]) => Math.hypot(...point.map((x, k) => x - best[k]!));
    const shared = { steps: 150, pairs: 12, sigma: 0.05, learningRate: 0.01 };
    for (const seed of [1, 2, 3]) {
      const { point, history } = await evolutionStrategies(start, { ...shared, fitness, seed });
      expect(distance(point)).toBeLessThan(0.06);
      expect(history.at(-1)!.fitness).toBeGreaterThan(history[0]!.fitness);
      // The control: what says nothing of the mixture leads nowhere.
      let count = 0;
      const deaf = (points: readonly unknown[]) => points.map(() => Math.sin(12.9898 * ++count));
      const control = await evolutionStrategies(start, { ...shared, fitness: deaf, seed });
      expect(distance(control.point)).toBeGreaterThan(distance(point) + 0.1);
    }
    expect(asked).toBe(3 * 150 * 24);
  });

  it('says what was wrong with a fitness and a start', async () => {
    const of = (values: number[]) => evolutionStrategies([0], { fitness: () => values, steps: 1, pairs: 1 });
    await expect(of([1])).rejects.toThrow(/step 0: fitness gave 1 numbers for 2 points/);
    await expect(of([1, Number.NaN])).rejects.toThrow(/not finite/);
    await expect(evolutionStrategies([], { fitness: () => [], steps: 1 })).rejects.toThrow(/start/);
  });
});
