// The parts of the study: each gives the numbers of one cell.
import { Key } from '@posttrain/core-tensor';
import { quantileCalibration, shareBelow } from '@posttrain/eval';
import { createRandom } from '@posttrain/interfaces/random';
import {
  dicl,
  diclSac,
  digitsOf,
  type FiniteMdp,
  hybridPolicyEvaluation,
  type InContextDynamics,
  languageSeriesModel,
  multiBranchReturn,
  multiBranchReturnBound,
  pendulum,
  pendulumReward,
  play,
  returnOf,
  type SeriesModel,
  serializeSeries,
  softActorCritic,
  transitionError,
  valueOfDigits,
  vicl,
} from '@posttrain/rl';
import { DIGITS, seriesModel } from './model.js';
import { LENGTH, markov } from './series.js';
import { pendulums, type System, turnedOscillations } from './systems.js';

const modelOf = async (seed: number): Promise<SeriesModel> =>
  languageSeriesModel(await seriesModel(seed), { digitsPerToken: DIGITS });

const masses = (digits: number, x: number) => {
  const all = new Float64Array(10 ** digits);
  all[Number(digitsOf(x, digits).join(''))] = 1;
  return all;
};
const ends = (count: number, after: 'every' | 'last') =>
  after === 'last' ? [count] : Array.from({ length: count }, (_, t) => t + 1);

/** The control that knows nothing: the next number is the last one. */
export const persistence: SeriesModel = {
  name: 'persistence',
  predict: async (series, { digits, after }) =>
    series.map((own) => ends(own.length, after).map((end) => masses(digits, valueOfDigits(own[end - 1]!)))),
};

/** The control that has no order: a model that sees the numbers before the last in another order. */
const shuffled = (model: SeriesModel, seed: number): SeriesModel => ({
  name: `${model.name}, shuffled`,
  async predict(series, { digits, after }) {
    const asked = series.flatMap((own, i) =>
      ends(own.length, after).map((end) => [
        ...createRandom(seed, i, end).shuffled(own.slice(0, end - 1)),
        own[end - 1]!,
      ]),
    );
    const found = await model.predict(asked, { digits, after: 'last' });
    let next = 0;
    return series.map((own) => ends(own.length, after).map(() => found[next++]![0]!));
  },
});

/** Numbers of context after which a Markov chain is asked about. */
export const CONTEXTS = [2, 5, 10, 20, 31] as const;

/** KL of the true next states of chains from what the model says, after so many numbers; the model's mass elsewhere counts against it. */
export async function chains(control: boolean, seed: number): Promise<number[]> {
  const own = await modelOf(seed);
  const model = control ? shuffled(own, seed) : own;
  const random = createRandom(seed, 'chains');
  const drawn = Array.from({ length: 60 }, () => markov(random, LENGTH)).filter(
    ({ states }) => new Set(states).size > 1,
  );
  const written = drawn.map(({ states }) => serializeSeries(states, { digits: DIGITS }));
  const found = await model.predict(
    written.map(({ digits }) => digits),
    { digits: DIGITS, after: 'every' },
  );
  return CONTEXTS.map((length) => {
    const gaps = drawn.map(({ states, matrix }, i) =>
      matrix[states[length - 1]!]!.reduce((sum, p, next) => {
        const cell = Number(digitsOf(written[i]!.rescale(next), DIGITS).join(''));
        return sum + (p > 0 ? p * Math.log(p / Math.max(1e-12, found[i]![length - 1]![cell]!)) : 0);
      }, 0),
    );
    return gaps.reduce((a, b) => a + b) / gaps.length;
  });
}

export const SYSTEMS = { pendulum: pendulums, turned: turnedOscillations } as const;
export const PREDICTORS = ['persistence', 'vICL, shuffled', 'vICL', 'DICL-(s)', 'DICL-(s, a)'] as const;
type Predictor = (typeof PREDICTORS)[number];

