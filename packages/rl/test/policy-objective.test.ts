import { Key, referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { annotationSpec, negativeLogLikelihood, type TrainingRow } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Advantage,
  type AnyPolicyObjective,
  adaptiveKl,
  batchMean,
  cispo,
  clip,
  dppo,
  type GrpoOptions,
  gfpo,
  gmpo,
  groupNormalized,
  klEstimators,
  klInLoss,
  type LossObjective,
  leaveOneOut,
  localTokenMean,
  maxRl,
  noRatio,
  type PolicyObjectiveParts,
  policyGradient,
  policyObjective,
  policyObjectives,
  positiveExamples,
  processGrpo,
  type Regulariser,
  type Rollout,
  reMax,
  sapo,
  sequenceMean,
  sequenceRatio,
  sequenceSum,
  tokenCovariances,
  tokenMean,
  vespo,
} from '../src/index.js';
import { evaluateLoss, expectClose } from './goldens.js';
import { inGroups } from './toy.js';

beforeAll(() => setEngine(referenceEngine()));

const softmax = (logits: readonly number[]): number[] => {
  const exps = logits.map(Math.exp);
  const sum = exps.reduce((a, b) => a + b);
  return exps.map((value) => value / sum);
};

/** A completion of `length` tokens that all have log-probability `logProb` under the sampling policy. */
const rollout = (reward: number | null, length = 1, logProb = -1, reference = -1): Rollout => ({
  group: 0,
  promptTokens: [1],
  completionTokens: new Array<number>(length).fill(2),
  reward,
  oldLogProbs: new Array<number>(length).fill(logProb),
  referenceLogProbs: new Array<number>(length).fill(reference),
});

/** Gradient with respect to every trained token's log-probability where the policy is the one that sampled. */
async function onPolicyGradient(parts: PolicyObjectiveParts, groups: Rollout[][]): Promise<number[][]> {
  const objective = policyObjective(parts);
  const { rows } = objective.annotate(inGroups(groups), { maxCompletionLength: 16 });
  const rollouts = groups.flat();
  const gradients: number[][] = [];
  for (const [i, row] of rows.entries()) {
    const logProbs = [Array.from(rollouts[i]!.oldLogProbs)];
    gradients.push((await evaluateLoss(objective.loss, [row], logProbs, [logProbs[0]!.map(() => 0)])).gradient);
  }
  return gradients;
}

const withRewards = (groups: (number | null)[][]) => inGroups(groups.map((group) => group.map((r) => rollout(r))));

const rewards = [1, 0, 0.5, 2];
const anyGroup = () => [rewards.map((reward, i) => rollout(reward, i + 1, -0.5 * (i + 1)))];

/** Value and gradient by log π of tokens at which the policy has moved from the one that sampled. */
async function moved(parts: Partial<PolicyObjectiveParts>, A: number[], old: number[][], now: number[][]) {
  const advantage = { name: 'given', compute: () => A };
  const objective = policyObjective({ ...policyObjectives.grpo(), aggregation: sequenceSum(), ...parts, advantage });
  const given = old.map(
    (own, i): Rollout => ({
      ...rollout(A[i]!, own.length),
      oldLogProbs: own,
      samplerLogProbs: own,
      referenceLogProbs: own.map(() => -1),
    }),
  );
  const { rows } = objective.annotate(given, { maxCompletionLength: 8 });
  return evaluateLoss(
    objective.loss,
    rows,
    now,
    now.map((row) => row.map(() => 0)),
  );
}

