import { readFileSync } from 'node:fs';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  acrossSeeds,
  atLook,
  benjaminiHochberg,
  brierOfClasses,
  brierScore,
  calibration,
  clopperPearsonInterval,
  confidenceSequence,
  crps,
  crpsOfNormal,
  d4rlScore,
  detectableDifference,
  EvaluationError,
  gPassAtK,
  groupSequential,
  holm,
  jointGoal,
  lengthControlledWinRate,
  logScore,
  matthewsCorrelation,
  meanGPassAtK,
  ndcg,
  passAtK,
  passHatK,
  pilot,
  powerOf,
  problemsNeeded,
  quantileLoss,
  rankedProbabilityScore,
  recallAtK,
  reciprocalRank,
  selectiveRisk,
  signFlipTest,
  welchDifference,
  wilsonInterval,
} from '../src/index.js';
import {
  betaQuantile,
  normalCdf,
  normalQuantile,
  studentCdf,
  studentQuantile,
} from '../src/statistics/distributions.js';
import { problemOf, subsets } from './support.js';

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/eval-metrics/${name}.json`, import.meta.url), 'utf8')) as T;

interface LengthCase {
  readonly length: number[];
  readonly baselineLength: number[];
  readonly preference: number[];
  readonly difficulty?: number[];
  readonly fits: readonly { c: number; coefficients: number[]; value: number }[];
  readonly cross_validated: { c: number; value: number };
}

const scores = read<{
  confidences: number[];
  correct: number[];
  calibration: { bins: number; l1: number; l2: number; max: number }[];
  brier: number;
  log_loss: number;
  mcc: [(string | number)[], (string | number)[], number][];
  retrieval: ({ relevance: Record<string, number>; ranked: string[] } & Record<string, number>)[];
  ensembles: { draws: number[]; value: number; crps: number }[];
  normals: { mean: number; deviation: number; value: number; crps: number }[];
  pinball: [number, number, number, number][];
  g_pass: { n: number; c: number; k: number; pass_hat: number; tau: Record<string, number>; mean: number }[];
  length_control: LengthCase[];
}>('scores');
const statistics = read<{
  proportions: [number, number, number, number, number, number, number][];
  families: { p: number[]; holm: number[]; bh: number[] }[];
  flips: { differences: number[]; p: number }[];
  quantiles: {
    normal: [number, number, number][];
    student: [number, number, number][];
    beta: [number, number, number, number][];
  };
  seeds: { values: number[][]; seed: number; problem: number; both: number }[];
  welch: { first: number[]; second: number[]; low: number; high: number; df: number }[];
  power: { difference: number; sd: number; alpha: number; power: number; n: number }[];
  crossings: { shares: number[]; bounds: number[]; spent: number[] }[];
}>('statistics');

/** Standard normal draws (Box and Muller). */
function normals(seed: number): () => number {
  const random = createRandom(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
}

describe('G-Pass@k and pass^k', () => {
  const of = (n: number, c: number) => problemOf(Array.from({ length: n }, (_, i) => Number(i < c)));

  it('are the hypergeometric tails of scipy', () => {
    for (const { n, c, k, pass_hat: passHat, tau, mean } of scores.g_pass) {
      expect(passHatK(k).value(of(n, c))).toBeCloseTo(passHat, 10);
      for (const [t, value] of Object.entries(tau))
        expect(gPassAtK(k, Number(t)).value(of(n, c))).toBeCloseTo(value, 10);
      expect(meanGPassAtK(k).value(of(n, c))).toBeCloseTo(mean, 10);
    }
  });

  it('are shares of subsets, from pass@k down to pass^k', () => {
    const samples = [1, 0, 1, 1, 0, 1, 0];
    for (let k = 1; k <= samples.length; k++) {
      const all = subsets(samples, k).map((subset) => subset.filter((x) => x === 1).length);
      for (const t of [0, 0.3, 0.5, 0.7, 1]) {
        const share = all.filter((right) => right >= Math.max(1, Math.ceil(t * k - 1e-9))).length / all.length;
        expect(gPassAtK(k, t).value(problemOf(samples))).toBeCloseTo(share, 12);
      }
      expect(gPassAtK(k, 0).value(problemOf(samples))).toBeCloseTo(passAtK(k).value(problemOf(samples))!, 12);
      expect(gPassAtK(k, 1).value(problemOf(samples))).toBeCloseTo(passHatK(k).value(problemOf(samples))!, 12);
    }
    expect(() => gPassAtK(2, 1.5)).toThrow(EvaluationError);
    expect(gPassAtK(10, 0.7).value(of(10, 7))).toBe(1);
    expect(passHatK(2).value(problemOf([1, null, 1]))).toBe(1);
    expect(passHatK(3).value(problemOf([1, null, 1]))).toBeNull();
  });
});

describe('calibration', () => {
  const { confidences, correct } = scores;

  it('is torchmetrics’, Brier’s score and the log score scikit-learn’s', () => {
    for (const { bins, l1, l2, max } of scores.calibration) {
      const ours = calibration(confidences, correct, { bins });
      // Float32 there.
      expect(ours.ece).toBeCloseTo(l1, 6);
      expect(ours.rms).toBeCloseTo(l2, 6);
      expect(ours.max).toBeCloseTo(max, 6);
    }
    expect(brierScore(confidences, correct).score).toBeCloseTo(scores.brier, 12);
    const clipped = confidences.map((p) => Math.min(0.995, Math.max(0.005, p)));
    expect(logScore(clipped, correct)).toBeCloseTo(scores.log_loss, 12);
  });

  it('adds up: Murphy’s parts are the score, and bins of equal mass hold as many', () => {
    const { score, reliability, resolution, uncertainty } = brierScore(confidences, correct);
    expect(reliability - resolution + uncertainty).toBeCloseTo(score, 12);
    const { bins } = calibration(confidences, correct, { bins: 7, binning: 'mass' });
    expect(Math.max(...bins.map((bin) => bin.count)) - Math.min(...bins.map((bin) => bin.count))).toBeLessThanOrEqual(
      1,
    );
    expect(bins.reduce((sum, bin) => sum + bin.count, 0)).toBe(60);
    expect(brierOfClasses([[0.7, 0.3]], [0])).toBeCloseTo(2 * 0.09, 12);
    expect(brierOfClasses([[0, 1, 0]], [0])).toBe(2);
  });

  it('goes to 0 as 1/√n of right confidences, for either bins, and to the gap of wrong ones', () => {
    const random = createRandom(4);
    const p = Array.from({ length: 20_000 }, () => random.float());
    const y = p.map((q) => Number(random.float() < q));
    for (const binning of ['width', 'mass'] as const) {
      expect(calibration(p, y, { binning }).ece).toBeLessThan(0.017);
      expect(calibration(p.slice(0, 400), y.slice(0, 400), { binning }).ece).toBeGreaterThan(0.02);
      expect(
        calibration(
          p.map((q) => 0.5 + q / 2),
          y,
          { binning },
        ).ece,
      ).toBeCloseTo(0.25, 1);
    }
  });

  it('refuses what is no probability', () => {
    expect(() => calibration([1.2], [1])).toThrow('probability 0');
    expect(() => brierScore([0.5], [2])).toThrow('outcome 0');
    expect(() => logScore([], [])).toThrow(EvaluationError);
    expect(() => brierOfClasses([[0.5, 0.4]], [0])).toThrow('forecast 0');
  });
});

describe('selective risk', () => {
  it('by hand: the surest first', () => {
    const { curve, aurc, excess } = selectiveRisk([0.9, 0.8, 0.1, 0.5], [0, 0, 1, 1]);
    expect(curve.map(({ risk }) => risk)).toEqual([0, 0, 1 / 3, 1 / 2]);
    expect(aurc).toBeCloseTo((1 / 3 + 1 / 2) / 4, 12);
    expect(excess).toBeCloseTo(0, 12);
    expect(selectiveRisk([0.9, 0.8, 0.1, 0.5], [1, 1, 0, 0]).excess).toBeGreaterThan(0.5);
  });

  it('of equal confidences is the mean over orders, and of any only their order counts', () => {
    const losses = [1, 0, 0, 1, 0];
    expect(selectiveRisk([1, 1, 1, 1, 1], losses).curve.map(({ risk }) => risk)).toEqual(
      losses.map(() => expect.closeTo(0.4, 12)),
    );
    const confidences = [0.3, 0.9, 0.2, 0.6, 0.7];
    const warped = selectiveRisk(
      confidences.map((c) => Math.exp(5 * c)),
      losses,
    );
    expect(warped).toEqual(selectiveRisk(confidences, losses));
    expect(() => selectiveRisk([1], [])).toThrow(EvaluationError);
    // torch-uncertainty's risks; its area is by trapezoids from 1/n to 1, over that width.
    const curves = JSON.parse(
      readFileSync(new URL('../../../goldens/diagnostics/risk-coverage.json', import.meta.url), 'utf8'),
    ) as { confidences: number[]; losses: number[]; risks: number[]; aurc: number }[];
    for (const golden of curves) {
      const risks = selectiveRisk(golden.confidences, golden.losses).curve.map(({ risk }) => risk);
      const n = risks.length;
      risks.forEach((risk, i) => {
        expect(risk).toBeCloseTo(golden.risks[i]!, 6);
      });
      const trapezoids = risks.slice(1).reduce((sum, risk, i) => sum + (risk + risks[i]!) / 2 / n, 0);
      expect(trapezoids / (1 - 1 / n)).toBeCloseTo(golden.aurc, 6);
    }
  });
});

describe('scores of classes and rankings', () => {
  it('are scikit-learn’s and trec_eval’s', () => {
    for (const [predicted, actual, mcc] of scores.mcc)
      expect(matthewsCorrelation(predicted, actual)).toBeCloseTo(mcc, 12);
    for (const { relevance, ranked, ...wanted } of scores.retrieval) {
      const ours = [
        ['ndcg', ndcg(ranked, relevance)],
        ['ndcg_cut_3', ndcg(ranked, relevance, 3)],
        ['ndcg_cut_5', ndcg(ranked, relevance, 5)],
        ['recip_rank', reciprocalRank(ranked, relevance)],
        ['recall_3', recallAtK(ranked, relevance, 3)],
        ['recall_5', recallAtK(ranked, relevance, 5)],
      ] as const;
      for (const [name, value] of ours) expect(value, name).toBeCloseTo((wanted as Record<string, number>)[name]!, 10);
    }
  });

  it('by hand', () => {
    // The formula of two classes.
    expect(matthewsCorrelation([1, 1, 1, 0, 0], [1, 1, 0, 0, 1])).toBeCloseTo(
      (2 * 1 - 1 * 1) / Math.sqrt(3 * 3 * 2 * 2),
      12,
    );
    expect(ndcg(['b', 'a'], { a: 3, b: 1 })).toBeCloseTo((1 + 3 / Math.log2(3)) / (3 + 1 / Math.log2(3)), 12);
    expect(ndcg(['b', 'a'], { a: 3, b: 1 }, 2, { gain: 'exponential' })).toBeCloseTo(
      (1 + 7 / Math.log2(3)) / (7 + 1 / Math.log2(3)),
      12,
    );
    expect(reciprocalRank(['x', 'y', 'a'], { a: 1 }, 2)).toBe(0);
    expect(recallAtK(['a'], {}, 1)).toBe(0);
    expect(() => ndcg(['a', 'a'], { a: 1 })).toThrow('"a"');
    expect(() => recallAtK(['a'], { a: 1 }, 0)).toThrow('k is 0');
    expect(jointGoal({ 'hotel-area': 'North ', food: 'none' }, { 'hotel-area': ['north', 'centre'], day: '' })).toBe(1);
    expect(jointGoal({ 'hotel-area': 'north' }, { 'hotel-area': 'north', day: 'monday' })).toBe(0);
    expect(jointGoal({ 'hotel-area': 'north', day: 'monday' }, { 'hotel-area': 'north' })).toBe(0);
    expect([20, 120, 70].map((reached) => d4rlScore(reached, { random: 20, expert: 120 }))).toEqual([0, 100, 50]);
    expect(() => d4rlScore(1, { random: 2, expert: 2 })).toThrow(EvaluationError);
  });
});

describe('forecast scores', () => {
  it('are properscoring’s and scikit-learn’s', () => {
    for (const { draws, value, crps: wanted } of scores.ensembles) expect(crps(draws, value)).toBeCloseTo(wanted, 12);
    for (const { mean, deviation, value, crps: wanted } of scores.normals)
      expect(crpsOfNormal(mean, deviation, value)).toBeCloseTo(wanted, 10);
    for (const [quantile, value, level, wanted] of scores.pinball)
      expect(quantileLoss(quantile, value, level)).toBeCloseTo(wanted, 12);
  });

  it('are proper: least on average for the truth, and fair of few draws', () => {
    const normal = normals(6);
    const values = Array.from({ length: 4000 }, normal);
    const meanOf = (of: (y: number) => number) => values.reduce((sum, y) => sum + of(y), 0) / values.length;
    const right = meanOf((y) => crpsOfNormal(0, 1, y));
    expect(right).toBeCloseTo(1 / Math.sqrt(Math.PI), 1);
    for (const [mean, deviation] of [
      [0.5, 1],
      [0, 0.5],
      [0, 2],
    ] as const)
      expect(meanOf((y) => crpsOfNormal(mean, deviation, y))).toBeGreaterThan(right);
    const at = (q: number) => meanOf((y) => quantileLoss(q, y, 0.9));
    expect(at(1.2816)).toBeLessThan(Math.min(at(1), at(1.6)));
    // E of the fair score does not depend on the number of draws.
    expect(meanOf((y) => crps([normal(), normal(), normal()], y, { fair: true }))).toBeCloseTo(right, 1);
    expect(meanOf((y) => crps([normal(), normal(), normal()], y))).toBeGreaterThan(right + 0.1);
    expect(rankedProbabilityScore([1, 0, 0], 1)).toBe(1);
    expect(rankedProbabilityScore([1, 0, 0], 2)).toBe(2);
    expect(rankedProbabilityScore([0.2, 0.5, 0.3], 1)).toBeCloseTo(0.04 + 0.09, 12);
    expect(() => crps([1], 0, { fair: true })).toThrow(EvaluationError);
    expect(() => quantileLoss(0, 0, 1)).toThrow(EvaluationError);
    expect(() => crpsOfNormal(0, 0, 1)).toThrow(EvaluationError);
    expect(() => rankedProbabilityScore([0.5, 0.5], 2)).toThrow(EvaluationError);
  });
});

describe('length-controlled win rate', () => {
  const comparisonsOf = (given: LengthCase) =>
    given.length.map((length, i) => ({
      length,
      baselineLength: given.baselineLength[i]!,
      preference: given.preference[i]!,
      ...(given.difficulty && { difficulty: given.difficulty[i]! }),
    }));

  it('has the coefficients of AlpacaEval’s fit at every C, and picks the one that it picks by cross-validation', () => {
    for (const given of scores.length_control) {
      for (const { c, coefficients, value } of given.fits) {
        const ours = lengthControlledWinRate(comparisonsOf(given), { c });
        const { length, model, difficulty } = ours.coefficients;
        [length, model, ...(difficulty === undefined ? [] : [difficulty])].forEach((x, i) => {
          expect(x).toBeCloseTo(coefficients[i]!, 3);
        });
        expect(ours.value).toBeCloseTo(value, 4);
      }
      const { value, c } = lengthControlledWinRate(comparisonsOf(given), { folds: 5 });
      expect(c).toBeCloseTo(given.cross_validated.c, 10);
      expect(value).toBeCloseTo(given.cross_validated.value, 5);
    }
  });

  it('finds the planted rate under a planted bias, which the raw rate does not, with an interval that holds it', () => {
    const random = createRandom(9);
    let [covered, off] = [0, 0];
    for (let run = 0; run < 60; run++) {
      const comparisons = Array.from({ length: 300 }, () => {
        const [length, baselineLength] = [random.integer(300, 2500), random.integer(100, 1500)];
        const bias = 1.5 * Math.tanh((length - baselineLength) / 700);
        return { length, baselineLength, preference: Number(random.float() < 1 / (1 + Math.exp(0.4 - bias))) };
      });
      const { value, raw, interval } = lengthControlledWinRate(comparisons);
      const planted = 1 / (1 + Math.exp(0.4));
      if (interval[0] <= planted && planted <= interval[1]) covered++;
      off += (Math.abs(raw - planted) - Math.abs(value - planted)) / 60;
    }
    expect(covered).toBeGreaterThanOrEqual(52);
    expect(off).toBeGreaterThan(0.05);
    const alike = Array.from({ length: 10 }, (_, i) => ({ length: 5, baselineLength: 5, preference: Number(i < 7) }));
    expect(lengthControlledWinRate(alike, { c: 1e6 }).value).toBeCloseTo(0.7, 4);
    expect(() => lengthControlledWinRate([])).toThrow(EvaluationError);
    expect(() => lengthControlledWinRate(alike, { folds: 11 })).toThrow(/10 comparisons make no 11 folds/);
  });
});

describe('distributions', () => {
  it('are scipy’s', () => {
    const { normal, student, beta } = statistics.quantiles;
    for (const [p, z, tail] of normal) {
      expect(normalQuantile(p)).toBeCloseTo(z, 9);
      expect(normalCdf(-3.5 * p) / tail).toBeCloseTo(1, 10);
    }
    for (const [p, degrees, t] of student) {
      expect(studentQuantile(p, degrees) / t).toBeCloseTo(1, 8);
      expect(studentCdf(t, degrees)).toBeCloseTo(p, 9);
    }
    for (const [p, a, b, x] of beta) expect(betaQuantile(p, a, b)).toBeCloseTo(x, 10);
  });
});

describe('intervals of proportions', () => {
  it('are statsmodels’', () => {
    for (const [x, n, level, wl, wh, cl, ch] of statistics.proportions) {
      const [wilson, exact] = [wilsonInterval(x, n, level), clopperPearsonInterval(x, n, level)];
      [...wilson, ...exact].forEach((value, i) => {
        expect(value).toBeCloseTo([wl, wh, cl, ch][i]!, 9);
      });
    }
  });

  it('cover as they say, counted over every outcome: the exact one never less', () => {
    for (const p of [0.02, 0.1, 0.37, 0.5, 0.9]) {
      for (const n of [5, 20, 60]) {
        let [wilson, exact, chance] = [0, 0, (1 - p) ** n];
        for (let x = 0; x <= n; x++) {
          if (x > 0) chance *= ((n - x + 1) / x) * (p / (1 - p));
          const holds = ([low, high]: readonly [number, number]) => low <= p && p <= high;
          if (holds(wilsonInterval(x, n))) wilson += chance;
          if (holds(clopperPearsonInterval(x, n))) exact += chance;
        }
        expect(exact).toBeGreaterThanOrEqual(0.95);
        expect(wilson).toBeGreaterThan(0.83);
      }
    }
    expect(() => clopperPearsonInterval(3, 2)).toThrow(EvaluationError);
    expect(() => wilsonInterval(1, 2, 1)).toThrow('level');
  });
});

describe('many comparisons', () => {
  it('are statsmodels’, in any order', () => {
    for (const { p, holm: byHolm, bh } of statistics.families) {
      expect(holm(p)).toEqual(byHolm.map((x) => expect.closeTo(x, 12)));
      expect(benjaminiHochberg(p)).toEqual(bh.map((x) => expect.closeTo(x, 12)));
      expect(holm([...p].reverse())).toEqual(holm(p).reverse());
    }
    expect(holm([])).toEqual([]);
    expect(() => holm([0.5, Number.NaN])).toThrow('p-value 1');
  });

  it('keep their rates where all is chance, and where some is not', () => {
    const random = createRandom(5);
    const normal = normals(5);
    let [family, discoveries] = [0, 0];
    const runs = 3000;
    for (let run = 0; run < runs; run++) {
      if (holm(Array.from({ length: 12 }, () => random.float())).some((p) => p <= 0.05)) family++;
      // Six of twelve are real, by 3 standard errors.
      const p = Array.from({ length: 12 }, (_, i) => 2 * normalCdf(-Math.abs(normal() + (i < 6 ? 3 : 0))));
      const found = benjaminiHochberg(p)
        .map((q, i) => ({ i, is: q <= 0.1 }))
        .filter(({ is }) => is);
      discoveries += found.length === 0 ? 0 : found.filter(({ i }) => i >= 6).length / found.length;
    }
    expect(family / runs).toBeGreaterThan(0.038);
    expect(family / runs).toBeLessThan(0.062);
    // q times the share of true nulls.
    expect(discoveries / runs).toBeGreaterThan(0.04);
    expect(discoveries / runs).toBeLessThan(0.06);
  });
});

describe('sign flips', () => {
  it('are scipy’s exact permutations', () => {
    for (const { differences, p } of statistics.flips) {
      const { pValue, exact, difference } = signFlipTest(
        differences.map(() => 0),
        differences,
      );
      expect(pValue).toBeCloseTo(p, 12);
      expect(exact).toBe(true);
      expect(difference).toBeCloseTo(differences.reduce((sum, x) => sum + x, 0) / differences.length, 12);
    }
  });

  it('reject a true null as often as they say, drawn and tried, of clusters too', () => {
    const normal = normals(8);
    let [rejected, drawn] = [0, 0];
    const runs = 300;
    for (let run = 0; run < runs; run++) {
      // Skewed but symmetric about 0 in sign, four to a cluster.
      const clusters = Array.from({ length: 32 }, (_, i) => String(i >> 2));
      const shared = Array.from({ length: 8 }, () => normal() ** 3);
      const values = clusters.map((c) => shared[Number(c)]! + 0.1 * normal());
      const zeros = values.map(() => 0);
      if (signFlipTest(zeros, values, { clusters }).pValue <= 0.05) rejected++;
      if (
        signFlipTest(
          zeros,
          zeros.map(() => normal()),
          { resamples: 199, seed: run },
        ).pValue <= 0.05
      )
        drawn++;
    }
    for (const count of [rejected, drawn]) {
      expect(count / runs).toBeGreaterThan(0.02);
      expect(count / runs).toBeLessThan(0.09);
    }
    expect(signFlipTest([1, 0], [1, 0]).pValue).toBe(1);
    expect(() => signFlipTest([1], [])).toThrow(EvaluationError);
    expect(() => signFlipTest([1], [2], { clusters: [] })).toThrow('0 clusters');
  });
});

describe('the planner', () => {
  it('is statsmodels’ power of a mean, and the example of arXiv 2411.00640', () => {
    for (const { difference, sd, alpha, power, n } of statistics.power) {
      // One mean with this deviation: pairs whose variance is 2(1 − r) p (1 − p).
      const correlation = 1 - (sd * sd) / 2 / 0.25;
      if (correlation < 0) continue;
      expect(problemsNeeded({ difference, correlation, alpha, power }).paired).toBe(Math.ceil(n));
    }
    // ω² = 1/9 of differences with within-problem variance σ²_A = σ²_B = 1/6 there, of one sample: n ≈ 969 for δ = 0.03 without it.
    const accuracy = 0.5;
    const correlation = 1 - 1 / 9 / (2 * 0.25);
    expect(problemsNeeded({ difference: 0.03, accuracy, correlation }).paired).toBe(969);
  });

  it('goes round: the difference of its number is the one asked for, with the power asked for', () => {
    const { paired, unpaired, statement } = problemsNeeded({
      difference: 0.02,
      accuracy: 0.6,
      within: 0.3,
      samples: 4,
    });
    expect(detectableDifference({ problems: paired, accuracy: 0.6, within: 0.3, samples: 4 })).toBeCloseTo(0.02, 4);
    expect(powerOf({ problems: paired, difference: 0.02, accuracy: 0.6, within: 0.3, samples: 4 })).toBeCloseTo(0.8, 3);
    expect(unpaired).toBeGreaterThan(1.5 * paired);
    expect(statement).toContain(`2 points with power 0.8 at α = 0.05: ${paired} problems`);
    expect(problemsNeeded({ difference: 0.02, clusterSize: 5, clusterCorrelation: 0.25 }).paired).toBeCloseTo(
      2 * problemsNeeded({ difference: 0.02 }).paired,
      -1,
    );
    expect(() => problemsNeeded({ difference: 2 })).toThrow('difference');
  });

  it('is what simulation finds, and a pilot gives it its correlation', () => {
    const normal = normals(12);
    const problems = 400;
    let found = 0;
    const runs = 500;
    const pilots: number[] = [];
    for (let run = 0; run < runs; run++) {
      const ease = Array.from({ length: problems }, normal);
      const solved = (shift: number) => ease.map((e) => Number(0.8 * e + 0.6 * normal() + shift > 0));
      const [a, b] = [solved(0), solved(0.15)];
      const d = b.map((x, i) => x - a[i]!);
      const mean = d.reduce((sum, x) => sum + x, 0) / problems;
      const sd = Math.sqrt(d.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (problems - 1));
      if (Math.abs(mean) / (sd / Math.sqrt(problems)) > 1.96) found++;
      if (run < 20) pilots.push(pilot(a, b).correlation / 20);
    }
    const correlation = pilots.reduce((sum, x) => sum + x, 0);
    const planned = powerOf({ problems, difference: normalCdf(0.15) - 0.5, accuracy: 0.53, correlation });
    expect(Math.abs(found / runs - planned)).toBeLessThan(0.06);
    expect(() => pilot([1, 1], [0, 1])).toThrow(EvaluationError);
  });
});

describe('looking while a run goes on', () => {
  it('has the bounds of Lan and DeMets’ tables', () => {
    const bounds = (given: Parameters<typeof groupSequential>[0]) => groupSequential(given).map(({ bound }) => bound);
    const table = [4.8769, 3.3569, 2.6803, 2.2898, 2.031];
    bounds({ looks: 5 }).forEach((bound, i) => {
      expect(bound).toBeCloseTo(table[i]!, 3);
    });
    expect(bounds({ looks: 1 })).toEqual([expect.closeTo(1.959964, 5)]);
    const pocock = bounds({ looks: [0.2, 0.4, 0.6, 0.8, 1], spending: 'pocock' });
    [2.438, 2.427, 2.41, 2.397, 2.386].forEach((bound, i) => {
      expect(pocock[i]).toBeCloseTo(bound, 2);
    });
    expect(groupSequential({ looks: 4 }).at(-1)!.spent).toBeCloseTo(0.05, 12);
    expect(() => groupSequential({ looks: [0.5, 0.4, 1] })).toThrow('looks');
  });

  it('spends what scipy’s normal integrals say of its bounds', () => {
    for (const { shares, bounds, spent } of statistics.crossings) {
      // Of rising bounds of our own, by simulation of the same path as a check of the check.
      const normal = normals(3);
      let crossed = 0;
      const runs = 40_000;
      for (let run = 0; run < runs; run++) {
        let [score, before] = [0, 0];
        const out = shares.some((t, k) => {
          score += Math.sqrt(t - before) * normal();
          before = t;
          return Math.abs(score) / Math.sqrt(t) >= bounds[k]!;
        });
        if (out) crossed++;
      }
      expect(crossed / runs).toBeCloseTo(spent.at(-1)!, 2);
    }
    for (const looks of [2, 3]) {
      const plan = groupSequential({ looks });
      const wanted = statistics.crossings[looks - 2]!;
      // The bounds that scipy integrated, rounded to three digits.
      plan.forEach(({ bound, spent }, k) => {
        expect(bound).toBeCloseTo(wanted.bounds[k]!, 2);
        expect(spent).toBeCloseTo(wanted.spent[k]!, 4);
      });
    }
  });

  it('says whether to stop', () => {
    const plan = groupSequential({ looks: 2 });
    const at = (look: number, difference: number) => atLook(plan, look, { difference, standardError: 0.01 });
    expect(at(0, 0.025).decision).toBe('continue');
    expect(at(0, -0.031).decision).toBe('stop');
    expect(at(1, 0.01)).toMatchObject({ decision: 'end', z: 1 });
    expect(at(1, 0.01).statement).toContain('not to say that there is none');
    expect(() => at(2, 0)).toThrow('no look 2');
    expect(() => atLook(plan, 0, { difference: 1, standardError: null })).toThrow(EvaluationError);
  });

  it('confidence sequences hold at every time at once, and shrink', () => {
    const random = createRandom(2);
    let left = 0;
    const runs = 300;
    let width = 0;
    for (let run = 0; run < runs; run++) {
      const values = Array.from({ length: 500 }, () => Number(random.float() < 0.3));
      const sequence = confidenceSequence(values);
      if (sequence.some(([low, high]) => low > 0.3 || high < 0.3)) left++;
      const [low, high] = sequence.at(-1)!;
      width += (high - low) / runs;
    }
    expect(left / runs).toBeLessThanOrEqual(0.05);
    // One look has 0.08.
    expect(width).toBeLessThan(0.17);
    const scaled = confidenceSequence([-1, 1, 0, 1], { low: -1 }).map(([low, high]) => [(low + 1) / 2, (high + 1) / 2]);
    expect(scaled).toEqual(
      confidenceSequence([0, 1, 0.5, 1]).map(([low, high]) => [expect.closeTo(low, 12), expect.closeTo(high, 12)]),
    );
    expect(() => confidenceSequence([2])).toThrow('value 0');
    expect(() => confidenceSequence([0], { low: 2 })).toThrow(EvaluationError);
  });
});

describe('seeds', () => {
  it('are clustered both ways as statsmodels clusters', () => {
    for (const { values, seed, problem, both } of statistics.seeds) {
      const { seedError, problemError, standardError } = acrossSeeds(values);
      expect(seedError).toBeCloseTo(seed, 10);
      expect(problemError).toBeCloseTo(problem, 10);
      expect(standardError).toBeCloseTo(Math.max(both, seed, problem), 10);
    }
  });

  it('cover a planted mean where problems alone do not', () => {
    const normal = normals(10);
    let [covered, alone] = [0, 0];
    const runs = 400;
    for (let run = 0; run < runs; run++) {
      const ease = Array.from({ length: 40 }, () => 0.3 * normal());
      const scoresOf = Array.from({ length: 4 }, () => {
        const seed = 0.15 * normal();
        return ease.map((e) => e + seed + 0.2 * normal());
      });
      const { value, interval, problemError } = acrossSeeds(scoresOf);
      if (interval[0] <= 0 && 0 <= interval[1]) covered++;
      if (Math.abs(value) <= 1.96 * problemError) alone++;
    }
    expect(covered / runs).toBeGreaterThan(0.92);
    expect(alone / runs).toBeLessThan(0.85);
    expect(() => acrossSeeds([[1, 2]])).toThrow('1 seeds');
    expect(() => acrossSeeds([[1, 2], [1]])).toThrow('seed 1');
  });

  it('of two arms differ by what scipy says', () => {
    for (const { first, second, low, high, df } of statistics.welch) {
      const { interval, degrees } = welchDifference(first, second);
      expect(interval[0]).toBeCloseTo(low, 8);
      expect(interval[1]).toBeCloseTo(high, 8);
      expect(degrees).toBeCloseTo(df, 8);
    }
    expect(welchDifference([1, 1], [2, 2])).toMatchObject({ value: 1, interval: [1, 1] });
    expect(() => welchDifference([1], [1, 2])).toThrow('1 and 2');
  });

  it('of two arms with spreads of their own hold the planted difference 95 times of 100', () => {
    const normal = normals(11);
    let covered = 0;
    const runs = 1000;
    for (let run = 0; run < runs; run++) {
      const [low, high] = welchDifference(
        Array.from({ length: 3 }, () => normal()),
        Array.from({ length: 5 }, () => 1 + 4 * normal()),
      ).interval;
      if (low <= 1 && 1 <= high) covered++;
    }
    expect(covered / runs).toBeGreaterThan(0.93);
    expect(covered / runs).toBeLessThan(0.97);
  });
});
