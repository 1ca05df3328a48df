import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import { ValueModel } from '@posttrain/lm';
import { Trainer } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type AnnotatorContext,
  batchMean,
  gae,
  gaeSteps,
  generalizedAdvantages,
  groupNormalized,
  groupReward,
  implicitRewardLoss,
  implicitRewardRows,
  klInReward,
  lagrangian,
  leaveOneOut,
  type PolicyObjective,
  type Prefix,
  policyObjective,
  policyObjectives,
  prime,
  type Rollout,
  reinforcePlusPlus,
  reMax,
  scoreCompletions,
  sequenceSum,
  stepsOf,
  tokenMean,
  tokenRatio,
  truncatedImportance,
  valueLoss,
  valueRows,
  vinePpo,
  vineValues,
} from '../src/index.js';
import { evaluateLoss, expectClose, readGolden } from './goldens.js';
import { toyModel } from './toy.js';

beforeAll(() => setEngine(referenceEngine()));

const rollout = (given: Partial<Rollout> = {}): Rollout => {
  const { completionTokens = [2] } = given;
  const zeros = completionTokens.map(() => 0);
  return { group: 0, promptTokens: [1], completionTokens, reward: 0, oldLogProbs: zeros, ...given };
};

const softmax = (logits: readonly number[]): number[] => {
  const exps = logits.map(Math.exp);
  return exps.map((value) => value / exps.reduce((a, b) => a + b));
};

