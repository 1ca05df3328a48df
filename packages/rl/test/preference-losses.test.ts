import { referenceEngine, setEngine, tensor, valueAndGrad } from '@posttrain/core-tensor';
import type { TrainingRow } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  annotatePairs,
  annotateUnpaired,
  coupledPairs,
  type PreferenceLoss,
  preferenceLosses,
  preferenceTokenLoss,
  type ReferredPair,
  unpairedLoss,
} from '../src/index.js';
import { evaluateLoss, expectClose, type Grid, readGolden } from './goldens.js';

beforeAll(() => setEngine(referenceEngine()));

interface Case {
  readonly options: Readonly<Record<string, unknown>>;
  readonly loss: number;
  readonly gradient: number[][];
  readonly metrics: Readonly<Record<string, number>>;
}

type Inputs = Readonly<Record<'logps' | 'mask', number[][]>> & {
  readonly ref_logps?: number[][];
  entropies?: number[][];
};

/** Goldens have all chosen rows first, then all rejected ones; ours alternate. The prompt is the first three tokens. */
function pairsOf(inputs: Inputs, count: number): { pairs: ReferredPair[]; order: number[]; width: number } {
  const trained = (i: number) => inputs.mask[i]!.slice(1);
  const completion = (i: number, values: number[][]) => values[i]!.filter((_, t) => trained(i)[t] === 1);
  const pairs = Array.from({ length: count }, (_, i): ReferredPair => {
    const references = inputs.ref_logps;
    return {
      promptTokens: [1, 1, 1],
      chosenTokens: completion(i, inputs.logps).map(() => 2),
      rejectedTokens: completion(i + count, inputs.logps).map(() => 2),
      ...(references && {
        reference: { chosen: completion(i, references), rejected: completion(i + count, references) },
      }),
    };
  });
  return { pairs, order: pairs.flatMap((_, i) => [i, i + count]), width: inputs.logps[0]!.length };
}

/** Rows filled up to one width. */
const padded = (rows: readonly TrainingRow[], width: number): TrainingRow[] =>
  rows.map((row) => {
    const fill = (values: ArrayLike<number>) =>
      values.length === 1 ? values : [...Array.from(values), ...new Array<number>(width - values.length).fill(0)];
    return {
      tokens: new Array<number>(width + 1).fill(0),
      weights: fill(row.weights),
      annotations: Object.fromEntries(Object.entries(row.annotations!).map(([name, values]) => [name, fill(values)])),
    };
  });

const dpoGolden = readGolden<{ pairs: number; inputs: Inputs; cases: Case[] }>('dpo-loss.json');
const pairGolden = readGolden<{ pairs: number; inputs: Inputs; cases: (Case & { name: string })[] }>(
  'preference-pairs.json',
);
const ktoGolden = readGolden<{
  inputs: Inputs & Record<'kl_logps' | 'ref_kl_logps', number[][]> & { label: boolean[] };
  cases: Case[];
  clamped: Case;
}>('kto-loss.json');

const plain = (kind: string) =>
  dpoGolden.cases.filter(({ options }) => {
    const { loss_types: types, beta: _, label_smoothing: __, ...others } = options;
    return String(types) === kind && Object.keys(others).length === 0;
  });

const numbers = (options: Case['options']) =>
  options as { beta?: number; label_smoothing?: number; simpo_gamma?: number };

describe('pair losses against TRL: value, gradient and metrics', () => {
  const cases: [string, PreferenceLoss, Case, typeof dpoGolden.inputs, number][] = [
    ...plain('ipo').map((one): [string, PreferenceLoss, Case, Inputs, number] => {
      const { beta } = numbers(one.options);
      return ['ipo', preferenceLosses.ipo(beta === undefined ? {} : { beta }), one, dpoGolden.inputs, dpoGolden.pairs];
    }),
    ...pairGolden.cases.map((one): [string, PreferenceLoss, Case, Inputs, number] => {
      const { beta, simpo_gamma: gamma } = numbers(one.options);
      const loss =
        one.name === 'simpo'
          ? preferenceLosses.simpo({ beta: beta!, gamma: gamma! })
          : preferenceLosses.orpo({ beta: beta! });
      return [one.name, loss, one, pairGolden.inputs, pairGolden.pairs];
    }),
  ];

  it('has two cases of each', () => {
    expect(cases.map(([name]) => name)).toEqual(['ipo', 'ipo', 'simpo', 'simpo', 'orpo', 'orpo']);
  });

  it.each(cases)('%s %#', async (_, preference, expected, inputs, count) => {
    const { pairs, order, width } = pairsOf(inputs, count);
    const rows = padded(annotatePairs(pairs, preference), width);
    const entropies = inputs.entropies ?? inputs.logps.map((row) => row.map(() => 0));
    const result = await evaluateLoss(
      preferenceTokenLoss(preference),
      rows,
      order.map((i) => inputs.logps[i]!),
      order.map((i) => entropies[i]!),
    );
    expectClose([result.loss], [expected.loss], 2e-6 * Math.max(1, expected.loss), 'loss');
    const gradient = order.flatMap((i) => expected.gradient[i]!);
    expectClose(result.gradient, gradient, 2e-6 * Math.max(1, ...gradient.map(Math.abs)), 'gradient');
    for (const [name, value] of Object.entries(expected.metrics)) {
      // TRL logs a likelihood that it does not use as 0.
      expectClose([result.metrics[name] ?? (name === 'nll_loss' ? 0 : Number.NaN)], [value], 1e-5, name);
    }
    expect(Object.keys(expected.metrics).length).toBeGreaterThan(5);
  });
});

