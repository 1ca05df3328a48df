import { readFileSync } from 'node:fs';
import { referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type AnyPreferenceLoss,
  annotatePairs,
  combinedLoss,
  liftPreferenceLoss,
  type PreferenceLoss,
  type PreferenceLossName,
  preferenceLosses,
  preferredPair,
  stepDpoPair,
  tokenizePair,
  trDpo,
} from '../src/index.js';
import { evaluatePreference, type ScriptedPreference } from '../src/testing/evaluate-preference.js';
import { expectClose, readGolden } from './goldens.js';
import {
  type Case,
  completionOf,
  dpoGolden,
  expectGolden,
  type Inputs,
  lossOf,
  type Make,
  ofDpo,
  pairsOf,
} from './preference-goldens.js';
import { toyModel } from './toy.js';

beforeAll(() => setEngine(referenceEngine()));

const pairGolden = readGolden<{ pairs: number; inputs: Inputs; cases: (Case & { name: PreferenceLossName })[] }>(
  'preference-pairs.json',
);
const onlineGolden = readGolden<{ pairs: number; inputs: Inputs & { scores: number[] }; cases: Case[] }>(
  'online-dpo.json',
);
const formulas = readGolden<{
  tdpo: { pairs: number; inputs: Inputs; cases: Case[] };
  safe: [number, number][];
  pairs: (Case & { name: PreferenceLossName })[];
  rankings: {
    scores: number[][];
    inputs: Readonly<Record<'logps' | 'ref_logps', number[][]>> & { lengths: number[] };
    cases: { name: PreferenceLossName; beta: number; loss: number; gradient: number[][] }[];
  };
}>('preference-formulas.json');
/** Of the last TRL with these trainers. */
const bcoGolden = readGolden<{
  inputs: { logps: number[][][]; ref_logps: number[][][]; mask: number[][]; label: number[] };
  cases: { options: { beta: number }; density_ratio?: number[]; steps: Omit<Case, 'options'>[] }[];
}>('bco.json', 'trl-old');
const exploring = readGolden<{
  inputs: Inputs & { scores: number[]; probability: number[] };
  xpo: Case[];
  nash_md: Case[];
}>('online.json', 'trl-old');
const ktoGolden = readGolden<{
  inputs: Inputs & Record<'kl_logps' | 'ref_kl_logps', number[][]> & { label: boolean[] };
  cases: Case[];
  clamped: Case;
}>('kto-loss.json');

describe('losses of pairs against TRL: value, gradient and metrics', () => {
  const single = ofDpo.filter(({ options }) => (options.loss_types as string[]).length === 1);
  const combined = ofDpo.filter(({ options }) => (options.loss_types as string[]).length > 1);
  const { pairs, order } = pairsOf(dpoGolden.inputs, dpoGolden.pairs);

  it('has every loss_type of DPOTrainer', () => {
    expect(new Set(single.flatMap(({ options }) => options.loss_types as string[])).size).toBe(15);
    expect(combined.length).toBe(3);
  });

  it.each(single)('DPOTrainer with $options', async (golden) => {
    const [name] = golden.options.loss_types as [string];
    const loss = lossOf(name, golden.options) as PreferenceLoss;
    // Without a reference there are no rewards of DPO; what couples the pairs of a step sees no entropies.
    const isLogged = (metric: string) =>
      !(loss.coupled && metric === 'entropy') && !(name === 'sft' && metric.startsWith('rewards/'));
    const metrics = Object.fromEntries(Object.entries(golden.metrics!).filter(([metric]) => isLogged(metric)));
    const count = await expectGolden(loss, pairs, { ...golden, metrics }, order);
    expect(count).toBeGreaterThan(name === 'sft' ? 2 : 5);
  });

  const flags = dpoGolden.cases.filter(
    ({ options }) =>
      String(options.loss_types) === 'sigmoid' &&
      ['f_divergence_type', 'ld_alpha', 'use_weighting'].some((flag) => flag in options),
  );
  it('has the variants of DPO by flags', () => {
    expect(flags.length).toBe(7);
  });
  it.each(flags)('DPOTrainer with $options', async (golden) => {
    const name = 'ld_alpha' in golden.options ? 'ld_dpo' : 'use_weighting' in golden.options ? 'wpo' : 'f_dpo';
    expect(await expectGolden(lossOf(name, golden.options, ['use_weighting']), pairs, golden, order)).toBe(7);
  });

  it.each(combined)('a combination: $options', async (golden) => {
    const { loss_types: types, loss_weights: lossWeights } = golden.options as Record<string, never[]>;
    const losses = (types as string[]).map((name) =>
      name === 'sft' ? preferenceLosses.sft() : (lossOf(name, golden.options) as PreferenceLoss),
    );
    expect(
      await expectGolden(combinedLoss({ losses, lossWeights: lossWeights! }), pairs, golden, order),
    ).toBeGreaterThan(6);
  });

  it('RPO is the combination of DPO and the likelihood', async () => {
    const golden = combined.find(({ options }) => String(options.loss_types) === 'sigmoid,sft')!;
    await expectGolden(preferenceLosses.rpo({ rpoAlpha: 0.5 }), pairs, golden, order);
  });

  const others = pairsOf(pairGolden.inputs, pairGolden.pairs);
  // TRL has conservative DPO without a reference only: as one that is sure of everything.
  const sure = pairsOf(
    { ...pairGolden.inputs, ref_logps: pairGolden.inputs.logps.map((row) => row.map(() => 0)) },
    pairGolden.pairs,
  );
  it.each(pairGolden.cases)('$name with $options', async (golden) => {
    const { pairs: own, order: places } = golden.name === 'cdpo' ? sure : others;
    const count = await expectGolden(lossOf(golden.name, golden.options), own, golden, places);
    expect(count).toBeGreaterThan(5);
  });

  const bfpo = readGolden<{ cases: (Case & { name: PreferenceLossName })[] }>('bfpo-authors.json');
  it.each([
    ...formulas.pairs.map((golden) => ({ ...golden, by: 'its definition' })),
    ...bfpo.cases.map((golden) => ({ ...golden, by: 'the code of its authors' })),
  ])('$name with $options, against $by', async (golden) => {
    const safe = pairs.map((pair, i) => {
      const [is_chosen_safe, is_rejected_safe] = formulas.safe[i]!;
      return { ...pair, columns: { is_chosen_safe, is_rejected_safe } };
    });
    await expectGolden(lossOf(golden.name, golden.options), safe, golden, order);
  });

  it.each(formulas.tdpo.cases)('tdpo with $options, against its definition', async (golden) => {
    const { inputs, pairs: count } = formulas.tdpo;
    const own = pairsOf(inputs, count);
    expect(await expectGolden(lossOf('tdpo', golden.options), own.pairs, golden, own.order, { width: 2 })).toBe(2);
  });

  it.each(onlineGolden.cases)(
    'a step of OnlineDPOTrainer with $options: the better of two is chosen',
    async (golden) => {
      const { inputs, pairs: count } = onlineGolden;
      const order: number[] = [];
      const judged = Array.from({ length: count }, (_, i) => {
        const [first, second] = [i, i + count];
        const sampled = [first, second].map((row) => ({ promptTokens: [1], completionTokens: [row] })) as never;
        const pair = preferredPair(sampled, inputs.scores[first]! - inputs.scores[second]!)!;
        const rows = [pair.chosenTokens[0]!, pair.rejectedTokens[0]!];
        order.push(...rows);
        return { completions: rows.map((row) => completionOf(inputs, row)) };
      });
      const { loss_type: type, beta } = golden.options as { loss_type: string; beta: number };
      const loss =
        type === 'ipo' ? preferenceLosses.ipo({ beta, averageLogProb: false }) : preferenceLosses.sigmoid({ beta });
      const { 'objective/scores': _, 'objective/scores_margin': __, ...metrics } = golden.metrics!;
      expect(await expectGolden(loss, judged, { ...golden, metrics }, order)).toBe(6);
    },
  );
});