describe('gae', () => {
  const golden = readGolden<{
    lengths: number[];
    values: number[][];
    token_rewards: number[][];
    scores: number[];
    cases: { gamma: number; lambda: number; advantages: number[][]; returns: number[][]; whitened: number[][] }[];
  }>('gae.json');
  const rollouts = golden.lengths.map((length, i) =>
    rollout({
      completionTokens: new Array<number>(length).fill(2),
      reward: golden.scores[i]!,
      tokenRewards: golden.token_rewards[i]!.slice(0, length),
      values: golden.values[i]!.slice(0, length),
    }),
  );
  const cut = (rows: number[][]) => rows.flatMap((row, i) => row.slice(0, golden.lengths[i]!));

  it.each(golden.cases)("has TRL's advantages, whitened or not (γ $gamma, λ $lambda)", (test) => {
    const { gamma, lambda } = test;
    const flat = (whiten: boolean) =>
      gae({ gamma, lambda, whiten })
        .compute(rollouts)
        .flatMap((advantages) => Array.from(advantages as ArrayLike<number>));
    expectClose(flat(false), cut(test.advantages), 1e-12);
    expectClose(flat(true), cut(test.whitened), 1e-12);
    const returns = rollouts.flatMap((one) => {
      const { rewards, values } = stepsOf(one);
      return generalizedAdvantages(rewards, values, { gamma, lambda }).map((advantage, t) => advantage + values[t]!);
    });
    expectClose(returns, cut(test.returns), 1e-12);
  });

  it('is the return minus the value at λ = 1, and the temporal difference at λ = 0', () => {
    const [rewards, values, gamma] = [[0.5, -1, 2, 0.25], [0.1, 0.7, -0.4, 1], 0.9];
    const returns = rewards.map((_, t) => rewards.slice(t).reduce((sum, r, k) => sum + gamma ** k * r, 0));
    expectClose(
      generalizedAdvantages(rewards, values, { gamma, lambda: 1 }),
      returns.map((value, t) => value - values[t]!),
      1e-12,
    );
    expectClose(
      generalizedAdvantages(rewards, values, { gamma, lambda: 0 }),
      rewards.map((r, t) => r + gamma * (values[t + 1] ?? 0) - values[t]!),
      1e-12,
    );
  });

  it.each([0, 0.5, 1])('averages to 0 in every state when the critic is right, by enumeration (λ %d)', (lambda) => {
    // Two tokens of two letters each; the reward is known only at the end.
    const [first, second] = [softmax([0.3, -0.5]), [softmax([1, 0]), softmax([-0.2, 0.8])]];
    const reward = [
      [1, -2],
      [0.5, 3],
    ];
    const valueAfter = second.map((policy, a) => policy[0]! * reward[a]![0]! + policy[1]! * reward[a]![1]!);
    const value = first[0]! * valueAfter[0]! + first[1]! * valueAfter[1]!;
    const advantage = (a: number, b: number) =>
      gae({ lambda, whiten: false }).compute([
        rollout({ completionTokens: [a, b], reward: reward[a]![b]!, values: [value, valueAfter[a]!] }),
      ])[0] as number[];
    const pairs = [0, 1].flatMap((a) => [0, 1].map((b) => ({ a, b, p: first[a]! * second[a]![b]! })));
    expect(pairs.reduce((sum, { a, b, p }) => sum + p * advantage(a, b)[0]!, 0)).toBeCloseTo(0, 12);
    for (const a of [0, 1]) {
      const mean = second[a]!.reduce((sum, p, b) => sum + p * advantage(a, b)[1]!, 0);
      expect(mean).toBeCloseTo(0, 12);
    }
  });

  it('at λ = 1 is the same wherever the end of the reward is paid; whitened rewards have a deviation of 1 and their mean', () => {
    const ended = [3, 5, 1].map((length, i) =>
      rollout({
        ...{ completionTokens: new Array<number>(length).fill(2), values: [0.3, -0.2, 0.9, 0.1, 0.4].slice(0, length) },
        ...{ reward: i - 0.5, tokenRewards: [0.1, -0.3, 0, 0.2, 0.05].slice(0, length), finishReason: 'stop' as const },
        endValue: 0.7 - i,
      }),
    );
    const advantages = (endState: boolean, lambda: number) =>
      (gae({ lambda, endState, whiten: false }).compute(ended) as number[][]).flat();
    expectClose(advantages(true, 1), advantages(false, 1), 1e-12);
    expect(Math.abs(advantages(true, 0.5)[0]! - advantages(false, 0.5)[0]!)).toBeGreaterThan(1e-3);
    const paid = (whitenRewards: boolean) => gaeSteps(ended, { whitenRewards }).flatMap(({ rewards }) => rewards);
    const spread = (values: readonly number[]) => {
      const mean = values.reduce((a, b) => a + b) / values.length;
      return [mean, values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1)];
    };
    expectClose(spread(paid(true)), [spread(paid(false))[0]!, 1], 1e-6);
    expect(() => stepsOf(rollout({ finishReason: 'stop' }), { endState: true })).toThrow(/a rollout has no endValue/);
  });

  it('does not see what an environment says: its tokens are part of the next state', () => {
    const said = rollout({
      ...{ completionTokens: [2, 9, 9, 3], mask: [1, 0, 0, 1], values: [0.5, 7, 8, -1], reward: 2 },
      ...{ turnRewards: [{ at: 0, reward: 0.25 }], tokenRewards: [0, 0, 0.5, 0] },
    });
    const unsaid = rollout({
      completionTokens: [2, 3],
      values: [0.5, -1],
      reward: 2,
      tokenRewards: [0.75, 0],
      turnRewards: [],
    });
    const [long, short] = gae({ lambda: 0.7, whiten: false, turnRewards: true }).compute([said, unsaid]) as number[][];
    expectClose([long![0]!, long![3]!], short!, 1e-12);
    expect(long!.slice(1, 3)).toEqual([0, 0]);
  });

  it('takes the KL off the reward of the token that it is of', () => {
    const parts = { ...policyObjectives.reinforce(), advantage: gae({ lambda: 0, whiten: false }) };
    const given = rollout({
      ...{ completionTokens: [2, 3], values: [0, 0], reward: 1 },
      ...{ oldLogProbs: [-1, -2], referenceLogProbs: [-1.5, -1] },
    });
    const { advantages, rollouts } = policyObjective({ ...parts, regularisers: [klInReward({ beta: 0.1 })] }).annotate(
      [given],
      { maxCompletionLength: 2 },
    );
    expectClose(advantages[0] as number[], [-0.05, 1.1], 1e-12);
    expect(rollouts[0]!.reward).toBe(1);
  });

  it('is refused without values, or where it gives too few numbers', () => {
    const annotate = (advantage = gae()) =>
      policyObjective({ ...policyObjectives.reinforce(), advantage }).annotate([rollout()], { maxCompletionLength: 1 });
    expect(() => annotate()).toThrow('reinforce: every rollout needs values, because the advantage gae reads them');
    const short = { name: 'short', compute: () => [[]] };
    expect(() => annotate(short)).toThrow(/the advantage short gave 0 numbers for rollout 0, which has 1 tokens/);
  });
});

