import { referenceEngine, setEngine, stopGradient, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Advantage,
  adaptiveKl,
  clipCov,
  type GrpoOptions,
  gdpo,
  groupNormalized,
  icePop,
  klInLoss,
  klInReward,
  leaveOneOut,
  type MismatchCriterion,
  noRatio,
  offPolicyMask,
  type PolicyObjectiveParts,
  policyGradient,
  policyObjective,
  policyObjectives,
  type Ratio,
  type Rollout,
  rejectMismatch,
  type ScoreCenteringOptions,
  samplerMismatch,
  scoreCentering,
  sequenceMean,
  sequenceSum,
  squaredLogRatio,
  tokenEntropies,
  tokenMean,
  topEntropy,
  truncatedImportance,
} from '../src/index.js';
import { evaluateLoss, expectClose, type Grid, readGolden } from './goldens.js';

interface LossGolden {
  readonly max_completion_length: number;
  readonly inputs: Record<'logps' | 'old_logps' | 'ref_logps' | 'mask' | 'entropies', number[][]> & {
    advantages: number[];
    sampling_ratio?: number[][];
    sampling_logps?: number[][];
  };
  readonly cases: readonly LossCase[];
  readonly empty_mask: number[][];
  readonly empty_cases: readonly LossCase[];
}
interface LossCase {
  readonly name: string;
  readonly options: Record<string, unknown>;
  readonly rows?: [number, number];
  readonly loss: number;
  readonly gradient: number[][];
  readonly entropies_gradient?: number[][];
  readonly metrics: Record<string, number | null>;
}

beforeAll(() => setEngine(referenceEngine()));

const given = (advantages: readonly number[]): Advantage => ({
  name: 'given',
  compute: () => advantages,
});

const family = ['grpo', 'bnpo', 'dr_grpo', 'dapo', 'cispo', 'sapo', 'luspo', 'vespo'] as const;
const clipping = ['grpo', 'bnpo', 'dr_grpo', 'dapo', 'luspo'];

/** TRL options this package has, under its own names; undefined for the rest. */
function partsOf(options: Record<string, unknown>, rows: boolean): PolicyObjectiveParts | undefined {
  const known = {
    beta: 'beta',
    epsilon: 'epsilon',
    epsilon_high: 'epsilonHigh',
    delta: 'delta',
    entropy_coef: 'entropyCoef',
    importance_sampling_level: 'importanceSamplingLevel',
  } as const;
  const mapped: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(options)) {
    if (['loss_type', 'on_policy', 'gradient_accumulation_steps', 'steps_per_generation'].includes(key)) continue;
    if (['sampling_ratio', 'use_bias_correction_kl', 'top_entropy_quantile', 'off_policy_mask_threshold'].includes(key))
      continue;
    if (!(key in known)) return undefined;
    mapped[known[key as keyof typeof known]] = value;
  }
  const kind = family.find((name) => name === options.loss_type);
  if (!kind) return undefined;
  const epsilon = (mapped.epsilon as number | undefined) ?? 0.2;
  const shared = { ...(clipping.includes(kind) && { epsilonHigh: epsilon }), ...mapped } as GrpoOptions;
  // VESPO has its own ratio, whatever the level.
  if (kind === 'vespo') delete (shared as { importanceSamplingLevel?: string }).importanceSamplingLevel;
  const preset = policyObjectives[kind] as (given: GrpoOptions) => PolicyObjectiveParts;
  const parts = kind === 'bnpo' && rows ? policyObjectives.bnpo({ ...shared, localBatchSize: 3 }) : preset(shared);
  const threshold = options.off_policy_mask_threshold as number | undefined;
  return {
    ...parts,
    ...(options.sampling_ratio ? { ratio: truncatedImportance(parts.ratio) } : {}),
    ...(options.use_bias_correction_kl
      ? { regularisers: [klInLoss({ beta: mapped.beta as number, biasCorrection: true })] }
      : {}),
    ...(threshold === undefined ? {} : { surrogate: offPolicyMask(parts.surrogate, { threshold }) }),
  };
}

function rolloutsOf(inputs: LossGolden['inputs'], mask: number[][], old: Grid, sampler?: Grid): Rollout[] {
  return mask.map(
    (row, i): Rollout => ({
      group: i < 3 ? 0 : 1,
      promptTokens: [1],
      completionTokens: row.map(() => 2),
      mask: row,
      reward: 0,
      oldLogProbs: old[i]!,
      extras: { [tokenEntropies.name]: inputs.entropies?.[i] ?? [] },
      samplerLogProbs: sampler?.[i] ?? old[i]!.map((p, t) => p - Math.log(inputs.sampling_ratio?.[i]?.[t] ?? 1)),
      referenceLogProbs: inputs.ref_logps?.[i] ?? [],
    }),
  );
}

