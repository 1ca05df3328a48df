import { readFileSync } from 'node:fs';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import { bestOfNKl } from '../../tts/src/index.js';
import {
  approximateTrainingFlops,
  type Battle,
  bradleyTerry,
  type DecoderShape,
  decoderForwardFlops,
  decoderParameters,
  elo,
  fitOverOptimization,
  fitScalingLaw,
  mcnemar,
  meanDifference,
  meanWithStandardError,
  type OverOptimizationPoint,
  overOptimizationCurve,
  type PairedDifference,
  type ProxiedSamples,
  pairedBootstrap,
  quantileCalibration,
  type ScalingRun,
  shareBelow,
  wilsonInterval,
} from '../src/index.js';
import { goldens } from './support.js';

describe('mean with standard error', () => {
  it('goldens', () => {
    type Golden = { values: number[]; clusters: string[] | null; mean: number; standardError: number };
    for (const { values, clusters, mean, standardError } of goldens<Golden>('standard_errors')) {
      const estimate = meanWithStandardError(values, clusters ?? undefined);
      expect(estimate.value).toBeCloseTo(mean, 12);
      expect(estimate.standardError).toBeCloseTo(standardError, 12);
    }
  });

  it('of n samples per problem, clustered, is that of the problem means', () => {
    const problems = [
      [1, 1, 0, 1],
      [0, 0, 0, 1],
      [1, 1, 1, 1],
      [0, 1, 0, 0],
      [0, 0, 0, 0],
    ];
    const clusters = problems.flatMap((samples, i) => samples.map(() => String(i)));
    const means = problems.map((samples) => samples.reduce((a, b) => a + b, 0) / samples.length);
    const clustered = meanWithStandardError(problems.flat(), clusters);
    expect(clustered.standardError).toBeCloseTo(meanWithStandardError(means).standardError!, 12);
  });

  it('covers the truth as often as it says, for proportions near 1 as well', () => {
    const random = createRandom(3);
    for (const p of [0.5, 0.95]) {
      let covered = 0;
      for (let run = 0; run < 2000; run++) {
        const values = Array.from({ length: 60 }, () => (random.float() < p ? 1 : 0));
        const [low, high] = meanWithStandardError(values).interval!;
        if (low <= p && p <= high) covered++;
      }
      expect(covered / 2000).toBeGreaterThan(0.93);
      expect(covered / 2000).toBeLessThan(0.98);
    }
  });

  it('says when it cannot be known', () => {
    expect(meanWithStandardError([])).toEqual({ value: null, standardError: null, interval: null, count: 0 });
    expect(meanWithStandardError([1]).standardError).toBeNull();
    expect(meanWithStandardError([1, 0], ['a', 'a']).standardError).toBeNull();
    expect(() => meanWithStandardError([1, 0], ['a'])).toThrow(/one per value/);
  });

  it('has no interval for values without spread, and refuses NaN', () => {
    expect(meanWithStandardError([0.5, 0.5])).toEqual({ value: 0.5, standardError: 0, interval: null, count: 2 });
    expect(meanWithStandardError([1, 1, 1], ['a', 'a', 'b'])).toMatchObject({ standardError: 0, interval: null });
    expect(() => meanWithStandardError([1, Number.NaN])).toThrow(/value 1 is NaN/);
    for (const [successes, count] of [
      [0, 0],
      [3, 2],
      [-1, 2],
    ] as const) {
      expect(() => wilsonInterval(successes, count)).toThrow(/no -?\d successes in \d trials/);
    }
  });

  it('differences are no proportions, whatever their values are', () => {
    expect(meanDifference([0, 0, 0])).toEqual({ value: 0, standardError: 0, interval: null, count: 3 });
    expect(meanWithStandardError([0, 0, 0]).interval).toEqual(wilsonInterval(0, 3));
    // 1/3 ± 1.96 · 1/3, which goes below 0 as a difference may: the same as of the same differences moved by 1/2.
    const [low, high] = meanDifference([0, 1, 0]).interval!;
    const moved = meanWithStandardError([0.5, 1.5, 0.5]).interval!;
    expect([low + 0.5, high + 0.5]).toEqual([expect.closeTo(moved[0], 12), expect.closeTo(moved[1], 12)]);
    expect(() => meanDifference([1, Number.NaN])).toThrow(/meanDifference: value 1 is NaN/);
  });

  it("Wilson's interval, closed form of 8 in 10, and bounds at the ends", () => {
    const [low, high] = wilsonInterval(8, 10);
    expect(low).toBeCloseTo(0.49016247153664183, 12);
    expect(high).toBeCloseTo(0.9433178485456247, 12);
    expect(wilsonInterval(10, 10)[1]).toBeCloseTo(1, 12);
    expect(wilsonInterval(10, 10)[0]).toBeLessThan(0.75);
  });
});