describe('valueLoss', () => {
  it('is half the squared error where no value has moved, and stops its pull behind the clip', async () => {
    const model = await ValueModel.fromCausalLM(await toyModel(1), { seed: 2 });
    const tokens = [0, 1, 2, 3, 7];
    const values = Array.from((await model.values([tokens]))[0]!);
    const at = [1, 2, 4];
    const losses = async (off: number, gap: number) => {
      const trainer = await Trainer.create(model, { optimizer: 'sgd', maxGradNorm: 0 });
      const old = at.map((t) => values[t]! - off);
      const rows = valueRows([{ tokens, at, values: old, returns: at.map((t) => values[t]! + gap) }]);
      const { loss, metrics } = await trainer.forwardBackward(rows, valueLoss({ vfCoef: 3 }));
      return { loss, clipped: metrics.vf_clipfrac, norm: (await trainer.optimStep({ learningRate: 0 })).gradNorm };
    };
    const still = await losses(0, 0.5);
    expect(still.loss).toBeCloseTo((3 * 0.5 ** 2) / 2, 5);
    expect([still.clipped, still.norm > 0.1]).toEqual([0, true]);
    // It has moved up by 0.3, of which 0.2 count, and is to go further: the clipped error is the larger and has no gradient.
    const moved = await losses(0.3, 0.5);
    expect(moved.loss).toBeCloseTo((3 * 0.6 ** 2) / 2, 5);
    expect([moved.clipped, moved.norm]).toEqual([expect.closeTo(1, 5), expect.closeTo(0, 6)]);
    // Back to where it came from, it may go.
    expect((await losses(0.3, -0.5)).norm).toBeGreaterThan(0.1);
  });
});

describe('reMax', () => {
  const golden = readGolden<{
    inputs: { logps: number[][]; rewards: number[]; baselines: number[]; lengths: number[] };
    cases: { aggregation: 'token-mean' | 'sequence-sum'; loss: number; gradient: number[][] }[];
  }>('remax-loss.json');

  it.each(golden.cases)('has the loss and gradient of its authors ($aggregation)', async (test) => {
    const { logps, rewards, baselines, lengths } = golden.inputs;
    const aggregation = { 'token-mean': tokenMean, 'sequence-sum': sequenceSum }[test.aggregation]();
    const objective = policyObjective({ ...policyObjectives.remax(), aggregation });
    const rollouts = lengths.map((length, i) => {
      const oldLogProbs = logps[i]!.slice(0, length);
      const completionTokens = oldLogProbs.map(() => 2);
      return rollout({ completionTokens, oldLogProbs, reward: rewards[i]!, baseline: baselines[i]! });
    });
    const { loss, gradient } = await lossOf(objective, rollouts, logps);
    expectClose([loss], [test.loss], 1e-6);
    expectClose(gradient, test.gradient.flat(), 1e-6);
  });

  it('has the gradient of the mean reward whatever its baseline is, by enumeration', async () => {
    const [policy, reward] = [softmax([0.2, -0.7, 1]), [1, -0.5, 0.25]];
    const mean = policy.reduce((sum, p, a) => sum + p * reward[a]!, 0);
    const exact = policy.map((p, a) => -p * (reward[a]! - mean));
    const { advantage: _, annotators: __, ...others } = policyObjectives.remax();
    for (const baseline of [reward[2]!, 5]) {
      const objective = policyObjective({ ...others, advantage: reMax() });
      const rollouts = policy.map((p, a) =>
        rollout({ group: a, reward: reward[a]!, baseline, oldLogProbs: [Math.log(p)] }),
      );
      const { rows } = objective.annotate(rollouts, { maxCompletionLength: 1 });
      const g = await evaluateLoss(
        objective.loss,
        rows,
        policy.map((p) => [Math.log(p)]),
        [[0], [0], [0]],
      );
      const weighted = g.gradient.map((value, a) => value * policy.length * policy[a]!);
      const sum = weighted.reduce((a, b) => a + b);
      expectClose(
        weighted.map((value, k) => value - sum * policy[k]!),
        exact,
        1e-6,
      );
    }
  });

  it('gives 0 where the completion or the greedy one is not scorable', () => {
    const given = [rollout({ reward: null, baseline: 1 }), rollout({ reward: 2, baseline: Number.NaN })];
    expect(reMax().compute([...given, rollout({ reward: 2, baseline: 0.5 })])).toEqual([0, 0, 1.5]);
  });
});