describe('policy gradients of a bandit', () => {
  const [policy, reward] = [
    [0.5, 0.3, 0.2],
    [0.2, 1, -0.4],
  ];
  const mean = policy.reduce((sum, p, a) => sum + p * reward[a]!, 0);
  /** ∂ E[r] / ∂ logits. */
  const exact = policy.map((p, a) => p * (reward[a]! - mean));
  const score = (a: number) => policy.map((p, k) => (k === a ? 1 : 0) - p);
  /** What an objective makes of draws, each by itself: its estimate of ∂ E[r] / ∂ logits. */
  const estimates = async (parts: Partial<PolicyObjectiveParts>, draws: readonly number[], baseline = 0) => {
    const objective = policyObjective({ ...policyObjectives.reinforce(), ...parts });
    const given = draws.map((a) => ({ ...rollout(reward[a]!, 1, Math.log(policy[a]!)), baseline }));
    const { rows } = objective.annotate(given, { maxCompletionLength: 1 });
    const at = draws.map((a) => [Math.log(policy[a]!)]);
    const { gradient } = await evaluateLoss(
      objective.loss,
      rows,
      at,
      at.map(() => [0]),
    );
    return draws.map((a, i) => score(a).map((s) => -gradient[i]! * draws.length * s));
  };

  it('a sampled gradient is the enumerated one, by a z-test that another policy fails', async () => {
    const uniforms = Array.from(Key.fromSeed(4).uniformHost(800) as ArrayLike<number>);
    const draws = uniforms.map((u) => (u < policy[0]! ? 0 : u < policy[0]! + policy[1]! ? 1 : 2));
    const largestZ = (found: number[][], wanted: readonly number[]) =>
      Math.max(
        ...wanted.map((value, k) => {
          const own = found.map((row) => row[k]!);
          const average = own.reduce((a, b) => a + b) / own.length;
          const variance = own.reduce((sum, x) => sum + (x - average) ** 2, 0) / (own.length - 1);
          return Math.abs(average - value) / Math.sqrt(variance / own.length);
        }),
      );
    expect(largestZ(await estimates({}, draws), exact)).toBeLessThan(3.3);
    const uniform = uniforms.map((u) => Math.floor(3 * u));
    expect(largestZ(await estimates({}, uniform), exact)).toBeGreaterThan(5);
  });

  it('a baseline leaves the mean as it is, and its variance is least at E[r s²] / E[s²]', async () => {
    const squared = policy.map((_, a) => score(a).reduce((sum, s) => sum + s ** 2, 0));
    const over = (of: (a: number) => number) => policy.reduce((sum, p, a) => sum + p * of(a), 0);
    const best = over((a) => reward[a]! * squared[a]!) / over((a) => squared[a]!);
    const moments = async (b: number) => {
      const found = await estimates({ advantage: reMax() }, [0, 1, 2], b);
      const average = exact.map((_, k) => over((a) => found[a]![k]!));
      return { average, variance: over((a) => found[a]!.reduce((sum, g, k) => sum + (g - average[k]!) ** 2, 0)) };
    };
    const least = await moments(best);
    for (const b of [0, mean, best - 0.1, best + 0.1, 3]) {
      const other = await moments(b);
      expectClose(other.average, exact, 1e-6);
      expect(other.variance).toBeGreaterThan(least.variance + 1e-6);
    }
  });

  it('RLOO is unbiased over all draws of three completions; what GRPO divides by makes it biased', () => {
    const expected = (advantage: Advantage) => {
      const sums = [0, 0, 0];
      for (let draw = 0; draw < 27; draw++) {
        const actions = [draw % 3, Math.floor(draw / 3) % 3, Math.floor(draw / 9)];
        const chance = actions.reduce((product, a) => product * policy[a]!, 1);
        const advantages = advantage.compute(actions.map((a) => rollout(reward[a]!))) as number[];
        actions.forEach((a, i) => {
          score(a).forEach((s, k) => {
            sums[k]! += (chance * advantages[i]! * s) / 3;
          });
        });
      }
      return sums;
    };
    expectClose(expected(leaveOneOut()), exact, 1e-12);
    const biased = expected(groupNormalized());
    // Not even the direction is the same.
    expect(Math.abs(biased[0]! / exact[0]! - biased[1]! / exact[1]!)).toBeGreaterThan(0.05);
  });
});