async function predictorOf(name: Predictor, seed: number): Promise<InContextDynamics> {
  if (name === 'persistence') return vicl({ model: persistence, digits: DIGITS });
  const model = await modelOf(seed);
  if (name === 'vICL, shuffled') return vicl({ model: shuffled(model, seed), digits: DIGITS });
  return name === 'vICL' ? vicl({ model, digits: DIGITS }) : dicl({ model, digits: DIGITS });
}

/** Predictions before this one are not counted: there is too little context. */
const FIRST = 10;
const DRAWS = 50;

/** Squared errors over the variance of each feature, a step ahead and five steps ahead, and the calibration of a step ahead. */
export async function prediction(system: keyof typeof SYSTEMS, name: Predictor, seed: number) {
  const dynamics = await predictorOf(name, seed);
  const made: System[] = await SYSTEMS[system](12, LENGTH, seed);
  let [error, ahead, count, aheadCount] = [0, 0, 0, 0];
  const transforms: number[] = [];
  for (const { states, withActions } of made) {
    const rows = name === 'DICL-(s, a)' ? withActions : states;
    const width = states[0]!.length;
    const variances = states[0]!.map((_, j) => {
      const mean = states.reduce((sum, row) => sum + row[j]! / states.length, 0);
      return states.reduce((sum, row) => sum + (row[j]! - mean) ** 2 / states.length, 0);
    });
    const predicted = await dynamics.predict(rows);
    for (let t = FIRST; t + 1 < rows.length; t++) {
      const drawn = predicted.draw(t, DRAWS, Key.fromSeed(seed).child(t));
      for (let j = 0; j < width; j++) {
        error += (predicted.mean[t]![j]! - states[t + 1]![j]!) ** 2 / variances[j]!;
        count++;
        transforms.push(
          shareBelow(
            drawn.map((row) => row[j]!),
            states[t + 1]![j]!,
          ),
        );
      }
    }
    const last = rows.length - 5;
    const forecast = await dynamics.forecast(rows.slice(0, last), { steps: 5 });
    for (let j = 0; j < width; j++) {
      ahead += (forecast[4]![j]! - states[last + 4]![j]!) ** 2 / variances[j]!;
      aheadCount++;
    }
  }
  return { error: error / count, ahead: ahead / aheadCount, ks: quantileCalibration(transforms).ks };
}

export const LEARNERS = ['SAC', 'DICL-SAC', 'DICL-SAC by persistence'] as const;
const SAC = { steps: 2400, learningStarts: 400, batchSize: 64, learningRate: 2e-3, tau: 0.01 } as const;

/** The mean return of the episodes that end in the first and in the second half of learning, and of ten episodes of the policy. */
export async function learnt(learner: (typeof LEARNERS)[number], seed: number) {
  const shared = { ...SAC, environment: pendulum(), hidden: [64, 64], initialAlpha: 0.2, seed };
  const model = learner === 'DICL-SAC by persistence' ? persistence : await modelOf(1);
  const imagined = {
    dynamics: vicl({ model, digits: DIGITS }),
    share: 0.25,
    contextLength: LENGTH,
    every: 16,
    burnIn: 10,
  };
  const { returns, policy } = await (learner === 'SAC' ? softActorCritic(shared) : diclSac({ ...shared, ...imagined }));
  const learning = returns.filter(({ step }) => step > SAC.learningStarts);
  const half = SAC.learningStarts + (SAC.steps - SAC.learningStarts) / 2;
  const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const of = (isEarly: boolean) =>
    meanOf(learning.filter(({ step }) => step <= half === isEarly).map((one) => one.return));
  const played = await play({ environment: pendulum(), policy, episodes: 10, maxSteps: 200, seed: 100 });
  return { early: of(true), late: of(false), final: meanOf(played.map(returnOf)) };
}

export const EVALUATORS = ['seen only', 'persistence', 'vICL', 'DICL-(s, a)'] as const;
const [REAL, PREDICTED] = [30, 10];