/** Rows of one width, as goldens have them, with the loss and its gradient. */
async function lossOf(objective: PolicyObjective, rollouts: readonly Rollout[], logProbs: readonly number[][]) {
  const width = logProbs[0]!.length;
  const annotated = objective.annotate(rollouts, { maxCompletionLength: width });
  const rows = annotated.rows.map((row) => {
    const fill = (values: ArrayLike<number>) => [...Array.from(values), ...new Array(width - values.length).fill(0)];
    const annotations = Object.entries(row.annotations!).map(([name, values]) => [name, fill(values)] as const);
    const tokens = new Array<number>(width + 1).fill(1);
    return { tokens, weights: fill(row.weights), annotations: Object.fromEntries(annotations) };
  });
  const zeros = logProbs.map((row) => row.map(() => 0));
  const { loss, gradient } = await evaluateLoss(objective.loss, rows, logProbs, zeros);
  return { loss, gradient, advantages: annotated.advantages as readonly ArrayLike<number>[] };
}

describe('reinforcePlusPlus', () => {
  const golden = readGolden<{
    lengths: number[];
    groups: number[];
    old_logps: number[][];
    ref_logps: number[][];
    logps: number[][];
    rewards: number[];
    cases: {
      options: { gamma: number; beta: number; baseline: 'none' | 'group' };
      advantages: number[][];
      loss: number;
      gradient: number[][];
    }[];
  }>('reinforce-plus-plus.json');
  const { lengths, groups, old_logps, ref_logps, rewards } = golden;
  const cut = (rows: number[][]) => rows.map((row, i) => row.slice(0, lengths[i]!));
  const rollouts = lengths.map((length, i) =>
    rollout({
      ...{ group: groups[i]!, reward: rewards[i]!, completionTokens: new Array<number>(length).fill(2) },
      ...{ oldLogProbs: cut(old_logps)[i]!, referenceLogProbs: cut(ref_logps)[i]! },
    }),
  );

  it.each(golden.cases)('has the advantages, loss and gradient of OpenRLHF ($options)', async (test) => {
    const objective = policyObjective(policyObjectives.reinforce_plus_plus(test.options));
    const { loss, gradient, advantages } = await lossOf(objective, rollouts, golden.logps);
    expectClose(
      advantages.flatMap((own) => Array.from(own)),
      cut(test.advantages).flat(),
      1e-12,
    );
    expectClose([loss], [test.loss], 1e-6);
    expectClose(gradient, test.gradient.flat(), 1e-6);
  });

  it('has the mean 0 and the deviation 1 over the tokens of a step, whatever the KL, and no NaN where all is equal', () => {
    for (const baseline of ['none', 'group'] as const) {
      const parts = { ...policyObjectives.reinforce_plus_plus(), advantage: reinforcePlusPlus({ baseline }) };
      const { advantages } = policyObjective(parts).annotate(rollouts, { maxCompletionLength: 5 });
      const all = (advantages as number[][]).flat();
      const mean = all.reduce((a, b) => a + b) / all.length;
      expectClose([mean, all.reduce((sum, x) => sum + x ** 2, 0) / all.length], [0, 1], 1e-9);
    }
    const equal = rollouts.map((one) => ({ ...one, reward: 1 }));
    expect((reinforcePlusPlus().compute(equal) as number[][]).flat().every((x) => x === 0)).toBe(true);
  });
});