const topEntropyOf = (test: LossCase) => test.options.top_entropy_quantile !== undefined;

describe('the GRPO family against TRL', () => {
  const golden = readGolden<LossGolden>('grpo-loss.json');
  const { inputs } = golden;

  const run = async (parts: PolicyObjectiveParts, test: LossCase, mask: number[][]) => {
    const topEntropyQuantile = test.options.top_entropy_quantile as number | undefined;
    const own = given(inputs.advantages);
    const advantage = topEntropyQuantile === undefined ? own : topEntropy(own, { topEntropyQuantile });
    const objective = policyObjective({ ...parts, advantage });
    const old = test.options.on_policy ? inputs.logps : inputs.old_logps;
    const isMasked = test.options.off_policy_mask_threshold !== undefined;
    const groups = rolloutsOf(inputs, mask, old, isMasked ? inputs.sampling_logps : undefined);
    const { rows } = objective.annotate(groups, { maxCompletionLength: golden.max_completion_length });
    const present = mask.flatMap((row, i) => (row.includes(1) ? [i] : []));
    const [from, to] = test.rows ?? [0, 6];
    const chosen = present.filter((i) => i >= from && i < to);
    const result = await evaluateLoss(
      objective.loss,
      chosen.map((i) => rows[present.indexOf(i)]!),
      chosen.map((i) => inputs.logps[i]!),
      chosen.map((i) => inputs.entropies[i]!),
    );
    return { ...result, chosen, offset: from };
  };

  const cases = golden.cases.flatMap((test) => {
    const parts = partsOf(test.options, test.rows !== undefined);
    return parts ? [{ name: test.name, test, parts }] : [];
  });

  it('has the cases it should have', () => {
    expect(cases.length).toBe(golden.cases.length);
  });

  it.each(cases)('$name: value, gradient and metrics', async ({ test, parts }) => {
    const result = await run(parts, test, inputs.mask);
    expectClose([result.loss], [test.loss], 1e-6, 'loss');
    expectClose(result.gradient, test.gradient.flat(), 1e-6, 'gradient');
    if (test.entropies_gradient) {
      expectClose(result.entropiesGradient, test.entropies_gradient.flat(), 1e-6, 'entropies gradient');
    }
    if (test.rows) return;
    for (const [name, value] of Object.entries(test.metrics)) {
      // A setting, and what this package does not report.
      if (['entropy_coef', 'cispo_clip_ratio', 'vespo/phi_seq_mean'].includes(name)) continue;
      // Tokens that are not learnt from have no side to be clipped on.
      if (topEntropyOf(test) && name.startsWith('clip_ratio')) continue;
      expectClose([result.metrics[name]!], [value!], 2e-6, name);
    }
  });

  // The example of the docs: an algorithm written outside of this package.
  it('CISPO, from parts of a user', async () => {
    const mine: PolicyObjectiveParts = {
      ...policyObjectives.dapo(),
      surrogate: {
        name: 'mine',
        needsRatio: false,
        compute: ({ logProbs, ratio, advantages }) => ({
          loss: stopGradient(ratio.minimum(1.25)).mul(advantages).mul(logProbs).neg(),
        }),
      },
    };
    const test = golden.cases.find((one) => one.name === 'cispo-token')!;
    const result = await run(mine, test, inputs.mask);
    expectClose([result.loss], [test.loss], 1e-6, 'loss');
    expectClose(result.gradient, test.gradient.flat(), 1e-6, 'gradient');
  });

  it.each(golden.empty_cases)('$name: a completion without tokens counts in the means', async (test) => {
    const result = await run(partsOf(test.options, false)!, test, golden.empty_mask);
    expectClose([result.loss], [test.loss], 1e-6, 'loss');
    expectClose(
      result.gradient,
      result.chosen.flatMap((i) => test.gradient[i]!),
      1e-6,
      'gradient',
    );
  });
});