describe('what came after GRPO', () => {
  it('CISPO learns from a token whose ratio is far outside: with the largest weight, where the clip has none', async () => {
    const of = async (surrogate: PolicyObjectiveParts['surrogate']) =>
      (await moved({ surrogate }, [1.5], [[-3, -3]], [[-1, -3]])).gradient;
    expectClose(await of(cispo({ epsilonHigh: 5 })), [-1.5 * 5, -1.5], 1e-5);
    expectClose(await of(clip()), [0, -1.5], 1e-5);
    expect(() => cispo({ epsilonLow: 6 })).toThrow(/epsilonLow is 6, above epsilonHigh, which is 5/);
  });

  it.each([
    [1, 1],
    [-1, 1.05],
  ])('SAPO with the advantage %d: slope 1 at ρ = 1, half of its height there, never 0', async (A, tau) => {
    const slope = async (ratio: number) => {
      const { loss, gradient } = await moved({ surrogate: sapo() }, [A], [[-4]], [[-4 + Math.log(ratio)]]);
      return { loss, slope: (gradient[0]! / ratio) * -A };
    };
    const at = await slope(1);
    expect(at.slope).toBeCloseTo(1, 5);
    expect(at.loss).toBeCloseTo((-A * 2) / tau, 5);
    for (const ratio of [0.2, 0.5, 2, 4]) {
      const away = (await slope(ratio)).slope;
      expect(away).toBeLessThan(1);
      expect(away).toBeGreaterThan(0.01);
    }
  });

  it('VESPO weighs a completion most where its ratio is k/λ, by 1 on policy, and the same however it is cut into tokens', async () => {
    const weight = async (A: number, ratios: number[]) => {
      const old = ratios.map(() => -3);
      const { gradient } = await moved({ surrogate: vespo() }, [A], [old], [ratios.map((r) => -3 + Math.log(r))]);
      return -gradient[0]! / A;
    };
    expect(await weight(2, [1])).toBeCloseTo(1, 5);
    for (const [A, peak] of [
      [1, 2 / 3],
      [-1, 3 / 2],
    ] as const) {
      const best = await weight(A, [peak]);
      for (const by of [0.9, 1.1]) expect(await weight(A, [peak * by])).toBeLessThan(best);
      expect(await weight(A, [peak / 2, 2])).toBeCloseTo(best, 5);
    }
  });

  it('GMPO of tokens that have all moved alike is GSPO; one outlier is clipped by itself', async () => {
    const [old, alike] = [
      [-2, -2, -2],
      [-1.9, -1.9, -1.9],
    ];
    const aggregation = sequenceMean();
    const gmpo_ = await moved({ surrogate: gmpo(), aggregation }, [1], [old], [alike]);
    const gspo = await moved({ ratio: sequenceRatio(), aggregation }, [1], [old], [alike]);
    expectClose([gmpo_.loss, ...gmpo_.gradient], [gspo.loss, ...gspo.gradient], 1e-6);
    const { gradient } = await moved({ surrogate: gmpo({ epsilon: 0.4 }), aggregation }, [1], [old], [[-1, -2, -2]]);
    expect(gradient[0]).toBe(0);
    expectClose([gradient[1]!], [-Math.exp(0.4 / 3) / 3], 1e-6);
  });

  it.each([
    ['tv', (p: number, old: number) => Math.abs(p - old)],
    ['kl', (p: number, old: number) => old * Math.log(old / p) + (1 - old) * Math.log((1 - old) / (1 - p))],
  ] as const)(
    'DPPO (%s) lets go of a token by how far its probability has moved, not by its ratio',
    async (divergence, of) => {
      const cases = [
        [0.001, 0.01],
        [0.5, 0.9],
        [0.9, 0.5],
        [0.3, 0.35],
        [0.4, 0.1],
      ] as const;
      for (const side of ['advantage', 'both'] as const) {
        for (const A of [1, -1]) {
          const surrogate = dppo({ divergence, low: 0.1, high: 0.15, side });
          const old = cases.map(([before]) => Math.log(before));
          const { gradient } = await moved({ surrogate }, [A], [old], [cases.map(([, p]) => Math.log(p))]);
          cases.forEach(([before, p], t) => {
            const isUp = p > before;
            const counts = side === 'both' || isUp === A > 0;
            const hasLeft = counts && of(p, before) > (isUp ? 0.15 : 0.1);
            expect(gradient[t], `${side} ${A} ${before} → ${p}`).toBeCloseTo(hasLeft ? 0 : -A * (p / before), 4);
          });
        }
      }
    },
  );

  it('the mirror descent of Kimi k1.5 stands still at π_old e^(r/τ) / Z, every completion by itself', async () => {
    const [tau, rewards] = [0.4, [1, 0, 0.5, -1]];
    const parts = policyObjectives.mirror_descent({ tau, baseline: 'log-partition' });
    // Each of four answers is drawn once: the group's mean is the expectation under a π_old that is uniform over them.
    const old = rewards.map(() => [Math.log(0.5), Math.log(0.5)]);
    const Z = rewards.reduce((sum, r) => sum + Math.exp(r / tau) / 4, 0);
    const objective = policyObjective(parts);
    const given = rewards.map((r, i): Rollout => ({ ...rollout(r, 2), oldLogProbs: old[i]! }));
    const { rows } = objective.annotate(given, { maxCompletionLength: 2 });
    const at = (scale: number) => rewards.map((r, i) => old[i]!.map((p) => p + (scale * (r / tau - Math.log(Z))) / 2));
    const zeros = old.map(() => [0, 0]);
    const still = await evaluateLoss(objective.loss, rows, at(1), zeros);
    expectClose(
      still.gradient,
      still.gradient.map(() => 0),
      1e-6,
    );
    const before = await evaluateLoss(objective.loss, rows, at(0), zeros);
    expect(Math.max(...before.gradient.map(Math.abs))).toBeGreaterThan(0.05);
  });

  it('MaxRL has the gradient of log p up to the order N - 1 of its series, by all outcomes of N draws', () => {
    const [p, N] = [0.2, 5];
    let mean = 0;
    for (let outcome = 0; outcome < 2 ** N; outcome++) {
      const won = Array.from({ length: N }, (_, i) => (outcome >> i) & 1);
      const chance = won.reduce((product, w) => product * (w ? p : 1 - p), 1);
      const advantages = maxRl().compute(won.map((w) => rollout(w))) as number[];
      // ∂ log π / ∂ logit is 1 - p of a success, and -p of a failure.
      mean += (chance * won.reduce((sum, w, i) => sum + advantages[i]! * (w - p), 0)) / N;
    }
    const series = Array.from({ length: N - 1 }, (_, k) => (1 - p) ** k).reduce((a, b) => a + b);
    expect(mean).toBeCloseTo(series * p * (1 - p), 12);
  });

  it('GFPO keeps the shortest, or those with the most reward for a token', () => {
    const group = [rollout(1, 6), rollout(0, 2), rollout(1, 3), rollout(0.5, 4), rollout(null, 1)];
    const short = gfpo({ keep: 2 }).compute(group) as number[];
    expectClose(short, [0, -Math.SQRT1_2, Math.SQRT1_2, 0, 0], 2e-4);
    const dense = gfpo({ keep: 2, metric: 'token-efficiency' }).compute(group) as number[];
    // 1/3 and 1/6 a token: two right ones, with nothing between them.
    expectClose(dense, [0, 0, 0, 0, 0], 1e-9);
    expect(() => gfpo({ keep: 1 })).toThrow(/keep/);
  });

  it('process GRPO: rewards of steps to go, normalised over the steps of a group; with one step it is GRPO', () => {
    const steps = (tokens: number[], tokenRewards: number[], reward = 0): Rollout => ({
      ...rollout(reward, tokens.length),
      ...{ completionTokens: tokens, tokenRewards },
    });
    const group = [steps([5, 9, 6, 9], [0, 1, 0, 3]), steps([5, 9, 7], [0, 2, 0])];
    const std = Math.sqrt(5 / 3) + 1e-4;
    const found = processGrpo({ stepTokens: [9] }).compute(group);
    expectClose(
      Array.from(found[0] as number[]),
      [1, 1, 1.5, 1.5].map((x) => x / std),
      1e-9,
    );
    expectClose(
      Array.from(found[1] as number[]),
      [-1, -1, -1.5].map((x) => x / std),
      1e-9,
    );
    const outcomes = [1, 0, 0.25].map((reward) => steps([5, 6], [0, 0], reward));
    const whole = groupNormalized().compute(outcomes);
    processGrpo({ stepTokens: [9] })
      .compute(outcomes)
      .forEach((own, i) => {
        expectClose(Array.from(own as number[]), [whole[i], whole[i]] as number[], 1e-9);
      });
  });

  it('the KL with its bias corrected has value and gradient of the KL, by enumeration of what another policy sampled', async () => {
    const [policy, old, reference] = [
      [0.5, 0.3, 0.2],
      [0.2, 0.2, 0.6],
      [0.3, 0.3, 0.4],
    ];
    const expected = async (biasCorrection: boolean) => {
      const parts = { ...policyObjectives.grpo(), regularisers: [klInLoss({ beta: 1, biasCorrection })] };
      const objective = policyObjective({ ...parts, aggregation: sequenceSum(), advantage: batchMean() });
      const given = old.map((p, a) => ({ ...rollout(0, 1, Math.log(p), Math.log(reference[a]!)) }));
      const { rows } = objective.annotate(given, { maxCompletionLength: 1 });
      const weighted = rows.map((row, a) => ({ ...row, weights: Array.from(row.weights, () => old[a]!) }));
      const { loss, gradient } = await evaluateLoss(
        objective.loss,
        weighted,
        policy.map((p) => [Math.log(p)]),
        [[0], [0], [0]],
      );
      const sum = gradient.reduce((a, b) => a + b);
      return { loss, logits: gradient.map((g, k) => g - sum * policy[k]!) };
    };
    const kl = policy.reduce((sum, p, a) => sum + p * Math.log(p / reference[a]!), 0);
    const corrected = await expected(true);
    expect(corrected.loss).toBeCloseTo(kl, 6);
    expectClose(
      corrected.logits,
      policy.map((p, a) => p * (Math.log(p / reference[a]!) - kl)),
      1e-6,
    );
    expect(Math.abs((await expected(false)).loss - kl)).toBeGreaterThan(0.01);
  });

  it('the mean of the covariances of tokens is what a step along the advantages takes of the entropy', () => {
    const [policy, A, eta] = [[0.5, 0.25, 0.25], [1, 0, -1], 1e-4];
    const draws = [0, 0, 1, 2].map((a) => ({ ...rollout(A[a]!, 1, Math.log(policy[a]!)) }));
    const covariances = tokenCovariances(
      draws,
      draws.map(({ reward }) => reward!),
    );
    const mean = covariances.reduce((sum, { covariance }) => sum + covariance, 0) / 4;
    const entropy = (p: number[]) => -p.reduce((sum, x) => sum + x * Math.log(x), 0);
    const after = softmax(policy.map((p, a) => Math.log(p) + eta * A[a]!));
    expect((entropy(after) - entropy(policy)) / eta).toBeCloseTo(-mean, 3);
  });

  it('positive examples: the likelihood of tokens of what was right, and of nothing else', async () => {
    const parts = { ...policyObjectives.grpo(), regularisers: [positiveExamples({ mu: 0.5 })], advantage: batchMean() };
    const objective = policyObjective({
      ...parts,
      surrogate: { ...policyGradient(), compute: ({ logProbs }) => ({ loss: logProbs.mul(0) }) },
    });
    const { rows } = objective.annotate([rollout(1, 2), rollout(0, 2), rollout(null, 2), rollout(2, 2)], {
      maxCompletionLength: 2,
    });
    const at = rows.map(() => [-1, -2]);
    const { loss, gradient } = await evaluateLoss(
      objective.loss,
      rows,
      at,
      at.map(() => [0, 0]),
    );
    expectClose(
      gradient,
      [-1, -1, 0, 0, 0, 0, -1, -1].map((x) => x / 8),
      1e-6,
    );
    expect(loss).toBeCloseTo(0.5 * 1.5, 6);
  });

  it('the adaptive controller brings the KL to its target, where one weight has another KL for each reward', () => {
    const [reference, target] = [[0.4, 0.3, 0.2, 0.1], 0.3];
    // A policy that is always at its optimum, π_ref e^(r/β) / Z, for the β of the step.
    const divergence = (beta: number, scale: number) => {
      const policy = softmax(reference.map((p, a) => Math.log(p) + (scale * [0, 0.2, 1, 0.5][a]!) / beta));
      return policy.reduce((sum, p, a) => sum + p * Math.log(p / reference[a]!), 0);
    };
    for (const scale of [0.3, 1, 3]) {
      const controller = adaptiveKl({ initKlCoef: 1, target, horizon: 40 });
      const beta = () => (controller.state!() as { beta: number }).beta;
      for (let step = 0; step < 200; step++) {
        const kl = divergence(beta(), scale);
        controller.learn!(Array.from({ length: 8 }, () => rollout(0, 1, 0, -kl)));
      }
      expect(divergence(beta(), scale)).toBeCloseTo(target, 2);
    }
    expect(Math.abs(divergence(1, 0.3) - divergence(1, 3))).toBeGreaterThan(target);
  });
});