it.each(dpoGolden.moving_reference.cases)('a reference moves as TRL has it: %j', async (golden) => {
  const [start, ...policies] = dpoGolden.moving_reference.policies.map((values) => tensor(values, [6]));
  const rule = trDpo({
    refModelMixupAlpha: golden.ref_model_mixup_alpha,
    refModelSyncSteps: golden.ref_model_sync_steps,
  });
  let reference = start!;
  for (const [i, policy] of policies.entries()) {
    if (rule.isDue(i + 1)) reference = rule.next(reference, policy, 'weight');
    expectClose(await reference.toArray(), golden.references[i]!, 1e-7);
  }
});

it('Step-DPO: the first steps that differ, whose shared beginning has no weight and so no gradient', async () => {
  const [chosen, rejected] = [
    ['ab', 'cd', 'e'],
    ['ab', 'cg', 'ef', 'a'],
  ];
  const row = stepDpoPair({ prompt: 'ga', chosen, rejected })!;
  expect(row).toEqual({ prompt: 'gaab', chosen: 'cd', rejected: 'cg' });
  const pair = tokenizePair(await toyModel(3), row, 0, 32)!;
  const rows = annotatePairs([pair]);
  expect(rows.map(({ tokens }) => tokens.slice(0, 6))).toEqual([
    [6, 0, 0, 1, 2, 3],
    [6, 0, 0, 1, 2, 6],
  ]);
  for (const { weights } of rows) expect(Array.from(weights).slice(0, 4)).toEqual([0, 0, 0, 1]);
  expect(stepDpoPair({ prompt: 'g', chosen, rejected: ['ab'] })).toBeUndefined();
  expect(stepDpoPair({ prompt: 'g', chosen, rejected: chosen })).toBeUndefined();
  expect(() => stepDpoPair({ prompt: 'g', chosen, rejected: 'ab' as never })).toThrow(
    /rejected must be a list of texts/,
  );
});

describe('losses of rankings against their definitions, prompt by prompt', () => {
  const { scores, inputs, cases } = formulas.rankings;
  let taken = 0;
  const rankings = scores.map((own): ScriptedPreference => {
    const rows = own.map(() => taken++);
    const of = (values: number[][], i: number) => values[i]!.slice(0, inputs.lengths[i]!);
    const completions = rows.map((i) => ({ logProbs: of(inputs.logps, i), reference: of(inputs.ref_logps, i) }));
    return { completions, scores: own };
  });

  it.each(cases)('$name with beta $beta', async ({ name, beta, ...golden }) => {
    const [method, kind] = (name as string).split(/ \((.*)\)/);
    const loss = lossOf(method!, { beta, ...(kind && { estimator: kind }) });
    const order = inputs.lengths.map((_, i) => i);
    await expectGolden(loss, rankings, { options: {}, ...golden }, order, { width: 2, groups: 3 });
  });
});