describe('AOT against TRL, over all pairs of a step', () => {
  it.each(plain('aot'))('value and gradient with $options', async ({ options, loss, gradient }) => {
    const { label_smoothing: labelSmoothing = 0 } = numbers(options);
    const { pairs, order } = pairsOf(dpoGolden.inputs, dpoGolden.pairs);
    const sums = order.map((i) =>
      dpoGolden.inputs.logps[i]!.reduce((sum, x, t) => sum + x * dpoGolden.inputs.mask[i]![t + 1]!, 0),
    );
    const coupled = coupledPairs(preferenceLosses.aot({ labelSmoothing }), pairs);
    const { value, gradient: slopes } = valueAndGrad((x: ReturnType<typeof tensor>) => coupled.compute(x).loss)(
      tensor(Float32Array.from(sums), [sums.length]),
    );
    expectClose([await value.item()], [loss], 1e-6);
    // Every token of a completion has the slope of its sum.
    const expected = order.map((i) => gradient[i]!.find((_, t) => dpoGolden.inputs.mask[i]![t + 1] === 1)!);
    expectClose(await slopes.toArray(), expected, 1e-6);
  });

  it('does not see in which pair a margin stands: only the distribution of margins counts', async () => {
    const pair = (chosen: number, rejected: number): ReferredPair => ({
      ...{ promptTokens: [1], chosenTokens: [2], rejectedTokens: [3] },
      reference: { chosen: [chosen], rejected: [rejected] },
    });
    const pairs = [pair(-1, -2), pair(-3, -1), pair(-2, -2.5)];
    const loss = async (sums: number[]) =>
      coupledPairs(preferenceLosses.aot(), pairs)
        .compute(tensor(Float32Array.from(sums), [6]))
        .loss.item();
    const value = await loss([-1, -2, -3, -3.5, -2, -4]);
    expect(await loss([-2, -4, -1, -2, -3, -3.5])).toBeCloseTo(value, 10);
    expect(await loss([-2, -4.5, -1, -2, -3, -3.5])).not.toBeCloseTo(value, 4);
  });
});

describe('KTO against TRL', () => {
  const kto = async (golden: Case, klLogps: Grid) => {
    const { inputs } = ktoGolden;
    const {
      beta,
      desirable_weight: desirableWeight = 1,
      undesirable_weight: undesirableWeight = 1,
    } = golden.options as { beta?: number; desirable_weight?: number; undesirable_weight?: number };
    const preference = preferenceLosses.kto({
      ...(beta !== undefined && { beta }),
      desirableWeight,
      undesirableWeight,
    });
    const trained = (i: number) => inputs.mask[i]!.slice(1);
    const width = inputs.logps[0]!.length;
    const completions = inputs.label.map((desirable, i) => ({
      promptTokens: [1, 1, 1],
      completionTokens: trained(i).filter((x) => x === 1),
      desirable,
      reference: inputs.ref_logps![i]!.filter((_, t) => trained(i)[t] === 1),
    }));
    const rows = padded(annotateUnpaired(completions), width);
    const mismatchedLogRatios = async () =>
      klLogps.map((row, i) => row.reduce((sum, x, t) => sum + x - inputs.ref_kl_logps[i]![t]!, 0));
    const scalars = await preference.before!({ mismatchedLogRatios });
    const loss = unpairedLoss(preference);
    const grid = (values: readonly ArrayLike<number>[], shape: number[]) =>
      tensor(Float32Array.from(values.flatMap((row) => Array.from(row))), shape);
    const annotations = Object.fromEntries(
      loss.annotations.map((given) => {
        const [name, shape] = typeof given === 'string' ? [given, [10, width]] : [given.name, [10]];
        return [
          name,
          grid(
            rows.map((row) => row.annotations![name]!),
            shape,
          ),
        ];
      }),
    );
    const named = Object.fromEntries(Object.entries(scalars).map(([name, x]) => [name, tensor([x], [])]));
    const { value, gradient } = valueAndGrad((logProbs: ReturnType<typeof tensor>) => {
      const seen = { logProbs, entropies: grid(inputs.entropies!, [10, width]) };
      const weights = grid(
        rows.map((row) => row.weights),
        [10, width],
      );
      const result = loss.computeFrom(() => seen as never, {
        ...{ weights, annotations, scalars: named },
        segments: tensor(new Int32Array(10 * (width + 1)).fill(1), [10, width + 1], 'int32'),
      });
      return [result.loss, result.metrics] as const;
    })(grid(inputs.logps, [10, width]));
    const metrics = await Promise.all(
      Object.entries(value[1]).map(async ([name, x]) => [name, await x.item()] as const),
    );
    return {
      loss: await value[0].item(),
      gradient: await gradient.toArray(),
      metrics: { ...Object.fromEntries(metrics), ...scalars },
    };
  };

  it.each([
    ...ktoGolden.cases.map((golden) => ['z above 0', golden, ktoGolden.inputs.kl_logps] as const),
    [
      'z held at 0',
      ktoGolden.clamped,
      ktoGolden.inputs.ref_kl_logps.map((row, i) => row.map((x, t) => x - 0.2 * ktoGolden.inputs.mask[i]![t + 1]!)),
    ] as const,
  ])('value, gradient and metrics: %s %#', async (_, golden, klLogps) => {
    const { loss, gradient, metrics } = await kto(golden, klLogps);
    expectClose([loss], [golden.loss], 1e-6, 'loss');
    expectClose(gradient, golden.gradient.flat(), 1e-6, 'gradient');
    const seen = Object.entries(golden.metrics).filter(([name]) => name in metrics);
    for (const [name, value] of seen) expectClose([metrics[name as keyof typeof metrics]!], [value], 1e-5, name);
    expect(seen.length).toBeGreaterThan(3);
  });
});