describe('PRIME', () => {
  const golden = readGolden<{
    n: number;
    beta: number;
    lengths: number[];
    accuracies: number[];
    token_rewards: number[][];
    log_ratios: number[][];
    cases: { options: { dpoCoef: number; gtCoef: number }; advantages: number[][] }[];
    loss: number;
    gradient: number[][];
  }>('prime.json', 'policy-losses');
  const { lengths, accuracies, n } = golden;
  const cut = (rows: number[][]) => rows.map((row, i) => row.slice(0, lengths[i]!));
  const rollouts = lengths.map((length, i) =>
    rollout({
      ...{ group: Math.floor(i / n), reward: accuracies[i]!, completionTokens: new Array<number>(length).fill(2) },
      tokenRewards: cut(golden.token_rewards)[i]!,
    }),
  );
  const flat = (advantages: ReturnType<ReturnType<typeof prime>['compute']>) =>
    advantages.flatMap((own) => Array.from(own as ArrayLike<number>));

  it.each(golden.cases)(
    'has the advantages of the authors’ recipe, written down again in torch ($options)',
    ({ options, advantages }) => {
      expectClose(flat(prime(options).compute(rollouts)), cut(advantages).flat(), 1e-9);
    },
  );

  it('has the loss of the reward model and its gradient, however long completions are', async () => {
    const width = Math.max(...lengths);
    const references = lengths.map((length) => new Array<number>(length).fill(-1));
    const rows = implicitRewardRows(rollouts, accuracies, references).map((row) => {
      const fill = (values: ArrayLike<number>) => [...Array.from(values), ...new Array(width - values.length).fill(0)];
      const annotations = Object.entries(row.annotations!).map(([name, values]) => [name, fill(values)] as const);
      return {
        tokens: new Array<number>(width + 1).fill(1),
        weights: fill(row.weights),
        annotations: Object.fromEntries(annotations),
      };
    });
    const logProbs = golden.log_ratios.map((row) => row.map((x) => x - 1));
    const zeros = logProbs.map((row) => row.map(() => 0));
    const { beta } = golden;
    // One sequence a row.
    const segments = {
      segmentsOfRows: rows.map((_, i) => Array.from({ length: width }, (__, t) => (t < lengths[i]! ? 1 : 0))),
    };
    const { loss, gradient } = await evaluateLoss(implicitRewardLoss({ beta }), rows, logProbs, zeros, segments);
    expectClose([loss], [golden.loss], 1e-6);
    expectClose(gradient, golden.gradient.flat(), 1e-6);
    expect(implicitRewardRows(rollouts, [null, ...accuracies.slice(1)], references)).toHaveLength(lengths.length - 1);
  });

  it('of outcomes alone is leave-one-out, whitened; a group of one, and what is not scorable, has 0', () => {
    const alone = flat(prime({ dpoCoef: 0 }).compute(rollouts));
    const outcomes = leaveOneOut().compute(rollouts) as number[];
    const each = lengths.flatMap((length, i) => new Array<number>(length).fill(outcomes[i]!));
    const mean = each.reduce((a, b) => a + b) / each.length;
    const std = Math.sqrt(each.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (each.length - 1) + 1e-8);
    expectClose(
      alone,
      each.map((x) => (x - mean) / std),
      1e-7,
    );
    const single = rollout({ group: 9, reward: 1, tokenRewards: [3] });
    const unscored = rollout({ group: 0, reward: null, tokenRewards: [3] });
    const found = prime().compute([...rollouts, single, unscored]);
    expect(found.at(-1)).toEqual([0]);
    // Before it is whitened.
    expect(flat(prime().compute([single]))).toEqual([0]);
  });
});