// By scipy 1.x: stats.sem, and binomtest(…).proportion_ci('wilson').
it.each([0, 1e6, -1e6])('the standard error does not depend on where the values lie: about %d', (offset) => {
  const { standardError } = meanWithStandardError([0.1, 0.5, 0.9, 0.4, 0.2].map((x) => offset + x));
  expect(standardError).toBeCloseTo(0.1392838827718412, 10);
});

it.each([
  [0, 1, 0, 0.7934506856227626],
  [1, 1, 0.20654931437723745, 1],
  [3, 7, 0.1582198552514697, 0.7495416354723428],
  [1, 100_000, 1.765247730378316e-6, 5.664709659040965e-5],
])("Wilson's interval of %d in %d", (successes, count, low, high) => {
  const interval = wilsonInterval(successes, count);
  expect(interval[0]).toBeCloseTo(low, 14);
  expect(interval[1]).toBeCloseTo(high, 14);
});

it('values whose squares are no numbers are refused', () => {
  expect(() => meanWithStandardError([1e308, 1e308])).toThrow(/too large/);
  expect(() => meanWithStandardError([1e200, -1e200])).toThrow(/too large/);
});

describe('paired bootstrap', () => {
  it.each([1e-15, 1e12])('does not depend on the unit: times %d', (unit) => {
    const [a, b] = [
      [1, 2, 5, 3, 4],
      [2, 4, 1, 6, 4],
    ];
    const plain = pairedBootstrap(a, b, { resamples: 500 });
    const scaled = pairedBootstrap(
      a.map((x) => x * unit),
      b.map((x) => x * unit),
      { resamples: 500 },
    );
    expect(scaled.pValue).toBe(plain.pValue);
    expect(scaled.warning).toBeUndefined();
    expect(scaled.interval!.map((x) => x / unit)).toEqual(plain.interval!.map((x) => expect.closeTo(x, 12)));
  });

  it('takes differences that are rounding for none', () => {
    const { warning } = pairedBootstrap([0.1 + 0.2, 0.3, 0.7], [0.3, 0.1 + 0.2, 0.7]);
    expect(warning).toMatch(/all 3 pairs have the same difference/);
  });

  it.each([Number.NaN, 1.5])('refuses the seed %d', (seed) => {
    expect(() => pairedBootstrap([0, 1], [1, 0], { seed })).toThrow(/seed is (NaN|1\.5); it must be a whole number/);
  });

  it('agrees with the enumeration of every resample', () => {
    type Golden = {
      a: number[];
      b: number[];
      difference: number;
      standardError: number;
      interval: [number, number];
      pValue: number;
    };
    for (const g of goldens<Golden>('bootstrap')) {
      const found = pairedBootstrap(g.a, g.b, { resamples: 100_000, seed: 5 });
      expect(found.difference).toBeCloseTo(g.difference, 12);
      expect(found.standardError).toBeCloseTo(g.standardError, 12);
      expect(found.interval![0]).toBeCloseTo(g.interval[0], 2);
      expect(found.interval![1]).toBeCloseTo(g.interval[1], 2);
      expect(found.pValue).toBeCloseTo(g.pValue, 2);
    }
  });

  it('rejects a true null as often as it says, and finds a real difference that an unpaired test could not', () => {
    const random = createRandom(17);
    const runs = 400;
    let rejected = 0;
    for (let run = 0; run < runs; run++) {
      const hardness = Array.from({ length: 50 }, () => random.float());
      const draw = () => hardness.map((p) => (random.float() < p ? 1 : 0));
      if (pairedBootstrap(draw(), draw(), { resamples: 400, seed: run }).pValue! <= 0.05) rejected++;
    }
    expect(rejected / runs).toBeGreaterThan(0.02);
    expect(rejected / runs).toBeLessThan(0.09);

    const a = Array.from({ length: 60 }, () => random.float() * 10);
    const b = a.map((x) => x + 0.2 + 0.1 * random.float());
    expect(pairedBootstrap(a, b).pValue).toBeLessThan(0.001);
  });

  it.each([
    ['one pair', [0], [1], undefined, null, /1 independent pair cannot say/],
    ['one cluster', [0, 0, 1], [1, 1, 1], ['a', 'a', 'a'], null, /1 independent cluster cannot say/],
    ['equal pairs', [0, 0], [1, 1], undefined, null, /all 2 pairs have the same difference/],
    ['pairs equal but for rounding', [0, 0.2], [0.1, 0.2 + 0.1], undefined, null, /all 2 pairs/],
    ['equal clusters', [0, 0, 0], [1, 1, 1], ['a', 'b', 'b'], null, /all 2 clusters/],
    ['no difference', [1, 0, 1], [1, 0, 1], undefined, 1, /all 3 pairs/],
  ])('does not take %s for certainty', (_, a, b, clusters, pValue, warning) => {
    const found = pairedBootstrap(a, b, { ...(clusters && { clusters }), resamples: 10 });
    expect(found).toMatchObject({ interval: null, pValue, warning: expect.stringMatching(warning) });
    expect(pairedBootstrap([0, 0, 0], [1, 0, 1], { resamples: 10 }).warning).toBeUndefined();
  });

  it('refuses values that are not finite', () => {
    expect(() => pairedBootstrap([1, Number.NaN], [1, 2])).toThrow(/first value 1 is NaN/);
    expect(() => pairedBootstrap([1, 2], [Number.POSITIVE_INFINITY, 2])).toThrow(/second value 0 is Infinity/);
  });

  it('resamples whole clusters', () => {
    const clusters = Array.from({ length: 40 }, (_, i) => String(i % 4));
    const b = clusters.map((cluster) => (cluster === '0' ? -1 : 1));
    const a = b.map(() => 0);
    const width = ({ interval }: PairedDifference) => interval![1] - interval![0];
    expect(width(pairedBootstrap(a, b, { clusters }))).toBeGreaterThan(1.5 * width(pairedBootstrap(a, b)));
  });

  it('is seeded, symmetric and strict', () => {
    const a = [1, 0, 1, 1, 0];
    const b = [1, 1, 1, 1, 0];
    expect(pairedBootstrap(a, b, { seed: 4 })).toEqual(pairedBootstrap(a, b, { seed: 4 }));
    expect(pairedBootstrap(b, a, { seed: 4 }).difference).toBe(-pairedBootstrap(a, b, { seed: 4 }).difference);
    expect(() => pairedBootstrap([1], [1, 2])).toThrow(/1 and 2 values/);
    expect(() => pairedBootstrap(a, b, { resample: 10 } as object)).toThrow(/Did you mean "resamples"/);
  });
});