describe('what does not come from the formulas', () => {
  const pairAt = (
    lengths: readonly [number, number] = [1, 1],
    reference?: readonly [number, number],
  ): ReferredPair => ({
    promptTokens: [1],
    chosenTokens: new Array<number>(lengths[0]).fill(2),
    rejectedTokens: new Array<number>(lengths[1]).fill(3),
    ...(reference && {
      reference: {
        chosen: new Array<number>(lengths[0]).fill(reference[0]),
        rejected: new Array<number>(lengths[1]).fill(reference[1]),
      },
    }),
  });
  const gradientOf = async (loss: PreferenceLoss, pair: ReferredPair, logs: Grid) => {
    const width = Math.max(pair.chosenTokens.length, pair.rejectedTokens.length);
    const wide = logs.map((row) => [...row, ...new Array<number>(width - row.length).fill(0)]);
    const rows = padded(annotatePairs([pair], loss), width);
    return evaluateLoss(
      preferenceTokenLoss(loss),
      rows,
      wide,
      wide.map((row) => row.map(() => 0)),
    );
  };

  it('IPO stands still where log-ratios per token differ by 1/(2β), however long the completions are', async () => {
    const reference = [-1, -0.5] as const;
    // h_w / |y_w| = 2 and h_l / |y_l| = -3 differ by 5 = 1 / (2 · 0.1).
    const logs = [
      [1, 1, 1],
      [-3.5, -3.5],
    ];
    const { loss, gradient } = await gradientOf(preferenceLosses.ipo(), pairAt([3, 2], reference), logs);
    expectClose([loss, ...gradient], [0, 0, 0, 0, 0, 0, 0], 1e-6);
  });

  it('SimPO does not see lengths: a completion said twice has the loss of once', async () => {
    const loss = preferenceLosses.simpo();
    const once = await gradientOf(loss, pairAt([1, 1]), [[-0.5], [-1.5]]);
    const twice = await gradientOf(loss, pairAt([2, 4]), [
      [-0.5, -0.5],
      [-1.5, -1.5, -1.5, -1.5],
    ]);
    expect(twice.loss).toBeCloseTo(once.loss, 7);
    // By hand: -log σ(2 · 1 - 0.5).
    expect(once.loss).toBeCloseTo(Math.log1p(Math.exp(-1.5)), 7);
  });

  it('ORPO by hand: odds of 2/3 and 1/4, and the likelihood of the chosen completion', async () => {
    const loss = preferenceLosses.orpo({ beta: 1 });
    const { loss: value, metrics } = await gradientOf(loss, pairAt(), [[Math.log(0.4)], [Math.log(0.2)]]);
    const oddsTerm = -Math.log(1 / (1 + 0.25 / (2 / 3)));
    expect(oddsTerm).toBeCloseTo(0.3185, 4);
    expect(value).toBeCloseTo(oddsTerm - Math.log(0.4), 6);
    expect(metrics.nll_loss).toBeCloseTo(-Math.log(0.4), 6);
    const certain = await gradientOf(loss, pairAt(), [[-1e-6], [-1]]);
    expect(certain.gradient.every(Number.isFinite)).toBe(true);
  });

  it('what needs no reference is refused one, and what couples pairs is no loss over single ones', async () => {
    const greedy: PreferenceLoss = {
      ...preferenceLosses.simpo(),
      compute: ({ chosen, referenceChosen }) => chosen.sub(referenceChosen),
    };
    await expect(gradientOf(greedy, pairAt(), [[-1], [-2]])).rejects.toThrow(/reference: false/);
    expect(() => preferenceTokenLoss(preferenceLosses.aot())).toThrow(/coupledPairs/);
  });
});