describe('policyObjective', () => {
  it.each([1, -2])(
    'PPO has no gradient where a ratio has left on the side that the advantage of %d pulls to',
    async (A) => {
      const { ppo } = policyObjectives;
      const critic = { name: 'none', values: async () => [] };
      const advantage = { name: 'given', compute: (all: readonly Rollout[]) => all.map(() => A) };
      const objective = policyObjective({ ...ppo({ critic, beta: 0, epsilon: 0.2 }), advantage, annotators: [] });
      const ratios = [0.5, 0.79, 0.81, 1, 1.19, 1.21, 3];
      const one = rollout(1, ratios.length);
      const { rows } = objective.annotate([one], { maxCompletionLength: ratios.length });
      const logProbs = [ratios.map((ratio, t) => one.oldLogProbs[t]! + Math.log(ratio))];
      const { gradient } = await evaluateLoss(objective.loss, rows, logProbs, [ratios.map(() => 0)]);
      ratios.forEach((ratio, t) => {
        const hasLeft = A > 0 ? ratio > 1.2 : ratio < 0.8;
        if (hasLeft) expect(gradient[t]).toBe(0);
        // Else it is the policy gradient, weighted by how much likelier the token is now.
        else expect(gradient[t]! * ratios.length).toBeCloseTo(-A * ratio, 6);
      });
    },
  );

  it('REINFORCE with the KL in the reward stands still exactly at π_ref e^(r/β) / Z, by enumeration', async () => {
    const [beta, reward, referenceLogits] = [0.7, [0.3, -1, 0.9, 0], [0.2, 0.5, -0.4, -0.1]];
    const reference = softmax(referenceLogits);
    const gradientAt = async (policy: number[]) => {
      const actions = policy.map((p, a) => [rollout(reward[a]!, 1, Math.log(p), Math.log(reference[a]!))]);
      const perAction = await onPolicyGradient(policyObjectives.reinforce({ beta }), actions);
      // E_a over the policy of ∂loss/∂log π(a) · ∂log π(a)/∂logit_k; the loss is a mean over the actions.
      const g = policy.map((p, a) => p * policy.length * perAction[a]![0]!);
      const sum = g.reduce((x, y) => x + y);
      return g.map((value, k) => value - sum * policy[k]!);
    };
    const optimum = softmax(referenceLogits.map((logit, a) => logit + reward[a]! / beta));
    expectClose(await gradientAt(optimum), [0, 0, 0, 0], 1e-6);
    expect(Math.max(...(await gradientAt(reference)).map(Math.abs))).toBeGreaterThan(0.01);
  });

  it.each(['grpo', 'dapo', 'dr_grpo', 'bnpo'] as const)(
    '%s: at ratio 1 the gradient is the policy gradient',
    async (name) => {
      const parts = policyObjectives[name]();
      const gradient = await onPolicyGradient(parts, anyGroup());
      const { advantages, rows } = policyObjective(parts).annotate(inGroups(anyGroup()), { maxCompletionLength: 16 });
      gradient.forEach((row, i) => {
        expectClose(
          row,
          row.map((_, t) => -(advantages[i] as number) * rows[i]!.weights[t]!),
          1e-6,
        );
      });
    },
  );

  it('a sequence ratio sums to the policy gradient of the completion at ratio 1', async () => {
    const gradient = await onPolicyGradient(policyObjectives.rloo({ beta: 0 }), anyGroup());
    const { advantages } = policyObjective(policyObjectives.rloo({ beta: 0 })).annotate(inGroups(anyGroup()), {
      maxCompletionLength: 16,
    });
    // d/dθ of the whole completion's log-probability, with weight A / B at each of its tokens.
    gradient.forEach((row, i) => {
      expectClose(
        row,
        row.map(() => -(advantages[i] as number) / 4),
        1e-6,
      );
    });
  });

  it.each([
    ['grpo', {}],
    ['dapo', {}],
    ['dr_grpo', {}],
    ['rloo', { beta: 0 }],
  ] as const)('%s: a group whose rewards are equal, or not scorable, moves nothing', async (name, options) => {
    const flat = [rollout(0.5, 3), rollout(0.5, 1), rollout(0.5, 2)];
    const lost = [rollout(null, 3), rollout(null, 1), rollout(null, 2)];
    const parts = policyObjectives[name](options as GrpoOptions);
    expect((await onPolicyGradient(parts, [flat, lost])).flat().every((g) => g === 0)).toBe(true);
  });

  it("dr_grpo weighs a token the same whatever the lengths; grpo's and dapo's weights change", () => {
    const weightOf = (name: 'grpo' | 'dapo' | 'dr_grpo', lengths: number[]) => {
      const groups = [lengths.map((length, i) => rollout(i, length))];
      return policyObjective(policyObjectives[name]()).annotate(inGroups(groups), { maxCompletionLength: 16 }).rows[0]!
        .weights[0]!;
    };
    expect(weightOf('dr_grpo', [2, 9])).toBe(weightOf('dr_grpo', [7, 1]));
    expect(weightOf('grpo', [2, 9])).not.toBe(weightOf('grpo', [7, 1]));
    expect(weightOf('dapo', [2, 9])).not.toBe(weightOf('dapo', [7, 2]));
  });

  it('makes no row of a completion without a trained token, but counts it', () => {
    const masked = { ...rollout(1, 2), mask: [0, 0] };
    const { rows } = policyObjective(policyObjectives.grpo()).annotate([masked, rollout(0, 2)], {
      maxCompletionLength: 4,
    });
    expect(rows.length).toBe(1);
    expect(Array.from(rows[0]!.weights)).toEqual([0.25, 0.25]);
    expect(rows[0]!.annotations!.advantages![0]).toBeLessThan(0);
  });

  it('finds the least and the most clipped completion, by hand, and never among rows of padding', async () => {
    const advantage = { name: 'given', compute: () => [-1, -1, 1, 1] };
    const { annotate, loss } = policyObjective({ ...policyObjectives.grpo(), advantage });
    const completions = [2, 4, 4, 2].map((length) => rollout(0, length));
    const { rows } = annotate(completions, { maxCompletionLength: 4 });
    const wide = (values: ArrayLike<number> = []) => Array.from({ length: 4 }, (_, t) => values[t] ?? 0);
    const padding = { tokens: [], weights: [] };
    const grid = [...rows, padding].map(({ weights, annotations }: TrainingRow) => ({
      tokens: [0, 0, 0, 0, 0],
      weights: wide(weights),
      annotations: Object.fromEntries(
        loss.annotations.map((one) => {
          const { name } = annotationSpec(one);
          return [name, wide(annotations?.[name])];
        }),
      ),
    }));
    // Ratios beyond 1 ± 0.2 on the side where they stop counting: of both tokens, 3 of 4, 1 of 4, none.
    const logProbs = [[-2, -2], [-2, -2, -2, -1], [0, -1, -1, -1], [-1, -1], []].map(wide);
    const extremes = async (...chosen: number[]) => {
      const picked = chosen.map((i) => logProbs[i]!);
      const { metrics } = await evaluateLoss(
        loss,
        chosen.map((i) => grid[i]!),
        picked,
        picked,
      );
      return [metrics['clip_ratio/low_min'], metrics['clip_ratio/high_max']];
    };
    expect(await extremes(0, 1, 2, 3, 4)).toEqual([0, 0.25]);
    expect(await extremes(0, 1, 4)).toEqual([0.75, 0]);
    expect(await extremes(3, 4)).toEqual([0, 0]);
  });

  it('puts the annotations where the completion is predicted', () => {
    const long: Rollout = { ...rollout(1, 2), promptTokens: [5, 6, 7] };
    const { rows } = policyObjective(policyObjectives.reinforce()).annotate([long], { maxCompletionLength: 4 });
    expect(rows[0]!.tokens).toEqual([5, 6, 7, 2, 2]);
    expect(rows[0]!.weights).toEqual([0, 0, 1, 1]);
    expect(rows[0]!.annotations!.old_log_probs).toEqual([0, 0, -1, -1]);
  });

  it('refuses parts that do not go together, and options that do not exist', () => {
    expect(() => policyObjective({ ...policyObjectives.grpo(), ratio: noRatio() })).toThrow(/gradient would be zero/);
    expect(() => policyObjectives.grpo({ epsilonHihg: 1 } as GrpoOptions)).toThrow(/Did you mean "epsilonHigh"/);
    expect(() => policyObjectives.grpo({ importanceSamplingLevel: 'sequnce' as 'sequence' })).toThrow(/"sequence"/);
    expect(() => policyObjectives.grpo({ delta: 1.1 })).toThrow(/delta must be above 1 \+ epsilonHigh/);
    expect(() => groupNormalized({ scaleRewards: 'groups' as 'group' })).toThrow(/"group", "batch", "none"/);
    expect(() => localTokenMean({ localBatchSize: 0 })).toThrow(/localBatchSize/);
    const blind = { ...rollout(1), referenceLogProbs: undefined } as unknown as Rollout;
    expect(() =>
      policyObjective(policyObjectives.grpo({ beta: 0.1 })).annotate([blind], { maxCompletionLength: 4 }),
    ).toThrow(/referenceLogProbs/);
  });
});