describe('McNemar', () => {
  it.each(goldens<{ b: number; c: number; pValue: number }>('mcnemar'))('golden $b $c', ({ b, c, pValue }) => {
    const first = [...Array(b).fill(1), ...Array(c).fill(0), 1, 0];
    const second = [...Array(b).fill(0), ...Array(c).fill(1), 1, 0];
    const found = mcnemar(first, second);
    expect(found.pValue).toBeCloseTo(pValue, 10);
    expect([found.onlyFirst, found.onlySecond]).toEqual([b, c]);
    expect(mcnemar(second, first).pValue).toBe(found.pValue);
  });

  it('is the two-sided sign test: p-values of all outcomes are those of coin flips', () => {
    // With d discordant pairs, P(p ≤ α) over all 2^d coin flips never exceeds α.
    const d = 9;
    const pValues: number[] = [];
    for (let flips = 0; flips < 2 ** d; flips++) {
      const first = Array.from({ length: d }, (_, i) => (flips >> i) & 1);
      pValues.push(
        mcnemar(
          first,
          first.map((x) => 1 - x),
        ).pValue,
      );
    }
    for (const alpha of [0.01, 0.05, 0.2, 0.5]) {
      expect(pValues.filter((p) => p <= alpha + 1e-12).length / pValues.length).toBeLessThanOrEqual(alpha);
    }
  });

  it('rejects scores that are not right or wrong', () => {
    expect(() => mcnemar([0.5], [1])).toThrow(/pairedBootstrap/);
    expect(() => mcnemar([], [])).toThrow(/0 and 0 values/);
    expect(mcnemar([1, 0], [1, 0])).toEqual({ onlyFirst: 0, onlySecond: 0, pValue: 1 });
  });
});