describe('KTO against TRL', () => {
  const { inputs } = ktoGolden;
  const completions = inputs.label.map((label, i) => ({
    completions: [completionOf(inputs, i)],
    scores: [label ? 1 : 0],
  }));
  it.each([
    ...ktoGolden.cases.map((golden) => ['z above 0', golden, inputs.kl_logps] as const),
    [
      'z held at 0',
      ktoGolden.clamped,
      inputs.ref_kl_logps.map((row, i) => row.map((x, t) => x - 0.2 * inputs.mask[i]![t + 1]!)),
    ] as const,
  ])('value, gradient and metrics: %s %#', async (_, golden, klLogps) => {
    const mismatched = klLogps.map((row, i) => row.reduce((sum, x, t) => sum + x - inputs.ref_kl_logps[i]![t]!, 0));
    const {
      beta = 0.1,
      desirable_weight: desirableWeight = 1,
      undesirable_weight: undesirableWeight = 1,
    } = golden.options as Record<string, number>;
    const loss = preferenceLosses.kto({ beta, desirableWeight, undesirableWeight });
    const { kl, ...others } = golden.metrics!;
    const known = Object.entries(others).filter(([name]) => name !== 'rewards/accuracies');
    const metrics = Object.fromEntries(known);
    const order = inputs.label.map((__, i) => i);
    expect(await expectGolden(loss, completions, { ...golden, metrics }, order, { mismatched })).toBeGreaterThan(3);
    const step = { logRatios: async () => [], previous: undefined, isEvaluation: false };
    const numbers = await loss.before!({ ...step, mismatchedLogRatios: async () => mismatched });
    expectClose([numbers.kl!], [kl!], 1e-6, 'kl');
  });
});