describe("losses against verl's", () => {
  const { inputs, cases } = readGolden<{
    inputs: LossGolden['inputs'] & { sampler_logps: number[][] };
    cases: LossCase[];
  }>('losses.json', 'policy-losses');
  const { grpo } = policyObjectives;
  const covs = { clipCovRatio: 1, clipCovLow: 0.2, clipCovHigh: 5 };
  const wide = { epsilonLow: 0.9, epsilonHigh: 1.2 };
  const dro = { ratio: noRatio(), surrogate: policyGradient(), regularisers: [squaredLogRatio({ tau: 0.3 })] };
  const partsOfCase: Readonly<Record<string, Partial<PolicyObjectiveParts>>> = {
    'dual-clip': grpo({ delta: 3 }),
    'dual-clip-tight': grpo({ delta: 1.4 }),
    'dppo-tv': policyObjectives.dppo({ low: 0.1, high: 0.1 }),
    'dppo-tv-sides': policyObjectives.dppo({ low: 0.05, high: 0.2, cap: 1.5 }),
    'dppo-kl': policyObjectives.dppo({ divergence: 'kl', low: 0.02, high: 0.02 }),
    gspo: policyObjectives.gspo_token({ epsilon: 0.2, epsilonHigh: 0.2 }),
    sapo: policyObjectives.sapo(),
    gmpo: policyObjectives.gmpo(),
    'gmpo-sides': policyObjectives.gmpo({ epsilon: 0.1, epsilonHigh: 0.3 }),
    dro,
    cispo: policyObjectives.cispo(wide),
    'clip-cov': { ...grpo(), advantage: clipCov(given(inputs.advantages), covs) },
    'kl-cov': policyObjectives.kl_cov({ klCovRatio: 0.3, ppoKlCoef: 0.7 }),
  };
  const forced = ['sapo', 'gmpo', 'gmpo-sides'];

  it.each(cases)('$name: value and gradient', async ({ name, options, loss, gradient }) => {
    const parts = {
      ...grpo(),
      advantage: given(inputs.advantages),
      ...partsOfCase[name]!,
      aggregation: forced.includes(name) ? sequenceMean() : tokenMean(),
    };
    const objective = policyObjective(name === 'clip-cov' ? parts : { ...parts, advantage: given(inputs.advantages) });
    const old = options.on_policy ? inputs.old_logps : inputs.logps;
    // verl takes the covariances of the policy as it is, this package of the one that sampled.
    const sampled = name === 'kl-cov' ? inputs.logps : inputs.old_logps;
    const annotated = objective.annotate(rolloutsOf(inputs, inputs.mask, sampled), { maxCompletionLength: 5 }).rows;
    const rows = annotated.map((row, i) => ({
      ...row,
      annotations: { ...row.annotations, old_log_probs: inputs.old_logps[i]!.map((p, t) => p * inputs.mask[i]![t]!) },
    }));
    const zeros = inputs.mask.map((row) => row.map(() => 0));
    const result = await evaluateLoss(objective.loss, rows, old, zeros);
    expectClose([result.loss], [loss], 2e-6, 'loss');
    expectClose(result.gradient, gradient.flat(), 2e-6, 'gradient');
  });

  it('the adaptive KL controller moves β as theirs', () => {
    const golden = readGolden<{
      init: number;
      target: number;
      horizon: number;
      completions: number;
      kl: number[];
      betas: number[];
    }>('controller.json', 'policy-losses');
    const { init: initKlCoef, target, horizon } = golden;
    const controller = adaptiveKl({ initKlCoef, target, horizon });
    const coefficients = golden.kl.map((kl) => {
      const one = { ...unscored(0), oldLogProbs: [-1], referenceLogProbs: [-1 - kl] };
      controller.learn!(Array.from({ length: golden.completions }, () => one));
      return (controller.state!() as { beta: number }).beta;
    });
    expectClose(coefficients, golden.betas, 1e-12);
    // What a token pays is of the β that it has come to, and of the one that a checkpoint has.
    expect(controller.rewardPenalty!([-1], [-3])).toBeCloseTo(2 * golden.betas.at(-1)!, 12);
    const resumed = adaptiveKl({ initKlCoef, target, horizon });
    resumed.load!({ beta: 0.125 });
    expect(resumed.rewardPenalty!([-1], [-3])).toBe(0.25);
  });
});