it('random numbers: uniform, and the same for the same seed', () => {
  const random = createRandom(1);
  const counts = new Array(10).fill(0) as number[];
  for (let i = 0; i < 100_000; i++) counts[random.integer(0, 9)]!++;
  const chiSquare = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
  expect(chiSquare).toBeLessThan(27.9);
  expect(createRandom(9).float()).toBe(createRandom(9).float());
  expect(createRandom(9).float()).not.toBe(createRandom(10).float());
});

// The constants that arXiv 2404.10102 finds for the paper's runs.
const planted = { e: 1.8172, a: 482.01, b: 2085.43, alpha: 0.3478, beta: 0.3658 };

function runs(noise: number, seed = 0): ScalingRun[] {
  const random = createRandom(seed);
  return [5e7, 2e8, 8e8, 3e9, 1e10].flatMap((parameters) =>
    [1e9, 5e9, 3e10, 1e11, 5e11].map((tokens) => {
      const loss = planted.e + planted.a / parameters ** planted.alpha + planted.b / tokens ** planted.beta;
      const normal = Array.from({ length: 12 }, () => random.integer(0, 1e6 - 1) / 1e6).reduce((p, q) => p + q, -6);
      return { parameters, tokens, loss: loss * Math.exp(noise * normal) };
    }),
  );
}

interface OverOptimizationGolden {
  readonly fits: readonly {
    readonly law: 'best-of-n' | 'rl';
    readonly points: readonly OverOptimizationPoint[];
    readonly alpha: number;
    readonly beta: number;
    readonly residual: number;
  }[];
  readonly problems: readonly ProxiedSamples[];
  readonly curve: readonly { readonly n: number; readonly proxy: number; readonly gold: number }[];
}

describe('reward over-optimisation', () => {
  const { fits, problems, curve } = JSON.parse(
    readFileSync(new URL('../../../goldens/over-optimization/laws.json', import.meta.url), 'utf8'),
  ) as OverOptimizationGolden;

  it.each(fits)('fits $law as scipy does', ({ law, points, ...golden }) => {
    const fitted = fitOverOptimization(points, { law });
    for (const name of ['alpha', 'beta', 'residual'] as const) expect(fitted[name]).toBeCloseTo(golden[name], 7);
    // The slope of the law is 0 where it says that the reward is highest; where β < 0 it never falls.
    if (golden.beta < 0) expect(fitted.peak).toBeNull();
    else {
      const { kl, reward } = fitted.peak!;
      for (const near of [kl * 0.98, kl * 1.02]) expect(fitted.predict(near)).toBeLessThan(reward);
    }
  });

  it.each(['best-of-n', 'rl'] as const)('recovers planted constants of %s, and has them in its intervals', (law) => {
    const [alpha, beta] = [0.8, 0.25];
    const random = createRandom(5);
    const points = Array.from({ length: 24 }, (_, i) => {
      const d = 0.3 + i * 0.1;
      return { kl: d * d, reward: d * (alpha - beta * (law === 'rl' ? Math.log(d) : d)) };
    });
    const exact = fitOverOptimization([{ kl: 0, reward: 0 }, ...points], { law });
    // A peak at e^{α/β − 1} that no number can say.
    const far = [1, 4].map((kl) => ({ kl, reward: 1000 * Math.sqrt(kl) - 0.05 * Math.log(kl) }));
    expect(fitOverOptimization(far, { law: 'rl' }).peak).toBeNull();
    expect([exact.alpha, exact.beta]).toEqual([expect.closeTo(alpha, 10), expect.closeTo(beta, 10)]);
    expect(exact.predict(0)).toBe(0);
    const noisy = points.map(({ kl, reward }) => ({
      kl,
      reward: reward + 0.02 * Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float()),
    }));
    const { intervals } = fitOverOptimization(noisy, { law, resamples: 200, seed: 1 });
    for (const [name, value] of Object.entries({ alpha, beta })) {
      const [low, high] = intervals![name as 'alpha' | 'beta'];
      expect(low).toBeLessThan(value);
      expect(high).toBeGreaterThan(value);
    }
  });

  it('has both rewards of best-of-n over every subset, samples of one proxy in turns', () => {
    const rows = overOptimizationCurve(
      problems,
      curve.map(({ n }) => n),
    );
    rows.forEach(({ n, kl, proxy, gold }, i) => {
      expect(proxy.value).toBeCloseTo(curve[i]!.proxy, 12);
      expect(gold.value).toBeCloseTo(curve[i]!.gold, 12);
      expect(kl).toBeCloseTo(bestOfNKl(n), 14);
    });
  });

  it.each([
    [() => fitOverOptimization([{ kl: 1, reward: 1 }], { law: 'rl' }), /two KLs above 0/],
    [() => fitOverOptimization([null as never], { law: 'rl' }), /point 0 is null; a KL is at least 0/],
    [
      () =>
        Array.from({ length: 8 }, (_, seed) =>
          fitOverOptimization(
            [1, 4].map((kl) => ({ kl, reward: kl })),
            { law: 'rl', resamples: 1, seed },
          ),
        ),
      /none of 1 resamples of 2 points has two KLs/,
    ],
    [() => fitOverOptimization([{ kl: -1, reward: 1 }], { law: 'rl' }), /point 0 is .* a KL is at least 0/],
    [() => overOptimizationCurve([{ proxy: [1], gold: [] }], [1]), /problem 0 needs a proxy and a gold number/],
    [() => overOptimizationCurve([null as never], [1]), /problem 0 needs a proxy and a gold number/],
    [() => overOptimizationCurve([{ proxy: [1], gold: [1] }], 1 as never), /ns is 1; it must be a list/],
    [() => overOptimizationCurve([{ proxy: [1], gold: [1] }], [2]), /n is 2; it must be a whole number from 1 to 1/],
  ])('refuses what has no answer %#', (ask, message) => {
    expect(ask).toThrow(message);
  });
});