describe('advantages', () => {
  it('leave-one-out is G / (G - 1) times the centred reward, and averages to zero', () => {
    const mean = rewards.reduce((a, b) => a + b) / 4;
    const advantages = leaveOneOut().compute(withRewards([rewards]));
    expectClose(
      advantages as number[],
      rewards.map((r) => ((r - mean) * 4) / 3),
      1e-12,
    );
  });

  it('group-normalized does not see the scale and the offset of the rewards', () => {
    const plain = groupNormalized().compute(withRewards([rewards]));
    const moved = groupNormalized().compute(withRewards([rewards.map((r) => 1000 * r - 5)]));
    expectClose(moved as number[], plain as number[], 3e-4);
  });

  it('batch-mean subtracts one number from all', () => {
    expect(
      batchMean().compute(
        withRewards([
          [1, 2],
          [null, 6],
        ]),
      ),
    ).toEqual([-2, -1, 0, 3]);
  });
});

describe('klEstimators', () => {
  it('E[k1] = E[k3] = KL and E[k2] is not, by enumeration; k2 and k3 are never negative', async () => {
    const [policy, reference] = [softmax([0.3, -0.8, 1.2, 0]), softmax([-0.5, 0.1, 0.4, 0.6])];
    const kl = policy.reduce((sum, p, a) => sum + p * Math.log(p / reference[a]!), 0);
    const u = tensor(policy.map((p, a) => Math.log(reference[a]! / p)));
    const expected = async (name: keyof typeof klEstimators) => {
      const values = await klEstimators[name](u).toArray();
      if (name !== 'k1') expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
      return values.reduce((sum, value, a) => sum + value * policy[a]!, 0);
    };
    expectClose([await expected('k1'), await expected('k3')], [kl, kl], 1e-6);
    expect(Math.abs((await expected('k2')) - kl)).toBeGreaterThan(1e-3);
  });
});