describe('RLOO and REINFORCE losses', () => {
  const golden = readGolden<{
    inputs: LossGolden['inputs'];
    cases: LossCase[];
    reinforce: { aggregation: string; loss: number; gradient: number[][] }[];
  }>('rloo-loss.json');
  const { inputs } = golden;
  const zeros = inputs.logps.map((row) => row.map(() => 0));
  const evaluate = async (parts: PolicyObjectiveParts) => {
    const objective = policyObjective({ ...parts, advantage: given(inputs.advantages) });
    const groups = rolloutsOf(inputs, inputs.mask, inputs.old_logps);
    return evaluateLoss(
      objective.loss,
      objective.annotate(groups, { maxCompletionLength: 8 }).rows,
      inputs.logps,
      zeros,
    );
  };

  it.each(golden.cases)('RLOO with $options', async (test) => {
    const { epsilon, epsilon_high } = test.options as { epsilon: number; epsilon_high: number };
    const result = await evaluate(policyObjectives.rloo({ beta: 0, epsilon, epsilonHigh: epsilon_high }));
    expectClose([result.loss], [test.loss], 1e-6, 'loss');
    expectClose(result.gradient, test.gradient.flat(), 1e-6, 'gradient');
    for (const name of ['clip_ratio/low_mean', 'clip_ratio/high_mean', 'clip_ratio/region_mean']) {
      expectClose([result.metrics[name]!], [test.metrics[name]!], 1e-6, name);
    }
  });

  it.each(golden.reinforce)('REINFORCE with $aggregation', async ({ aggregation, loss, gradient }) => {
    const aggregations = {
      'sequence-sum-mean': sequenceSum(),
      'token-mean': tokenMean(),
      'sequence-mean-token-mean': sequenceMean(),
    };
    const chosen = aggregations[aggregation as keyof typeof aggregations];
    const result = await evaluate({ ...policyObjectives.reinforce(), aggregation: chosen });
    expectClose([result.loss], [loss], 1e-6, 'loss');
    expectClose(result.gradient, gradient.flat(), 1e-6, 'gradient');
  });
});

interface AdvantageCase {
  readonly name: string;
  readonly rewards: (number | null)[][];
  readonly reward_weights: number[];
  readonly options: {
    scale_rewards?: 'group' | 'batch' | 'none';
    multi_objective_aggregation?: string;
    beta?: number;
    normalize_advantages?: boolean;
    reward_clip_range?: [number, number] | null;
  };
  readonly advantages: number[];
  readonly metrics: Record<string, number | null>;
}

/** The weighted sum of the rewards that are there; null where none is. */
const combined = ({ rewards, reward_weights }: AdvantageCase): (number | null)[] =>
  rewards[0]!.map((_, i) => {
    const values = rewards.map((row) => row[i]!);
    if (values.every((value) => value === null)) return null;
    return values.reduce<number>((sum, value, k) => sum + (value ?? 0) * reward_weights[k]!, 0);
  });

const unscored = (i: number): Rollout => ({
  ...{ group: i < 4 ? 0 : 1, promptTokens: [1], completionTokens: [2], reward: null, oldLogProbs: [0] },
});

describe('advantages against TRL', () => {
  const grpo = readGolden<{ cases: AdvantageCase[] }>('grpo-advantages.json');
  const grpoCases = grpo.cases.filter(({ options }) => options.scale_rewards !== undefined);
  it.each(grpoCases)('GRPO: $name, $options.scale_rewards', (test) => {
    const advantage = groupNormalized({ scaleRewards: test.options.scale_rewards! });
    const rollouts = combined(test).map((reward, i): Rollout => ({ ...unscored(i), reward }));
    expectClose(advantage.compute(rollouts) as number[], test.advantages, 1e-5);
  });

  const gdpoCases = grpo.cases.filter(({ options }) => options.multi_objective_aggregation !== undefined);
  it.each(gdpoCases)('GDPO: $name', (test) => {
    const [first, second] = test.reward_weights;
    const advantage = gdpo({ rewardWeights: { first: first!, second: second! } });
    const rollouts = combined(test).map((reward, i): Rollout => {
      return { ...unscored(i), reward, rewards: { first: test.rewards[0]![i]!, second: test.rewards[1]![i]! } };
    });
    expectClose(advantage.compute(rollouts) as number[], test.advantages, 1e-5);
    expect(() => gdpo({ rewardWeights: { third: 1 } }).compute(rollouts)).toThrow(/"third".*first, second/);
  });

  const rloo = readGolden<{ cases: AdvantageCase[]; old_logps: number[][]; ref_logps: number[][]; mask: number[][] }>(
    'rloo-advantages.json',
  );
  it.each(rloo.cases)('RLOO: $name, $options', (test) => {
    const { beta, normalize_advantages: normalizeAdvantages, reward_clip_range: range } = test.options;
    const clipped = combined(test).map((reward) =>
      reward === null || !range ? reward : Math.min(range[1], Math.max(range[0], reward)),
    );
    const rollouts = clipped.map(
      (reward, i): Rollout => ({
        group: unscored(i).group,
        promptTokens: [1],
        completionTokens: [2, 2, 2],
        mask: rloo.mask[i]!,
        reward,
        oldLogProbs: rloo.old_logps[i]!,
        referenceLogProbs: rloo.ref_logps[i]!,
      }),
    );
    const objective = policyObjective({
      ...policyObjectives.rloo(),
      advantage: leaveOneOut({ normalizeAdvantages: normalizeAdvantages! }),
      regularisers: [klInReward({ beta: beta! })],
    });
    const { advantages } = objective.annotate(rollouts, { maxCompletionLength: 3 });
    expectClose(advantages as number[], test.advantages, 1e-6);
  });
});