describe('lagrangian', () => {
  const BETA = 0.3;
  const [reward, cost] = [
    [0, 0.5, 1, 0.8, 0.2],
    [0, 0, 1, 0.6, 0.1],
  ];
  const mean = (policy: readonly number[], of: readonly number[]) => policy.reduce((sum, p, y) => sum + p * of[y]!, 0);
  /** The best policy under a multiplier, against a uniform reference: π ∝ exp((r - λ c) / β). */
  const best = (multiplier: number) => softmax(reward.map((r, y) => (r - multiplier * cost[y]!) / BETA));
  /** A softmax of logits that learns from 200 rollouts a step, in which each outcome is as often as it is likely. */
  const learnt = (limit: number, multiplierRate: number) => {
    const advantage = lagrangian(batchMean(), { limits: { cost: limit }, initialMultiplier: 0.5, multiplierRate });
    let logits = reward.map(() => 0);
    let metrics: Readonly<Record<string, number>> = {};
    for (let step = 0; step < 150; step++) {
      const policy = softmax(logits);
      let [drawn, sum] = [0, 0];
      const outcomes = policy.flatMap((p, y) => {
        sum += p;
        const count = Math.round(200 * sum) - drawn;
        drawn += count;
        return new Array<number>(count).fill(y);
      });
      const rollouts = outcomes.map((y) =>
        rollout({
          reward: reward[y]! - BETA * Math.log(5 * policy[y]!),
          rewards: { reward: reward[y]!, cost: cost[y]! },
        }),
      );
      const advantages = advantage.compute(rollouts) as number[];
      const slopes = policy.map(() => 0);
      outcomes.forEach((y, i) => {
        slopes[y]! += advantages[i]! / outcomes.length;
      });
      const total = slopes.reduce((a, b) => a + b);
      logits = logits.map((x, y) => x + 3 * (slopes[y]! - total * policy[y]!));
      metrics = advantage.learn!(rollouts);
    }
    return { policy: softmax(logits), metrics };
  };

  it('comes to the best policy within its limit, by enumeration; without moving multipliers the limit is broken', () => {
    const limit = 0.2;
    let [low, high] = [0, 10];
    while (high - low > 1e-9) {
      const middle = (low + high) / 2;
      if (mean(best(middle), cost) > limit) low = middle;
      else high = middle;
    }
    const { policy, metrics } = learnt(limit, 1);
    expectClose(policy, best(low), 0.015);
    expectClose([mean(policy, cost), metrics['cost/cost']!, metrics['multiplier/cost']!], [limit, limit, low], 0.03);
    // A limit that does not bind: nothing is given up for it.
    expectClose(learnt(0.9, 1).policy, best(0), 0.03);
    const still = learnt(limit, 0);
    expect(mean(still.policy, cost)).toBeGreaterThan(limit + 0.1);
    expect(still.metrics['multiplier/cost']).toBeCloseTo(0.5, 12);
  });

  it('refuses what knows the reward only, and limits of what is not measured', () => {
    const limits = { cost: 0 };
    expect(() => lagrangian(gae(), { limits })).toThrow(
      /gae needs values, which is of the reward and not of costs.*leaveOneOut/,
    );
    expect(() => lagrangian(batchMean(), { limits: {} })).toThrow(/limits.*at least one/);
    expect(() => lagrangian(batchMean(), { limits, initialMultiplier: 20 })).toThrow(/20, above maxMultiplier, 10/);
    const scored = [rollout({ reward: 1, rewards: { harm: 0 } })];
    expect(() => lagrangian(batchMean(), { limits }).compute(scored)).toThrow(
      /limits has "cost", and the rewards are harm/,
    );
    // What cannot be scored has no part in the mean cost.
    const advantage = lagrangian(groupNormalized({ scaleRewards: 'none' }), { limits });
    const some = [1, null].map((harm) => rollout({ reward: 1, rewards: { cost: harm } }));
    expect(advantage.learn!(some)).toEqual({ 'cost/cost': 1, 'multiplier/cost': 1 });
    expect(advantage.learn!([rollout({ reward: null, rewards: { cost: 3 } })])).toEqual({
      'multiplier/cost': expect.closeTo(Math.exp(0.1), 12),
    });
  });
});