describe('fitScalingLaw', () => {
  it('recovers planted constants from exact losses', () => {
    const law = fitScalingLaw(runs(0));
    expect(law.alpha).toBeCloseTo(planted.alpha, 4);
    expect(law.beta).toBeCloseTo(planted.beta, 4);
    expect(law.e).toBeCloseTo(planted.e, 4);
    expect(law.a / planted.a).toBeCloseTo(1, 2);
    expect(law.b / planted.b).toBeCloseTo(1, 2);
  });

  it('has the planted exponents in its intervals when the losses are noisy, and barely moves for one bad run', () => {
    const noisy = runs(0.002, 3);
    const law = fitScalingLaw(noisy, { resamples: 100, seed: 1 });
    for (const name of ['e', 'alpha', 'beta'] as const) {
      const [low, high] = law.intervals![name];
      expect(low).toBeLessThan(planted[name]);
      expect(high).toBeGreaterThan(planted[name]);
    }
    const bad = noisy.map((run, i) => (i === 7 ? { ...run, loss: 2 * run.loss } : run));
    const robust = fitScalingLaw(bad);
    expect(Math.abs(robust.alpha - law.alpha)).toBeLessThan(0.03);
    expect(Math.abs(robust.beta - law.beta)).toBeLessThan(0.03);
  });

  it('finds the compute-optimal size that trying all sizes finds', () => {
    const law = fitScalingLaw(runs(0));
    const flops = 1e21;
    const best = law.computeOptimal(flops);
    expect(6 * best.parameters * best.tokens).toBeCloseTo(flops, -10);
    const tried = Array.from({ length: 4001 }, (_, i) => {
      const parameters = best.parameters * 10 ** ((i - 2000) / 1000);
      return { parameters, loss: law.predict({ parameters, tokens: flops / 6 / parameters }) };
    }).reduce((p, q) => (q.loss < p.loss ? q : p));
    expect(tried.parameters / best.parameters).toBeCloseTo(1, 2);
    expect(best.loss).toBeLessThanOrEqual(tried.loss);
  });

  it('refuses too few runs and impossible ones', () => {
    expect(() => fitScalingLaw(runs(0).slice(0, 4))).toThrow(/five runs/);
    expect(() => fitScalingLaw([...runs(0), { parameters: 1, tokens: 1, loss: -1 }])).toThrow(/run 25/);
  });
});

const smolLm: DecoderShape = {
  layers: 30,
  width: 576,
  heads: 9,
  keyValueHeads: 3,
  headWidth: 64,
  mlpWidth: 1536,
  gatedMlp: true,
  vocabulary: 49_152,
  tiedHead: true,
};