/** How far, relative to it, the value of 40 steps of wandering torques is estimated from 30 that were seen and 10 that are predicted. */
export async function evaluation(name: (typeof EVALUATORS)[number], seed: number): Promise<number> {
  const gamma = 0.99;
  const made = await pendulums(12, REAL + PREDICTED, 1000 + seed);
  const dynamics = await predictorOf(name === 'seen only' ? 'persistence' : name, seed);
  const trajectories = made.map(({ states, withActions }) => ({
    observations: states,
    actions: withActions.map((row) => row.slice(-1)),
    rewards: withActions.map((row) => pendulumReward(row, row[3]!)),
  }));
  const steps = name === 'seen only' ? 0 : PREDICTED;
  const seen = trajectories.map(({ observations, actions, rewards }) => ({
    observations: observations.slice(0, REAL),
    actions: actions.slice(0, REAL),
    rewards: rewards.slice(0, REAL),
  }));
  const { real, predicted } = await hybridPolicyEvaluation(seen, { dynamics, steps, gamma, reward: pendulumReward });
  const truths = trajectories.map(({ rewards }) => rewards.reduce((sum, r, t) => sum + gamma ** t * r, 0));
  return truths.reduce(
    (sum, truth, i) => sum + Math.abs((real[i]! + predicted[i]! - truth) / truth) / truths.length,
    0,
  );
}

/** Branches of five steps begin in a tenth of the states. */
const BRANCH = { length: 5, share: 0.1 } as const;

/**
 * The gap between the return of Markov chains and that over branches of what the model knows of them after so much context, the bound of the gap,
 * and the error ε that it is of: means over the chains. A chain is worth 1 in its last state and 0 elsewhere.
 */
export async function bounds(context: number, seed: number) {
  const model = await modelOf(seed);
  const random = createRandom(seed, 'bounds');
  const drawn = Array.from({ length: 20 }, () => markov(random, LENGTH)).filter(
    ({ states }) => new Set(states).size > 1,
  );
  const found: { gap: number; bound: number; error: number }[] = [];
  for (const { states, matrix } of drawn) {
    const written = serializeSeries(states, { digits: DIGITS });
    // What comes after each state, the context before it being the same.
    const asked = matrix.map((_, state) => [
      ...written.digits.slice(0, context - 1),
      digitsOf(written.rescale(state), DIGITS),
    ]);
    const masses = await model.predict(asked, { digits: DIGITS, after: 'last' });
    const cells = matrix.map((_, state) => Number(digitsOf(written.rescale(state), DIGITS).join('')));
    const guessed = masses.map(([own]) => {
      const weights = cells.map((cell) => own![cell]! + 1e-9);
      const sum = weights.reduce((a, b) => a + b);
      return weights.map((w) => w / sum);
    });
    const mdpOf = (rows: readonly (readonly number[])[]): FiniteMdp => ({
      ...{ name: 'chain', states: matrix.length, actions: 1, gamma: 0.95, start: matrix.map(() => 1 / matrix.length) },
      outcomes: (state) =>
        rows[state]!.map((probability, next) => ({ probability, next, reward: state === matrix.length - 1 ? 1 : 0 })),
    });
    const [mdp, imagined, policy] = [mdpOf(matrix), mdpOf(guessed), matrix.map(() => [1])];
    const error = transitionError(mdp, imagined, policy);
    const value = worthOf(mdp, policy);
    const gap = Math.abs(multiBranchReturn(mdp, imagined, policy, { context, ...BRANCH }) - value);
    found.push({ gap, error, bound: multiBranchReturnBound({ context, ...BRANCH, gamma: 0.95, maxReward: 1, error }) });
  }
  const mean = (of: (one: (typeof found)[number]) => number) =>
    found.reduce((sum, one) => sum + of(one), 0) / found.length;
  return {
    gap: mean(({ gap }) => gap),
    bound: mean(({ bound }) => bound),
    error: mean(({ error }) => error),
    violations: found.filter(({ gap, bound }) => gap > bound).length,
  };
}

/** A chain without an end is worth what no branch changes. */
const worthOf = (mdp: FiniteMdp, policy: number[][]): number =>
  multiBranchReturn(mdp, mdp, policy, { context: 0, length: 0, share: 0 });