describe('vinePpo', () => {
  const golden = readGolden<{
    step_token: number;
    completions: number[][];
    states: { start: number; rewards: number[] }[][];
    rewards: number[];
    old_logps: number[][];
    logps: number[][];
    cases: { gamma: number; advantages: number[][]; loss: number; gradient: number[][] }[];
  }>('vineppo.json');
  const stepTokens = [golden.step_token];
  const sampled = golden.completions.map((completionTokens, i) => ({
    ...rollout({ group: i, completionTokens, reward: golden.rewards[i]!, oldLogProbs: golden.old_logps[i]! }),
    ...{ row: { prompt: 'x' }, text: '', finishReason: 'stop' as const, rewards: {} },
    samplerLogProbs: completionTokens.map(() => 0),
  }));
  /** What a run gives annotators, with completions from each state whose rewards are known. */
  const context = (rewardsOf: (group: number, tokens: number) => readonly (number | null)[]) =>
    ({
      sample: async (prefixes: readonly Prefix[]) =>
        prefixes.map(({ rollout: one, tokens = 0, n = 1 }) =>
          Array.from({ length: n }, (_, i) => ({ ...one, reward: rewardsOf(one.group, tokens)[i] ?? null })),
        ),
      score: async (all: readonly object[]) => all,
    }) as unknown as AnnotatorContext;
  const known = context((group, tokens) => golden.states[group]!.find(({ start }) => start === tokens)!.rewards);

  it.each(golden.cases)('has the advantages, loss and gradient of its definition (γ $gamma)', async (test) => {
    const { annotators, ...parts } = policyObjectives.vineppo({
      ...{ stepTokens, mcRollouts: 4, gamma: test.gamma, beta: 0 },
    });
    const annotated = await annotators![0]!.annotate(sampled, known);
    const rollouts = annotated.map((one, i) => ({
      ...one,
      oldLogProbs: golden.old_logps[i]!.slice(0, one.completionTokens.length),
    }));
    const { loss, gradient, advantages } = await lossOf(policyObjective(parts), rollouts, golden.logps);
    const cut = test.advantages.flatMap((row, i) => row.slice(0, golden.completions[i]!.length));
    expectClose(
      advantages.flatMap((own) => Array.from(own)),
      cut,
      1e-12,
    );
    expectClose([loss], [test.loss], 1e-6);
    expectClose(gradient, test.gradient.flat(), 1e-6);
  });

  it('asks once for each prompt and each step, and has 0 where a state says nothing', async () => {
    const asked: string[] = [];
    const counting = context((group, tokens) => {
      if (asked.at(-1) !== `${group}/${tokens}`) asked.push(`${group}/${tokens}`);
      return tokens === 2 ? [null, null] : [0.5, null];
    });
    const twice = [sampled[0]!, { ...sampled[0]!, completionTokens: [2, 3] }, sampled[1]!];
    const annotated = await vineValues({ stepTokens, mcRollouts: 2 }).annotate(twice, counting);
    expect(asked).toEqual(['0/0', '1/0', '0/2', '0/5']);
    const [first, second] = vinePpo({ stepTokens }).compute(
      annotated.map((one) => ({ ...one, oldLogProbs: [] })),
    ) as number[][];
    expect([first, second]).toEqual([
      [0, 0, 0, 0, 0, 0.5],
      [0.5, 0.5],
    ]);
    const episode = { ...sampled[0]!, mask: [1, 0, 1, 1, 1, 1] };
    await expect(vineValues({ stepTokens }).annotate([episode], known)).rejects.toThrow(/an environment wrote/);
  });
});