describe('the ledger of a decoder', () => {
  it('has the parameters that SmolLM2-135M is published with', () => {
    expect(decoderParameters(smolLm)).toBe(134_515_008);
  });

  it('counts the products of a layer that can be counted by hand', () => {
    const tiny: DecoderShape = {
      layers: 1,
      width: 4,
      heads: 2,
      keyValueHeads: 1,
      headWidth: 2,
      mlpWidth: 8,
      gatedMlp: false,
      vocabulary: 10,
      tiedHead: false,
    };
    // [3, 4] rows: q 4×4, k and v 4×2 each, o 4×4; scores and values 2 heads of [3, 2] × [2, 3]; up 4×8, down 8×4; head.
    const products = 3 * (4 * 4 + 2 * 4 * 2 + 4 * 4) + 2 * (3 * 2 * 3) * 2 + 3 * (4 * 8 + 8 * 4) + 3 * 4 * 10;
    expect(decoderForwardFlops(tiny, { length: 3 })).toBe(2 * products);
    expect(decoderForwardFlops(tiny, { length: 3, rows: 5 })).toBe(10 * products);
    expect(decoderForwardFlops(tiny, { length: 3, causal: true })).toBe(2 * (products - 2 * (3 * 2) * 2));
    expect(decoderParameters(tiny)).toBe(4 * 4 + 2 * 4 * 2 + 4 * 4 + 2 * 32 + 3 * 4 + 2 * 40);
  });

  it('comes to the rule of thumb for short rows', () => {
    const exact = 3 * decoderForwardFlops(smolLm, { length: 16 });
    expect(exact / approximateTrainingFlops(decoderParameters(smolLm), 16)).toBeCloseTo(1, 1);
  });
});

describe('ratings', () => {
  interface Golden {
    readonly battles: [string, string, number][];
    readonly bradley_terry: Record<string, number>;
    readonly elo: Record<string, number>;
  }
  const { cases } = JSON.parse(
    readFileSync(new URL('../../../goldens/ratings/ratings.json', import.meta.url), 'utf8'),
  ) as { cases: Golden[] };
  const series = (a: string, b: string, won: number, lost: number): Battle[] =>
    Array.from({ length: won + lost }, (_, i) => ({ a, b, score: Number(i < won) }));
  const points = (p: number) => 400 * Math.log10(p / (1 - p));

  it.each(cases)('are evalica’s, ties included', ({ battles, ...golden }) => {
    const fought = battles.map(([a, b, score]) => ({ a, b, score }));
    for (const [ratings, wanted] of [
      [bradleyTerry(fought), golden.bradley_terry],
      [elo(fought, { resamples: 10 }), golden.elo],
    ] as const) {
      expect(ratings.map(({ rating }) => rating)).toEqual(ratings.map(({ rating }) => rating).sort((a, b) => b - a));
      expect(ratings).toHaveLength(Object.keys(wanted).length);
      for (const { player, rating } of ratings) expect(rating).toBeCloseTo(wanted[player]!, 4);
    }
  });

  it('of two players are the log-odds, with the binomial’s standard error, and follow an anchor', () => {
    const [a, b] = bradleyTerry(series('a', 'b', 30, 10));
    expect(a!.rating - b!.rating).toBeCloseTo(points(0.75), 8);
    const anchored = bradleyTerry(series('a', 'b', 30, 10), { anchor: { player: 'b', rating: 500 } });
    expect(anchored[1]).toMatchObject({ player: 'b', rating: 500, interval: null });
    expect(anchored[0]!.rating).toBeCloseTo(500 + points(0.75), 8);
    const delta = 400 / Math.LN10 / Math.sqrt(40 * 0.75 * 0.25);
    expect(anchored[0]!.standardError).toBeCloseTo(delta * Math.sqrt(40 / 39), 8);
    // Of three players, by a logistic regression.
    const three = bradleyTerry([...series('A', 'B', 7, 3), ...series('B', 'C', 6, 4), ...series('A', 'C', 8, 2)]);
    for (const [i, wanted] of [128.6502, -25.9017, -102.7485].entries())
      expect(three[i]!.rating - 1000).toBeCloseTo(wanted, 3);
  });

  it('have intervals that cover what was planted 95 % of the time, of clustered battles too', () => {
    const random = createRandom(11);
    const planted = { a: 1150, b: 1000, c: 850 };
    const pairs = [['a', 'b'], ['b', 'c'], ['a', 'c']] as const; // biome-ignore format: a table
    let covered = 0;
    for (let run = 0; run < 400; run++) {
      const battles = Array.from({ length: 60 }, (_, cluster) =>
        pairs.flatMap(([a, b]): Battle[] => {
          const score = Number(random.float() < 1 / (1 + 10 ** ((planted[b] - planted[a]) / 400)));
          // Each is told twice: without the clusters, intervals would be too narrow.
          return [
            { a, b, score, cluster: `${cluster}` },
            { b: a, a: b, score: 1 - score, cluster: `${cluster}` },
          ];
        }),
      ).flat();
      for (const { player, interval } of bradleyTerry(battles)) {
        const truth = planted[player as 'a'];
        if (interval![0] <= truth && truth <= interval![1]) covered++;
      }
    }
    expect(covered / 1200).toBeGreaterThan(0.92);
    expect(covered / 1200).toBeLessThan(0.98);
  });

  it('say where there is no maximum, and what is no battle', () => {
    expect(() => bradleyTerry(series('a', 'b', 3, 0))).toThrow(/"b" never won against "a"/);
    expect(() => bradleyTerry([...series('a', 'b', 1, 1), ...series('c', 'd', 1, 1)])).toThrow(/never won against/);
    expect(() => elo([{ a: 'a', b: 'a', score: 1 }])).toThrow(/"a" against itself/);
    expect(() => elo([{ a: 'a', b: 'b', score: 2 }])).toThrow(/the score 2/);
    expect(bradleyTerry([])).toEqual([]);
    const [winner, loser] = elo(series('a', 'b', 50, 0), { resamples: 50 });
    expect(winner!.rating + loser!.rating).toBeCloseTo(2000, 8);
    expect(winner!.interval![0]).toBeGreaterThan(loser!.interval![1]);
  });
});