describe('a sampler that is not the policy, as verl sees it', () => {
  const { inputs } = readGolden<{ inputs: LossGolden['inputs'] & { sampler_logps: number[][] } }>(
    'losses.json',
    'policy-losses',
  );
  const golden = readGolden<{
    rejections: { modes: string; thresholds: string; kept: number[][] }[];
    weights: { level: 'token' | 'sequence'; threshold: string; weights: number[][]; metrics: Record<string, number> }[];
    report: Record<string, number>;
  }>('mismatch.json', 'policy-losses');
  const rollouts = rolloutsOf(inputs, inputs.mask, inputs.old_logps, inputs.sampler_logps);
  const grid = (rows: Grid) => tensor(Float32Array.from(rows.flat()), [rows.length, rows[0]!.length]);
  const mask = grid(inputs.mask);
  const logRatio = grid(inputs.old_logps).sub(grid(inputs.sampler_logps)).mul(mask);
  const corrected = (ratio: Ratio) => ratio.correct!(logRatio, mask).mul(mask).toArray();

  it.each(golden.rejections)('rejects by $modes ($thresholds)', async ({ modes, thresholds, kept }) => {
    const bounds = thresholds.split(',').map((one) => one.split('_').map(Number));
    const criteria = modes.split(',').map((statistic, i) => {
      const [low, high] = bounds[i]!;
      return { statistic, ...(high === undefined ? { high: low } : { low, high }) } as MismatchCriterion;
    });
    const found = await corrected(rejectMismatch(noRatio(), { criteria }));
    expect(found).toEqual(kept.flat());
    expect(kept.flat().filter(Boolean).length).not.toBe(inputs.mask.flat().filter(Boolean).length);
  });

  it.each(golden.weights)('weighs each $level, $threshold', async ({ level, threshold, weights, metrics }) => {
    const [low, high] = threshold.split('_').map(Number);
    const tis = truncatedImportance(noRatio(), { level, cap: low! });
    if (high === undefined) expectClose(await corrected(tis), weights.flat(), 1e-5);
    else if (level === 'token')
      expectClose(await corrected(icePop(noRatio(), { low: low!, high })), weights.flat(), 1e-5);
    else {
      // Of a sequence their two bounds are a rejection of the product beside the weight itself.
      const all = truncatedImportance(noRatio(), { level, cap: 1e6 });
      const criteria = [{ statistic: 'seq_sum_k1', low: 1 / high, high: 1 / low! }] as const;
      expectClose(await corrected(rejectMismatch(all, { criteria })), weights.flat(), 1e-5);
    }
    expect(metrics.rollout_is_eff_sample_size).toBeLessThan(1);
  });

  it('reports what they report, and 0 of one and the same', () => {
    const found = samplerMismatch(rollouts);
    const { kl, k3_kl, chi2_token, chi2_seq, log_ppl_diff } = golden.report;
    expectClose(
      [found.v1, found.k3, found.chi2Token, found.chi2Sequence, found.logPerplexityGap],
      [kl!, k3_kl!, chi2_token!, chi2_seq!, log_ppl_diff!],
      1e-7,
    );
    const same = samplerMismatch(rollouts.map((rollout) => ({ ...rollout, samplerLogProbs: rollout.oldLogProbs })));
    const { tokens, effectiveSampleSize, ...others } = same;
    expect([tokens, effectiveSampleSize, ...Object.values(others).map(Math.abs)]).toEqual([
      19, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    expect(() => samplerMismatch([])).toThrow(/no rollout has a trained token/);
    expect(() => samplerMismatch([unscored(0)])).toThrow(/rollout 0 has no samplerLogProbs/);
  });

  it('the estimates are those of the distributions, by all tokens of two of them', () => {
    const [p, q] = [
      [0.5, 0.3, 0.2],
      [0.25, 0.25, 0.5],
    ];
    // Each token as often as the sampler draws it.
    const draws = [0, 1, 2, 2].map((a): Rollout => {
      return { ...unscored(0), oldLogProbs: [Math.log(p[a]!)], samplerLogProbs: [Math.log(q[a]!)] };
    });
    const found = samplerMismatch(draws);
    const kl = q.reduce((sum, x, a) => sum + x * Math.log(x / p[a]!), 0);
    const chi2 = p.reduce((sum, x, a) => sum + x ** 2 / q[a]!, 0) - 1;
    expectClose([found.v1, found.k3, found.chi2Token, found.chi2Geometric], [kl, kl, chi2, chi2], 1e-12);
    expect(found.effectiveSampleSize).toBeCloseTo(1 / (1 + chi2), 12);
  });

  it.each([
    [{ statistic: 'seq_max_k1', high: 2 }, /seq_max_k2, seq_max_k3/],
    [{ statistic: 'token_k2', low: 0.1, high: 2 }, /token_k2: only k1 has a low/],
    [{ statistic: 'token_k1', low: 3, high: 2 }, /low must be above 0 and not above high, and is 3/],
    [{ statistic: 'token_k1', high: 0 }, /high must be above 0, not 0/],
  ])('refuses %o', (criterion, message) => {
    expect(() => rejectMismatch(noRatio(), { criteria: [criterion as MismatchCriterion] })).toThrow(message);
  });
});

describe('score centering', () => {
  const [V, A] = [5, 1.5];
  const logits = [0.3, -0.2, 1.1, 0, -0.7];
  const q = [0.3, 0.15, 0.25, 0.2, 0.1];
  const softmaxOf = (x: Tensor) => x.sub(x.exp().sum().log());
  /** E_q over all tokens of the gradient by logits, with an importance weight that is learnt from, and without or with the centring. */
  const expected = async (
    given: ScoreCenteringOptions | undefined,
    head: readonly number[],
    weight: (ratio: number) => number,
  ) => {
    const p = await softmaxOf(tensor(logits)).exp().toArray();
    const { gradient } = valueAndGrad((x: Tensor) => {
      const logProbs = softmaxOf(x);
      const f = tensor(q.map((one, v) => one * weight(p[v]! / one)));
      const policy = logProbs.mul(f).sum().mul(-A);
      if (!given) return policy;
      const own = logProbs.reshape([1, 1, V]).takeAlongAxis(tensor(Int32Array.from(head), [1, 1, head.length]), 2);
      const one = tensor([[1]]);
      const { loss } = scoreCentering({ k: head.length, ...given }).compute({
        ...{ logProbs: one, entropies: one, oldLogProbs: one, ratio: one, weights: one, tokenMean: one },
        ...{ temperature: 1, referenceLogProbs: undefined },
        annotations: {
          advantages: tensor([[A]]),
          sampler_head_probabilities: tensor(head.map((v) => q[v]!)).reshape([1, 1, head.length]),
        },
        pass: { read: () => own, segments: one } as never,
      });
      return policy.add(loss!);
    })(tensor(logits));
    return gradient.toArray();
  };
  const largest = (values: readonly number[]) => Math.max(...values.map(Math.abs));
  const all = [0, 1, 2, 3, 4];

  it('a constant advantage moves nothing where the sampler is known whole, without importance sampling and with a truncated one', async () => {
    expect(largest(await expected(undefined, all, () => 1))).toBeGreaterThan(0.1);
    expect(largest(await expected({}, all, () => 1))).toBeLessThan(1e-6);
    const truncated = (ratio: number) => Math.min(1.1, ratio);
    expect(largest(await expected(undefined, all, truncated))).toBeGreaterThan(0.02);
    expect(largest(await expected({ high: 1.1 }, all, truncated))).toBeLessThan(1e-6);
  });

  it('takes the most of it with a head of the sampler, and is nothing beside importance sampling that is not truncated', async () => {
    const head = [0, 2, 3];
    expect(largest(await expected({}, head, () => 1))).toBeLessThan(
      0.5 * largest(await expected(undefined, head, () => 1)),
    );
    const exact = await expected(undefined, head, (ratio) => ratio);
    expectClose(await expected({ high: 1e6 }, head, (ratio) => ratio), exact, 1e-6);
  });
});