it('aggregations sum to one over the tokens where they are means', () => {
  const lengths = [3, 1, 7, 5];
  for (const aggregation of [tokenMean(), policyObjectives.grpo().aggregation, localTokenMean({ localBatchSize: 3 })]) {
    const weights = aggregation.weights(lengths, { maxCompletionLength: 16 });
    const sum = weights.reduce((total, weight, i) => total + weight * lengths[i]!, 0);
    expect(sum, aggregation.name).toBeCloseTo(1, 12);
  }
});

describe('an objective that cannot be meant is refused by name', () => {
  const regulariser = (parts: Partial<Regulariser>): AnyPolicyObjective => ({
    ...policyObjectives.dapo(),
    regularisers: [{ name: 'own', needsReference: false, compute: () => ({ metrics: {} }), ...parts }],
  });
  const own = (parts: Partial<LossObjective>): AnyPolicyObjective => ({
    ...{ name: 'own', loss: negativeLogLikelihood, rows: () => ({ rows: [] }) },
    ...parts,
  });
  it.each<[string, AnyPolicyObjective, RegExp]>([
    [
      'an annotation of another part',
      regulariser({ annotations: ['advantages'] }),
      /two of its parts have an annotation "advantages"/,
    ],
    [
      'an annotation that nobody gives',
      regulariser({ annotations: ['x'] }),
      /the regulariser own gave no numbers of its annotation "x" for a rollout, where 2 belong/,
    ],
    [
      'an annotation of another width',
      regulariser({ annotations: [{ name: 'x', per: 'prediction', width: 3 }], annotate: () => ({ x: [1, 2] }) }),
      /gave 2 numbers of its annotation "x" for a rollout, where 6 belong/,
    ],
    [
      'a loss that needs values',
      own({ needs: ['values'] }),
      /own: every rollout needs values, because its loss reads them/,
    ],
    [
      'one that needs what others bring',
      own({ needs: ['extras.x'] }),
      /every rollout needs extras.x, because its loss/,
    ],
    ['a part of the five beside a loss', own({ surrogate: 1 } as object), /surrogate/],
  ])('%s', (_, objective, message) => {
    expect(() => policyObjective(objective).annotate([rollout(1, 2)], { maxCompletionLength: 4 })).toThrow(message);
  });

  it('annotations of regularisers stand at the places of completions, of any width, and of rows', () => {
    const annotations = [
      { name: 'wide', per: 'prediction' as const, width: 2 },
      { name: 'whole', per: 'row' as const },
    ];
    const annotate = ({ completionTokens }: Rollout, all: readonly Rollout[]) => ({
      wide: completionTokens.flatMap((_, t) => [t + 1, -t - 1]),
      whole: [all.length],
    });
    const objective = policyObjective(regulariser({ annotations, annotate }));
    const one = { ...rollout(1, 2), promptTokens: [1, 1, 1] };
    const { rows } = objective.annotate([one, rollout(0, 1)], { maxCompletionLength: 4 });
    expect(rows[0]!.annotations).toMatchObject({ wide: [0, 0, 0, 0, 1, -1, 2, -2], whole: [2] });
  });
});