describe('quantile calibration', () => {
  interface Golden {
    values: number[];
    ks: number;
    p: number;
  }
  const cases = JSON.parse(
    readFileSync(new URL('../../../goldens/dicl/calibration.json', import.meta.url), 'utf8'),
  ) as Golden[];

  it.each(cases.map((one, i) => ({ ...one, i })))('has the distance and the probability of scipy, case $i', (given) => {
    const { ks, pValue, count } = quantileCalibration(given.values);
    expect([ks, count]).toEqual([expect.closeTo(given.ks, 12), given.values.length]);
    expect(pValue).toBeCloseTo(given.p, 10);
  });

  it('of right quantiles falls as 1/√n, with the law it has; of too narrow ones it does not', () => {
    const random = createRandom(5);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
    // F of a normal distribution by the logistic, which is within 0.01.
    const share = (x: number) => 1 / (1 + Math.exp(-1.702 * x));
    const draws = (n: number, scale: number) => Array.from({ length: n }, () => share(normal() * scale));
    const meanKs = (n: number) =>
      Array.from({ length: 200 }, () => quantileCalibration(Array.from({ length: n }, () => random.float())).ks).reduce(
        (a, b) => a + b / 200,
        0,
      );
    // The mean of Kolmogorov's law is √(π/2) ln 2 = 0.8687.
    for (const n of [25, 100, 400]) expect(Math.sqrt(n) * meanKs(n)).toBeCloseTo(0.8687, 1);
    const { ks, pValue, curve } = quantileCalibration(draws(2000, 2));
    expect(ks).toBeGreaterThan(0.1);
    expect(pValue).toBeLessThan(1e-6);
    expect(curve[0]!.observed).toBeGreaterThan(0.2);
    expect(curve.map(({ level }) => level)).toEqual(
      [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9].map((x) => expect.closeTo(x, 12)),
    );
    expect(quantileCalibration(draws(2000, 1)).ks).toBeLessThan(0.05);
  });

  it('is of the share of draws below, and refuses what is none', () => {
    expect([shareBelow([1, 2, 2, 5], 2), shareBelow([1], 0)]).toEqual([0.5, 0]);
    expect(() => shareBelow([], 1)).toThrow(/no draws/);
    expect(() => quantileCalibration([])).toThrow(/no values/);
    expect(() => quantileCalibration([0.2, 1.2])).toThrow(/value 1 is 1.2/);
  });
});