describe('truncatedImportance', () => {
  it('makes a biased sampler unbiased, by enumeration; with a cap the weights are bounded', async () => {
    const [policy, sampler, reward] = [softmax([0.2, -0.7, 1]), softmax([1.5, 0, -0.5]), [1, -0.5, 0.25]];
    const gradientWith = async (options?: Parameters<typeof truncatedImportance>[1]) => {
      const ratio = options ? truncatedImportance(tokenRatio(), options) : tokenRatio();
      const objective = policyObjective({ ...policyObjectives.reinforce(), ratio });
      const logs = policy.map((p) => [Math.log(p)]);
      const rollouts = policy.map((_, a) =>
        rollout({ reward: reward[a]!, oldLogProbs: logs[a]!, samplerLogProbs: [Math.log(sampler[a]!)] }),
      );
      const { rows } = objective.annotate(rollouts, { maxCompletionLength: 1 });
      const { gradient } = await evaluateLoss(objective.loss, rows, logs, [[0], [0], [0]]);
      // Each action counts as often as it is sampled.
      const weighted = gradient.map((value, a) => value * policy.length * sampler[a]!);
      const sum = weighted.reduce((a, b) => a + b);
      return weighted.map((value, k) => value - sum * policy[k]!);
    };
    const mean = policy.reduce((sum, p, a) => sum + p * reward[a]!, 0);
    const exact = policy.map((p, a) => -p * (reward[a]! - mean));
    const errorOf = (gradient: number[]) => Math.max(...gradient.map((value, a) => Math.abs(value - exact[a]!)));
    expect(errorOf(await gradientWith({ cap: 1000 }))).toBeLessThan(1e-6);
    expect(errorOf(await gradientWith({ cap: 1000, level: 'sequence' }))).toBeLessThan(1e-6);
    expect(errorOf(await gradientWith())).toBeGreaterThan(0.1);
    const truncated = errorOf(await gradientWith({ cap: 2 }));
    expect(truncated).toBeGreaterThan(0.01);
    expect(errorOf(await gradientWith({ cap: 2, mode: 'mask' }))).toBeGreaterThan(truncated);
  });

  it('refuses a rollout of which nothing says how likely the sampler found it', () => {
    const objective = policyObjective({ ...policyObjectives.grpo(), ratio: truncatedImportance(tokenRatio()) });
    expect(() => objective.annotate([rollout()], { maxCompletionLength: 1 })).toThrow(
      'every rollout needs samplerLogProbs, because the ratio truncated-importance(token) reads them',
    );
  });
});

describe('groupReward', () => {
  const completion = (text: string, group?: number) => ({
    ...{ text, prompt: 'p', row: { prompt: 'p' }, completionTokens: [1], finishReason: 'stop' as const, step: 0 },
    ...(group !== undefined && { group }),
  });
  // Agrees with most of its group.
  const majority = groupReward('majority', {}, (group) =>
    group.map(({ completion }) => group.filter((other) => other.completion === completion).length / group.length),
  );

  it('sees all completions of a prompt at once, and none of another', async () => {
    const completions = [completion('a', 3), completion('b', 5), completion('a', 3), completion('c', 3)];
    const { rewards } = await scoreCompletions({ majority }, completions);
    expect(rewards).toEqual([2 / 3, 1, 2 / 3, 1 / 3]);
  });

  it('refuses completions without groups, and too few numbers, by name', async () => {
    await expect(scoreCompletions({ majority }, [completion('a')])).rejects.toThrow(
      /reward "majority" is of groups, and was asked about none/,
    );
    const short = groupReward('short', {}, () => []);
    await expect(scoreCompletions({ short }, [completion('a', 0)])).rejects.toThrow(
      /returned 0 numbers for a group of 1 completions/,
    );
  });
});