describe('losses of trainers that TRL has no more', () => {
  it.each(bcoGolden.cases)('BCO, three steps with one shift of the reward: $options', async (weighted) => {
    const { options, density_ratio: ratios, steps } = weighted;
    const { inputs } = bcoGolden;
    const loss = preferenceLosses.bco({ ...options, ...(ratios && { matchUnderlyingDistribution: true }) });
    const left = [...(ratios ?? [])];
    const columns = inputs.label.map((label) => ({ density_ratio: ratios && !label ? left.shift()! : 1 }));
    const order = inputs.label.map((_, i) => i);
    let previous: Readonly<Record<string, number>> | undefined;
    for (const [at, golden] of steps.entries()) {
      const own = { logps: inputs.logps[at]!, ref_logps: inputs.ref_logps[at]!, mask: inputs.mask };
      const completions = inputs.label.map((label, i) => ({
        ...{ completions: [completionOf(own, i)], scores: [label] },
        ...(ratios && { columns: columns[i]! }),
      }));
      const logRatios = own.logps.map((row, i) => row.reduce((sum, x, t) => sum + x - own.ref_logps[i]![t]!, 0));
      const step = { logRatios: async () => logRatios, mismatchedLogRatios: async () => [] };
      const numbers = await loss.before!({ ...step, previous, isEvaluation: false });
      const { delta, ...metrics } = golden.metrics!;
      expectClose([numbers.delta!], [delta!], 1e-7, 'delta');
      expect(await loss.before!({ ...step, previous: numbers, isEvaluation: true })).toEqual(numbers);
      const layout = previous ? { previous } : {};
      expect(await expectGolden(loss, completions, { ...golden, options, metrics }, order, layout)).toBe(4);
      previous = numbers;
    }
    expect(previous!.delta_count).toBe(30);
  });

  it.each(exploring.xpo)('XPO with $options', async (golden) => {
    const { inputs } = exploring;
    const { loss_type: type, beta, alpha } = golden.options as { loss_type: string; beta: number; alpha: number };
    const rows = inputs.scores
      .slice(0, 5)
      .map((score, i) => (score >= inputs.scores[i + 5]! ? [i, i + 5] : [i + 5, i]));
    const pairs = rows.map(([chosen, rejected]) => ({
      completions: [completionOf(inputs, chosen!), completionOf(inputs, rejected!)],
      columns: { is_reference_chosen: Number(chosen! >= 5) },
    }));
    const made = {
      sigmoid: preferenceLosses.sigmoid({ beta }),
      ipo: preferenceLosses.ipo({ beta, averageLogProb: false }),
    };
    const loss = preferenceLosses.xpo({ loss: made[type as keyof typeof made], alpha });
    expect(await expectGolden(loss, pairs, golden, rows.flat())).toBe(6);
  });

  it.each(exploring.nash_md)('Nash-MD with $options', async (golden) => {
    const { inputs } = exploring;
    const completions = inputs.probability.map((preference, i) => ({
      completions: [completionOf(inputs, i)],
      columns: { preference },
    }));
    const order = inputs.probability.map((_, i) => i);
    const loss = preferenceLosses.nash_md({ beta: golden.options.beta as number });
    expect(await expectGolden(loss, completions, golden, order)).toBe(3);
  });

  it('BCO at its shift is log 2, and a shift of all rewards changes nothing once it is known', async () => {
    const at = (ratio: number) => ({ completions: [{ logProbs: [ratio - 1], reference: [-1] }] });
    const loss = preferenceLosses.bco({ beta: 1 });
    const of = async (ratios: readonly number[]) =>
      (
        await evaluatePreference(
          loss,
          ratios.map((ratio, i) => ({ ...at(ratio), scores: [i % 2] })),
        )
      ).loss;
    expect(await of([0.7, 0.7])).toBeCloseTo(Math.LN2, 6);
    expect(await of([3.2, 2.1])).toBeCloseTo(await of([1.1, 0]), 6);
  });

  it('Nash-MD against a coin has no gradient but the KL’s, and its fixed point is the best policy that the KL allows', async () => {
    const beta = 0.5;
    const loss = preferenceLosses.nash_md({ beta });
    // Of two answers with π_ref = ½, of which the first wins against the second and ties with itself: the gradient of the policy's logit,
    // summed over both answers by their probabilities, vanishes where log π/(1-π) = P(1) - P(2), over β.
    const [half, wins] = [Math.log(0.5), 0.5];
    const pi = 1 / (1 + Math.exp(-wins / beta));
    const answers = [
      { p: pi, preference: 1 - pi / 2 },
      { p: 1 - pi, preference: (1 - pi) / 2 },
    ];
    const slopes = await Promise.all(
      answers.map(async ({ p, preference }) => {
        const one = { completions: [{ logProbs: [Math.log(p)], reference: [half] }], columns: { preference } };
        return (await evaluatePreference(loss, [one])).gradient[0]![0]!;
      }),
    );
    // ∂ log π_i / ∂ logit is 1 - π for the first and -π for the second.
    expect(pi * slopes[0]! * (1 - pi) - (1 - pi) * slopes[1]! * pi).toBeCloseTo(0, 6);
    const tie = { completions: [{ logProbs: [-1], reference: [-1] }], columns: { preference: 0.5 } };
    expect((await evaluatePreference(loss, [tie])).gradient[0]![0]).toBeCloseTo(0, 10);
  });

  it('XPO without a bonus is DPO, and its bonus asks for less of what the reference says', async () => {
    const pair = (is_reference_chosen: number) => ({
      completions: [
        { logProbs: [-1, -0.5], reference: [-0.7, -0.6] },
        { logProbs: [-2], reference: [-1] },
      ],
      columns: { is_reference_chosen },
    });
    const of = (alpha: number, chosen: number) => evaluatePreference(preferenceLosses.xpo({ alpha }), [pair(chosen)]);
    const plain = await evaluatePreference(preferenceLosses.sigmoid(), [pair(0)]);
    expect((await of(0, 1)).gradient).toEqual(plain.gradient);
    const rises = async (chosen: number) =>
      (await of(0.3, chosen)).gradient.map((row, i) => row.map((x, t) => x - plain.gradient[i]![t]!));
    expectClose((await rises(1)).flat(), [0.3, 0.3, 0], 1e-6);
    expectClose((await rises(0)).flat(), [0, 0, 0.3], 1e-6);
    expect(() => preferenceLosses.xpo({ loss: preferenceLosses.simpo() })).toThrow(/over means of tokens/);
    expect(() => preferenceLosses.xpo({ loss: preferenceLosses.aot() })).toThrow(/couples the pairs/);
  });
});

describe('implicit_prm', () => {
  const { implicit_prm: golden } = JSON.parse(
    readFileSync(new URL('../../../goldens/reward-models/expected.json', import.meta.url), 'utf8'),
  ) as {
    implicit_prm: {
      logits: number[];
      reference: number[];
      label: boolean[];
      beta: number;
      loss: number;
      gradient: number[];
    };
  };
  const completions = golden.logits.map((logProb, i) => ({
    completions: [{ logProbs: [logProb], reference: [golden.reference[i]!] }],
    scores: [golden.label[i] ? 1 : 0],
  }));

  it('is the cross-entropy of the outcome: value and gradient', async () => {
    const loss = preferenceLosses.implicit_prm({ beta: golden.beta });
    const gradient = golden.gradient.map((x) => [x]);
    await expectGolden(loss, completions, { options: {}, loss: golden.loss, gradient }, [0, 1, 2, 3]);
  });

  it('is the loss of PRIME’s code, of completions of any length: value and gradient', async () => {
    interface Case {
      readonly beta: number;
      readonly logRatios: number[][];
      readonly right: number[];
      readonly loss: number;
      readonly gradient: number[][];
    }
    const { cases } = readGolden<{ cases: Case[] }>('cross-entropy.json', 'authors');
    for (const { beta, logRatios, right, loss, gradient } of cases) {
      const given = logRatios.map((ratios, i) => ({
        completions: [{ logProbs: ratios.map((x) => x - 2), reference: ratios.map(() => -2) }],
        scores: [right[i]!],
      }));
      const found = await evaluatePreference(preferenceLosses.implicit_prm({ beta }), given);
      expect(found.loss).toBeCloseTo(loss, 6);
      for (const [i, row] of gradient.entries()) expectClose(found.gradient[i]!.slice(0, row.length), row, 1e-6);
    }
  });

  it('with one completion half of the times right stands still at a log-ratio of 0, and finite at 1000', async () => {
    const at = async (logRatio: number) => {
      const one = { completions: [{ logProbs: [logRatio - 1], reference: [-1] }] };
      const both = [1, 0].map((score) => ({ ...one, scores: [score] }));
      const { loss, gradient } = await evaluatePreference(preferenceLosses.implicit_prm(), both);
      return { loss, slope: gradient.flat().reduce((a, b) => a + b, 0) };
    };
    expect((await at(0)).loss).toBeCloseTo(Math.log(2), 6);
    expect((await at(0)).slope).toBeCloseTo(0, 6);
    expect(Number.isFinite((await at(1000)).loss)).toBe(true);
    expect((await at(50)).slope).toBeGreaterThan(0);
  });
});

describe('what does not come from the formulas of pairs', () => {
  /** Completions of one token each, or of `lengths`, whose tokens have these log-probabilities. */
  const pair = (chosen: readonly number[], rejected: readonly number[], reference?: readonly [number, number]) => ({
    completions: [chosen, rejected].map((logProbs, i) => ({
      logProbs,
      ...(reference && { reference: logProbs.map(() => reference[i]!) }),
    })),
  });
  const margins = async (loss: AnyPreferenceLoss, values: readonly number[]) =>
    Promise.all(values.map(async (x) => (await evaluatePreference(loss, [pair([x - 1], [-1], [-1, -1])])).loss));

  it('IPO stands still where log-ratios differ by 1/(2β): per token however long completions are, or in sum', async () => {
    // h_w / |y_w| = 2 and h_l / |y_l| = -3 differ by 5 = 1 / (2 · 0.1); the sums 6 and -6 by 12.
    const pairs = [pair([1, 1, 1], [-3.5, -3.5], [-1, -0.5])];
    for (const options of [{ beta: 0.1 }, { beta: 1 / 24, averageLogProb: false }]) {
      const { loss, gradient } = await evaluatePreference(preferenceLosses.ipo(options), pairs);
      expectClose([loss, ...gradient.flat()], [0, 0, 0, 0, 0, 0], 1e-6);
    }
  });

  it('SimPO does not see lengths: a completion said twice has the loss of once', async () => {
    const loss = preferenceLosses.simpo();
    const once = await evaluatePreference(loss, [pair([-0.5], [-1.5])]);
    const twice = await evaluatePreference(loss, [pair([-0.5, -0.5], [-1.5, -1.5, -1.5, -1.5])]);
    expect(twice.loss).toBeCloseTo(once.loss, 7);
    // By hand: -log σ(2 · 1 - 0.5).
    expect(once.loss).toBeCloseTo(Math.log1p(Math.exp(-1.5)), 7);
    const alphapo = await evaluatePreference(preferenceLosses.alphapo({ alpha: 1e-6 }), [pair([-0.5], [-1.5])]);
    expect(alphapo.loss).toBeCloseTo(once.loss, 4);
  });

  it('ORPO by hand: odds of 2/3 and 1/4, and the likelihood of the chosen completion', async () => {
    const loss = preferenceLosses.orpo({ beta: 1 });
    const { loss: value, metrics } = await evaluatePreference(loss, [pair([Math.log(0.4)], [Math.log(0.2)])]);
    const oddsTerm = -Math.log(1 / (1 + 0.25 / (2 / 3)));
    expect(oddsTerm).toBeCloseTo(0.3185, 4);
    expect(value).toBeCloseTo(oddsTerm - Math.log(0.4), 6);
    expect(metrics.nll_loss).toBeCloseTo(-Math.log(0.4), 6);
    const certain = await evaluatePreference(loss, [pair([-1e-6], [-1])]);
    expect(certain.gradient.flat().every(Number.isFinite)).toBe(true);
  });

  it('AOT does not see in which pair a margin stands: only the distribution of margins counts', async () => {
    const references = [
      [-1, -2],
      [-3, -1],
      [-2, -2.5],
    ] as const;
    const loss = async (sums: readonly (readonly [number, number])[]) => {
      const pairs = sums.map(([chosen, rejected], i) => pair([chosen], [rejected], references[i]!));
      return (await evaluatePreference(preferenceLosses.aot(), pairs)).loss;
    };
    const value = await loss([
      [-1, -2],
      [-3, -3.5],
      [-2, -4],
    ]);
    expect(
      await loss([
        [-2, -4],
        [-1, -2],
        [-3, -3.5],
      ]),
    ).toBeCloseTo(value, 10);
    expect(
      await loss([
        [-2, -4.5],
        [-1, -2],
        [-3, -3.5],
      ]),
    ).not.toBeCloseTo(value, 4);
  });

  it('robust DPO is unbiased: over labels of which a share ε is flipped, its mean is the loss of DPO', async () => {
    const share = 0.2;
    const [right, wrong] = await margins(preferenceLosses.robust({ beta: 0.5, labelSmoothing: share }), [1.3, -1.3]);
    const [clean] = await margins(preferenceLosses.sigmoid({ beta: 0.5 }), [1.3]);
    expect((1 - share) * right! + share * wrong!).toBeCloseTo(clean!, 6);
    // cDPO is DPO on such labels instead.
    const [flipped] = await margins(preferenceLosses.sigmoid({ beta: 0.5 }), [-1.3]);
    const [smoothed] = await margins(preferenceLosses.cdpo({ beta: 0.5, labelSmoothing: share }), [1.3]);
    expect(smoothed).toBeCloseTo((1 - share) * clean! + share * flipped!, 6);
  });

  it.each([
    ['cdpo', { labelSmoothing: 0.2, beta: 1 }, Math.log(4)],
    ['exo_pair', { labelSmoothing: 0.2, beta: 1 }, Math.log(4)],
    ['hinge', { beta: 0.5 }, 2],
  ] as const)('%s is least where its definition says', async (name, options, at) => {
    const loss = (preferenceLosses[name] as Make)(options);
    const values = await margins(loss, [at - 0.1, at, at + 0.1]);
    expect(values[1]).toBeLessThan(values[0]!);
    expect(values[1]).toBeLessThanOrEqual(values[2]!);
    if (name !== 'cdpo') expect(values[1]).toBeCloseTo(0, 6);
  });

  it('f-DPO is DPO near the reference whatever the divergence, and its optimum is what the divergence says', async () => {
    const [near, beta] = [1e-3, 0.5];
    const kinds = ['reverse_kl', 'forward_kl', 'js_divergence', 'alpha_divergence'] as const;
    for (const fDivergenceType of kinds) {
      // f''(1) is 1 for all but JS, where it is ½.
      const slope = fDivergenceType === 'js_divergence' ? 0.5 : 1;
      const [low, high] = await margins(preferenceLosses.f_dpo({ beta, fDivergenceType }), [-near, near]);
      expect((high! - low!) / (2 * near), fDivergenceType).toBeCloseTo(-beta * slope * 0.5, 3);
    }
    // Of two answers with π_ref = ½ each, the π that is best for E r - β KL(π_ref ‖ π), found by trying all, has the margin r_w - r_l
    // that makes the loss what it is for the two rewards.
    const rewards = [1.2, 0.2] as const;
    const worth = (p: number) =>
      p * rewards[0] + (1 - p) * rewards[1] - beta * (0.5 * Math.log(0.5 / p) + 0.5 * Math.log(0.5 / (1 - p)));
    const grid = Array.from({ length: 99_999 }, (_, i) => (i + 1) / 1e5);
    const best = grid.reduce((a, b) => (worth(b) > worth(a) ? b : a));
    const half = Math.log(0.5);
    const one = pair([Math.log(best)], [Math.log(1 - best)], [half, half]);
    const { loss } = await evaluatePreference(preferenceLosses.f_dpo({ beta, fDivergenceType: 'forward_kl' }), [one]);
    expect(loss).toBeCloseTo(Math.log1p(Math.exp(-(rewards[0] - rewards[1]))), 3);
  });

  it('f-DPO and LD-DPO have no reason to move what is finite to what is not', async () => {
    for (const options of [{ fAlphaDivergenceCoef: 0.5 }, { fAlphaDivergenceCoef: 1.5 }]) {
      const loss = preferenceLosses.f_dpo({ fDivergenceType: 'alpha_divergence', ...options });
      const { gradient } = await evaluatePreference(loss, [pair([-1], [-400], [-400, -1])]);
      expect(gradient.flat().every(Number.isFinite)).toBe(true);
    }
  });

  it('LD-DPO with α 0 does not see what only the longer completion has, and with 1 it is DPO', async () => {
    const of = async (ldAlpha: number, tail: readonly number[]) =>
      evaluatePreference(preferenceLosses.ld_dpo({ ldAlpha }), [pair([-0.5, -0.7, ...tail], [-1.5, -1], [-1, -0.5])]);
    const none = await of(0, [-2, -3]);
    expect(none.loss).toBeCloseTo((await of(0, [])).loss, 7);
    expect(none.gradient[0]!.slice(2)).toEqual([0, 0]);
    const whole = await evaluatePreference(preferenceLosses.sigmoid(), [
      pair([-0.5, -0.7, -2, -3], [-1.5, -1], [-1, -0.5]),
    ]);
    expect((await of(1, [-2, -3])).loss).toBeCloseTo(whole.loss, 7);
  });

  it('SPIN stands still where the policy says what the data say, and only there: the expected gradient, by enumeration', async () => {
    const opponent = [0.4, 0.3, 0.2, 0.1];
    /** Of logits of four outcomes, over all pairs of what the data and the opponent say; policy and opponent are one. */
    const slopeAt = async (data: readonly number[]) => {
      const outcomes = opponent.flatMap((_, i) => opponent.map((__, j) => [i, j] as const));
      const completions = outcomes.map((of) => ({
        completions: of.map((y) => ({ logProbs: [Math.log(opponent[y]!)], reference: [Math.log(opponent[y]!)] })),
      }));
      const { gradient } = await evaluatePreference(preferenceLosses.sigmoid({ beta: 0.3 }), completions);
      const slope = opponent.map(() => 0);
      outcomes.forEach(([i, j], pair) => {
        const weight = data[i]! * opponent[j]! * outcomes.length;
        for (const [side, y] of [i, j].entries()) {
          const own = weight * gradient[2 * pair + side]!.at(-1)!;
          opponent.forEach((p, k) => {
            slope[k]! += own * (Number(k === y) - p);
          });
        }
      });
      return slope;
    };
    expectClose(await slopeAt(opponent), [0, 0, 0, 0], 1e-7);
    // Elsewhere it is the difference of the two, less and more by half of β.
    const data = [0.1, 0.2, 0.3, 0.4];
    expectClose(
      await slopeAt(data),
      data.map((d, k) => -0.15 * (d - opponent[k]!)),
      1e-7,
    );
  });

  it('BFPO: where both are safe it is IPO with sums, and pairs at its four targets teach nothing', async () => {
    const one = { completions: pair([-0.2, -0.4], [-1], [-1, -1]).completions };
    const ipo = (await evaluatePreference(preferenceLosses.ipo({ averageLogProb: false }), [one])).loss;
    expect((await evaluatePreference(preferenceLosses.bfpo(), [one])).loss).toBeCloseTo(ipo, 6);
    // ½, 1, -1 and -½ over β.
    const targets = [
      [1, 1, 5],
      [1, 0, 10],
      [0, 1, -10],
      [0, 0, -5],
    ] as const;
    const pairs = targets.map(([is_chosen_safe, is_rejected_safe, margin]) => ({
      ...pair([margin - 1], [-1], [-1, -1]),
      columns: { is_chosen_safe, is_rejected_safe },
    }));
    expect((await evaluatePreference(preferenceLosses.bfpo(), pairs)).loss).toBeCloseTo(0, 10);
  });

  it('DPOP is DPO where what is chosen did not become unlikelier, and SPPO is 0 at its two targets', async () => {
    const [dpop, plain] = [preferenceLosses.dpop({ beta: 0.3 }), preferenceLosses.sigmoid({ beta: 0.3 })];
    expectClose(await margins(dpop, [0, 0.7]), await margins(plain, [0, 0.7]), 1e-7);
    expect((await margins(dpop, [-0.1]))[0]).toBeGreaterThan((await margins(plain, [-0.1]))[0]! + 0.5);
    const { loss } = await evaluatePreference(preferenceLosses.sppo_hard(), [pair([4], [-6], [-1, -1])]);
    expect(loss).toBeCloseTo(0, 10);
  });

  it('what needs no reference is refused one, and what couples pairs is no loss over single ones', async () => {
    const greedy: PreferenceLoss = {
      ...preferenceLosses.simpo(),
      compute: ({ chosen, referenceChosen }) => chosen.sub(referenceChosen),
    };
    await expect(evaluatePreference(greedy, [pair([-1], [-2])])).rejects.toThrow(/reference: false/);
    expect(() => liftPreferenceLoss(preferenceLosses.aot())).toThrow(/coupledPairs/);
  });

  it.each<[string, AnyPreferenceLoss]>([
    ['pairs', preferenceLosses.sigmoid()],
    ['single completions', preferenceLosses.kto()],
    ['rankings', preferenceLosses.mdpo()],
    ['all pairs of a step', preferenceLosses.aot()],
    ['a combination', combinedLoss({ losses: [{ ...preferenceLosses.ipo(), compute: () => undefined as never }] })],
  ])('what gives no losses is named: of %s', async (what, loss) => {
    const pairs = [pair([-1], [-2], [-1, -2])];
    const silent = what === 'a combination' ? loss : { ...loss, name: 'mine', compute: () => undefined as never };
    const name = what === 'a combination' ? 'ipo' : 'mine';
    await expect(evaluatePreference(silent as AnyPreferenceLoss, pairs)).rejects.toThrow(
      `the loss ${name} gave no losses; compute must give`,
    );
    const number = { ...loss, name: 'mine', compute: () => ({ losses: tensor([1]), metrics: { x: 1 as never } }) };
    if (what === 'a combination') return;
    await expect(evaluatePreference(number as AnyPreferenceLoss, pairs)).rejects.toThrow(
      'the loss mine gave no tensor as the metric x',
    );
  });

  it('a combination keeps the scale of each loss, and refuses what cannot stand beside another', async () => {
    const { simpo, sigmoid, aot, sft, kto, orpo } = preferenceLosses;
    const pairs = [pair([-0.5, -0.7], [-1.5, -1, -2], [-1, -0.5])];
    const combinedValue = async (loss: AnyPreferenceLoss) => (await evaluatePreference(loss, pairs)).loss;
    const [a, b] = [await combinedValue(sigmoid()), await combinedValue(simpo())];
    for (const losses of [
      [sigmoid(), simpo()],
      [simpo(), sigmoid()],
    ]) {
      expect(await combinedValue(combinedLoss({ losses }))).toBeCloseTo(a + b, 6);
    }
    expect(combinedLoss({ losses: [sft(), simpo()] }).reference).toBe(false);
    expect(() => combinedLoss({ losses: [] })).toThrow(/losses is empty/);
    expect(() => combinedLoss({ losses: [sigmoid()], lossWeights: [1, 2] })).toThrow(/2 numbers for 1 losses/);
    expect(() => combinedLoss({ losses: [aot(), sft()] })).toThrow(/aot couples the pairs/);
    expect(() => combinedLoss({ losses: [orpo(), sft()] })).toThrow(/whole sequences/);
    expect(() => combinedLoss({ losses: [kto() as never] })).toThrow(/a loss of pairs/);
  });
});

describe('what does not come from the formulas of rankings', () => {
  const ranking = (ratios: readonly number[], scores: readonly number[]): ScriptedPreference => ({
    completions: ratios.map((ratio) => ({ logProbs: [ratio - 1], reference: [-1] })),
    scores,
  });
  const lossOfRanking = async (loss: AnyPreferenceLoss, ratios: readonly number[], scores: readonly number[]) =>
    (await evaluatePreference(loss, [ranking(ratios, scores)])).loss;

  const permutations = (items: readonly number[]): number[][] =>
    items.length < 2
      ? [[...items]]
      : items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]));

  it('Plackett-Luce: the probabilities of all rankings of four sum to 1, and of the best two to 1', async () => {
    const [loss, ratios] = [preferenceLosses.plackett_luce({ beta: 0.7 }), [0.3, -1.1, 0.8, 2]];
    const all = permutations([0, 1, 2, 3]);
    const probability = async (scores: readonly number[]) => Math.exp(-(await lossOfRanking(loss, ratios, scores)));
    const whole = await Promise.all(all.map(probability));
    expect(whole.length).toBe(24);
    expect(whole.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    // Scores 2 and 1 are the first two places, 0 all others.
    const partial = new Set(all.map((scores) => String(scores.map((score) => Math.max(0, score - 1)))));
    const ofBest = await Promise.all([...partial].map((scores) => probability(scores.split(',').map(Number))));
    expect(ofBest.length).toBe(12);
    expect(ofBest.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
  });

  it('of two completions, Plackett-Luce and mDPO are DPO and mIPO is IPO with sums', async () => {
    const beta = 0.3;
    const dpo = (await evaluatePreference(preferenceLosses.sigmoid({ beta }), [ranking([0.9, -0.4], [])])).loss;
    const ipo = preferenceLosses.ipo({ beta, averageLogProb: false });
    for (const [name, expected] of [
      ['plackett_luce', dpo],
      ['mdpo', dpo],
      ['mipo', (await evaluatePreference(ipo, [ranking([0.9, -0.4], [])])).loss],
    ] as const) {
      const loss = preferenceLosses[name]({ beta });
      expect(await lossOfRanking(loss, [0.9, -0.4], [1, 0]), name).toBeCloseTo(expected, 7);
      expect(await lossOfRanking(loss, [-0.4, 0.9], [3, 7]), name).toBeCloseTo(expected, 7);
    }
  });

  it('mIPO without the bias: over all draws of two from two groups of values its mean is the square of what the means differ by', async () => {
    const [better, worse, beta] = [[0.3, 1.9], [0.4, -1.2], 0.5];
    const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const draws = (of: readonly number[]) => of.flatMap((a) => of.map((b) => [a, b]));
    const all = draws(better).flatMap((w) => draws(worse).map((l) => ranking([...w, ...l], [1, 1, 0, 0])));
    const expected = (meanOf(better) - meanOf(worse) - 1 / (2 * beta)) ** 2;
    const of = async (estimator: 'unbiased' | 'plain') =>
      (await evaluatePreference(preferenceLosses.mipo({ beta, estimator }), all)).loss;
    expect(await of('unbiased')).toBeCloseTo(expected, 5);
    expect((await of('plain')) - expected).toBeGreaterThan(0.5);
  });

  it('does not see in which order completions are given, nor what another prompt has', async () => {
    const [ratios, scores] = [
      [0.3, -1.1, 0.8, 2],
      [0.2, 1, 0.2, 0.5],
    ];
    const shuffled = [2, 0, 3, 1];
    for (const name of ['plackett_luce', 'lipo', 'mdpo', 'mipo'] as const) {
      const loss = preferenceLosses[name]();
      const value = await lossOfRanking(loss, ratios, scores);
      const of = (values: readonly number[]) => shuffled.map((i) => values[i]!);
      expect(await lossOfRanking(loss, of(ratios), of(scores)), name).toBeCloseTo(value, 7);
      const other = await lossOfRanking(loss, [5, -5], [0, 1]);
      const both = await evaluatePreference(loss, [ranking(ratios, scores), ranking([5, -5], [0, 1])]);
      expect(both.loss, name).toBeCloseTo((value + other) / 2, 6);
    }
  });

  it('LiPO weighs most what would change the gain at the top', async () => {
    const loss = preferenceLosses.lipo({ beta: 1 });
    const top = await lossOfRanking(loss, [3, 2, 1, 0], [0, 1, 0, 0]);
    const bottom = await lossOfRanking(loss, [3, 2, 1, 0], [0, 0, 0, 1]);
    const pairOnly = await lossOfRanking(loss, [0, 0.5], [1, 0]);
    // By hand: |2 - 1| · |1 / log 3 - 1 / log 2| · log(1 + e^0.5).
    expect(pairOnly).toBeCloseTo((1 / Math.LN2 - 1 / Math.log(3)) * Math.log1p(Math.exp(0.5)), 6);
    expect(bottom).toBeGreaterThan(top);
    // At the reference all are equal, and there is something to learn nevertheless.
    const { gradient } = await evaluatePreference(loss, [ranking([0, 0, 0], [0.5, 0, 1])]);
    expect(Math.max(...gradient.flat().map(Math.abs))).toBeGreaterThan(0.1);
  });
});
