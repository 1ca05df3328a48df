import { createRandom } from '@posttrain/interfaces/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestOfN, majorityVote, traceCosts, weightedBestOfN } from '../../tts/src/index.js';
import { categorical, scripted, seededUniform, table } from '../../tts/test/doubles.js';
import {
  type ArmedQuestion,
  computeOptimal,
  computeOptimalCurve,
  difficultyBin,
  difficultyEdges,
  evaluate,
  flopsMatched,
  functionVerifier,
  type GenerateTask,
  inferenceFlops,
  majorityAtK,
  matchedInference,
  meanWithStandardError,
  passAtK,
  pretrainingFlops,
  type SampledSample,
  type ScalingStrategy,
  scalingCurve,
  tradeOffPlots,
  tradeOffs,
  weightedBestAtK,
} from '../src/index.js';

const sample = (
  answer: string | null,
  correct: boolean,
  score?: number | null,
  completionTokens = 1,
): SampledSample => ({
  answer,
  score: Number(correct),
  completionTokens,
  verifierScores: score === undefined ? {} : { v: score },
});

const problemsOf = (...problems: readonly (readonly SampledSample[])[]) =>
  problems.map((samples, i) => ({ id: String(i), samples }));

const accuracy = (samples: readonly SampledSample[], strategy: ScalingStrategy, k: number, resamples = 1000): number =>
  scalingCurve(problemsOf(samples), { strategies: [strategy], ks: [k], resamples })[0]!.accuracy!;

/** All orderings of all k-subsets, the honest and slow way. */
function* orderedDraws<T>(items: readonly T[], k: number): Generator<T[]> {
  if (k === 0) yield [];
  else {
    for (let i = 0; i < items.length; i++) {
      const rest = [...items.slice(0, i), ...items.slice(i + 1)];
      for (const tail of orderedDraws(rest, k - 1)) yield [items[i]!, ...tail];
    }
  }
}

/** Runs the real strategy on every ordered draw of k samples; a search that finds nothing is wrong. */
async function byRunning(samples: readonly SampledSample[], strategy: ScalingStrategy, k: number): Promise<number> {
  let right = 0;
  let draws = 0;
  for (const draw of orderedDraws(samples, k)) {
    draws++;
    if (strategy === 'pass@k') {
      right += Number(draw.some(({ score }) => score === 1));
      continue;
    }
    const texts = draw.map((_, i) => String(i));
    const of = (text: string) => draw[Number(text)]!;
    const options = {
      generator: scripted(texts),
      verifier: table((text) => of(text).verifierScores.v!),
      extractAnswer: (text: string) => of(text).answer!,
      n: k,
    };
    const { verifier: _, ...unverified } = options;
    const run =
      strategy === 'best-of-n'
        ? bestOfN({ prompt: '' }, options)
        : strategy === 'majority-vote'
          ? majorityVote({ prompt: '' }, unverified)
          : weightedBestOfN({ prompt: '' }, options);
    const result = await run.catch(() => undefined);
    if (result) right += of(result.text).score!;
  }
  return right / draws;
}

const arbitrarySamples = fc.array(
  fc
    .record({
      answer: fc.constantFrom('a', 'b', 'c', null),
      correct: fc.boolean(),
      score: fc.constantFrom(0, 1, 1, 2, 4, null),
    })
    .map(({ answer, correct, score }) => sample(answer, correct, score)),
  { minLength: 1, maxLength: 5 },
);

describe('scalingCurve', () => {
  it.each(['best-of-n', 'weighted-best-of-n', 'majority-vote', 'pass@k'] as const)(
    'agrees for %s with running the strategy on every ordered draw, ties and nulls included',
    async (strategy) => {
      await fc.assert(
        fc.asyncProperty(arbitrarySamples, async (samples) => {
          for (let k = 1; k <= samples.length; k++) {
            expect(accuracy(samples, strategy, k)).toBeCloseTo(await byRunning(samples, strategy, k), 10);
          }
        }),
        { numRuns: 25 },
      );
    },
  );

  it('has the known values of best-of-n and maj@k', () => {
    const ranked = [0, 1, 1, 0].map((correct, i) => sample(String(i), correct === 1, 4 - i));
    expect([1, 2, 3, 4].map((k) => accuracy(ranked, 'best-of-n', k))).toEqual(
      [0.5, 0.5, 0.25, 0].map((x) => expect.closeTo(x, 12)),
    );
    const votes = [...'aaa'].map(() => sample('a', true)).concat([...'bb'].map(() => sample('b', false)));
    expect(accuracy(votes, 'majority-vote', 3)).toBeCloseTo(0.7, 12);
  });

  it('gives best-of-n with a perfect verifier pass@k, and with a constant one pass@1', () => {
    const samples = (score: (correct: boolean) => number) =>
      Array.from({ length: 20 }, (_, i) => sample(String(i % 3), i % 3 === 0, score(i % 3 === 0)));
    for (const k of [1, 2, 7, 20]) {
      const passAtK = accuracy(samples(Number), 'pass@k', k);
      expect(accuracy(samples(Number), 'best-of-n', k)).toBeCloseTo(passAtK, 12);
      expect(
        accuracy(
          samples(() => 1),
          'best-of-n',
          k,
        ),
      ).toBeCloseTo(7 / 20, 12);
      expect(
        accuracy(
          samples(() => 1),
          'weighted-best-of-n',
          k,
          200_000,
        ),
      ).toBeCloseTo(
        accuracy(
          samples(() => 1),
          'majority-vote',
          k,
        ),
        k > 2 && k < 20 ? 2 : 10,
      );
    }
  });

  it('is the multinomial law when the samples are a large population', () => {
    // 600 samples in the shares .5/.3/.2 without replacement, against 3 draws with replacement.
    const samples = Array.from({ length: 600 }, (_, i) =>
      i < 300 ? sample('a', true) : sample(i < 480 ? 'b' : 'c', false),
    );
    const exact = 0.5 ** 3 + 3 * 0.5 ** 2 * 0.5 + (6 * 0.5 * 0.3 * 0.2) / 3;
    expect(Math.abs(accuracy(samples, 'majority-vote', 3) - exact)).toBeLessThan(2e-3);
    expect(accuracy(samples, 'majority-vote', 600)).toBeCloseTo(1, 9);
  });

  it('subsamples weighted best-of-n within its noise, with a seed', () => {
    const uniform = seededUniform(5);
    const samples = Array.from({ length: 14 }, () => sample(String(Math.floor(uniform() * 4)), false, uniform())).map(
      (s) => ({ ...s, score: Number(s.answer === '1') }),
    );
    const curve = (options: object) =>
      scalingCurve(problemsOf(samples), { strategies: ['weighted-best-of-n'], ks: [5], ...options })[0]!;
    const enumerated = curve({ resamples: 2002 });
    const subsampled = curve({ resamples: 2001, seed: 7 });
    expect(enumerated.estimator).toBe('enumerated');
    expect(subsampled.estimator).toBe('subsampled');
    expect(Math.abs(subsampled.accuracy! - enumerated.accuracy!)).toBeLessThan(4 * Math.sqrt(0.25 / 2001));
    expect(curve({ resamples: 2001, seed: 7 })).toEqual(subsampled);
    expect(curve({ resamples: 2001, seed: 8 }).accuracy).not.toBe(subsampled.accuracy);
  });

  it('reports standard errors over problems, tokens and verifier calls', () => {
    const problems = problemsOf(
      [sample('a', true, 1, 10), sample('a', true, 1, 20)],
      [sample('b', false, 1, 30), sample('c', true, 0, 50)],
      [sample('b', false, 1, 10), sample('d', false, 1, 10)],
    );
    const rows = scalingCurve(problems);
    expect(rows.map(({ strategy, k }) => `${strategy} ${k}`)).toEqual([
      'best-of-n 1',
      'best-of-n 2',
      'weighted-best-of-n 1',
      'weighted-best-of-n 2',
      'majority-vote 1',
      'majority-vote 2',
      'pass@k 1',
      'pass@k 2',
    ]);
    expect(rows[1]).toEqual({
      strategy: 'best-of-n',
      k: 2,
      accuracy: expect.closeTo(1 / 3, 12),
      standardError: expect.closeTo(1 / 3, 12), // accuracies 1, 0, 0: sd √(1/3), over √3
      meanTokens: expect.closeTo((30 + 80 + 20) / 3, 12),
      verifierCalls: 2,
      problems: 3,
      estimator: 'closed-form',
    });
    expect(rows[7]).toMatchObject({ accuracy: expect.closeTo(2 / 3, 12), verifierCalls: 0 });
    expect(scalingCurve(problems.slice(0, 1))[0]?.standardError).toBeNull();
  });

  it('covers the truth as often as its standard error says', () => {
    const uniform = seededUniform(11);
    const runs = 300;
    let covered = 0;
    for (let run = 0; run < runs; run++) {
      // Half the problems are solved with p = .8, half with .2: pass@2 is .5·(1 − .04) + .5·(1 − .64) = .66.
      const problems = Array.from({ length: 60 }, (_, i) => {
        const p = uniform() < 0.5 ? 0.8 : 0.2;
        return { id: String(i), samples: Array.from({ length: 6 }, () => sample(null, uniform() < p)) };
      });
      const [row] = scalingCurve(problems, { strategies: ['pass@k'], ks: [2] });
      if (Math.abs(row!.accuracy! - 0.66) < 1.96 * row!.standardError!) covered++;
    }
    expect(covered / runs).toBeGreaterThan(0.9);
    expect(covered / runs).toBeLessThan(0.99);
  });

  it('never beats pass@k, which never falls, at the size of a real run', () => {
    const uniform = seededUniform(6);
    const problems = Array.from({ length: 40 }, (_, i) => ({
      id: String(i),
      samples: Array.from({ length: 64 }, () => sample(String(Math.floor(uniform() * 20)), uniform() < 0.5, uniform())),
    }));
    const rows = scalingCurve(problems);
    expect(rows).toHaveLength(28);
    const passAtK = new Map(rows.filter((row) => row.strategy === 'pass@k').map((row) => [row.k, row.accuracy!]));
    for (const { k, accuracy } of rows) {
      expect(accuracy).toBeGreaterThan(0);
      expect(accuracy).toBeLessThanOrEqual(passAtK.get(k)! + 1e-12);
      expect(passAtK.get(k)!).toBeGreaterThanOrEqual(passAtK.get(k / 2) ?? 0);
    }
  });

  it('refuses what it cannot draw a curve from', () => {
    const problems = problemsOf([sample('a', true), sample('b', false)]);
    expect(scalingCurve(problems).map(({ strategy }) => strategy)).toEqual([
      'majority-vote',
      'majority-vote',
      'pass@k',
      'pass@k',
    ]);
    expect(() => scalingCurve(problems, { strategies: ['best-of-n'] })).toThrow(/best-of-n needs a score/);
    expect(() => scalingCurve(problems, { strategies: ['best' as never] })).toThrow(
      /strategies is \["best"\]; it must be a list, each item one of/,
    );
    expect(() => scalingCurve(problems, { ks: [3] })).toThrow(/k = 3, but a problem has only 2 samples/);
    expect(() => scalingCurve([])).toThrow(/no problems/);
    expect(() => scalingCurve(undefined as never)).toThrow(/measured is undefined; it must be what evaluate gives/);
    expect(() => scalingCurve([{}] as never)).toThrow(/measured is \[an object with no keys\]/);
    expect(() => scalingCurve(problemsOf([]))).toThrow(/problem "0" has 0 samples/);
    expect(() => scalingCurve(problemsOf([sample('a', true, -1)]))).toThrow(/problem "0": the score -1 cannot weigh/);
    expect(() => scalingCurve(problemsOf([sample('a', true, Number.NaN)]))).toThrow(/sample 0: the score is NaN/);
    const many = Array.from({ length: 1001 }, () => sample('a', true));
    expect(() => scalingCurve(problemsOf(many))).toThrow(/has 1001 samples; it must have 1 to 1000/);
    expect(() => scalingCurve(problems, { sed: 1 } as never)).toThrow(/"seed"/);
  });
});

describe('one evaluation', () => {
  const rows = ['4', '6', '8'].map((answer) => ({ question: `${answer}?`, answer }));
  const checker = functionVerifier('exact', ({ completion, row }) => ({
    score: Number(completion === row?.answer),
    answer: completion,
  }));
  const task: GenerateTask<(typeof rows)[number]> = {
    type: 'generate',
    name: 'curve',
    dataset: rows,
    prompt: ({ question }) => question,
    samples: 2,
    graders: [checker],
    metrics: [passAtK(1)],
  };

  it('has the samples of every strategy: drawn, checked and scored once', async () => {
    const generator = scripted(['4', '5', '6', '6', '7', '8']);
    const done: number[] = [];
    const options = { batchSize: 2, onProgress: (event: { done: number }) => done.push(event.done) };
    const result = await evaluate({ ...task, verifiers: [table(Number)] }, generator, options);
    expect(generator.requests.map(({ n }) => n)).toEqual([2, 2, 2]);
    expect(new Set(generator.requests.map(({ seed }) => seed)).size).toBe(3);
    expect(done).toEqual([2, 3]);
    const at2 = { ks: [2] };
    expect(scalingCurve(result, at2)).toEqual(
      (['best-of-n', 'weighted-best-of-n', 'majority-vote', 'pass@k'] as const).map((strategy) => ({
        strategy,
        k: 2,
        // Of 4 or 5 the larger is wrong, 6 twice is right, and of 7 and 8 the larger is right; a vote of two is a tie.
        accuracy: expect.closeTo(
          { 'best-of-n': 2, 'weighted-best-of-n': 2, 'majority-vote': 2, 'pass@k': 3 }[strategy] / 3,
        ),
        standardError: expect.any(Number),
        meanTokens: 6,
        verifierCalls: strategy.includes('best') ? 2 : 0,
        problems: 3,
        estimator: strategy === 'weighted-best-of-n' ? 'enumerated' : 'closed-form',
      })),
    );
    expect(scalingCurve(result, { ...at2, strategies: ['pass@k'] })[0]?.accuracy).toBe(1);
  });

  it('shows majority vote rising above pass@1 where the mode is right', async () => {
    const generator = categorical(['1', '2', '3', '4'], [0.4, 0.2, 0.2, 0.2], seededUniform(9));
    const dataset = Array.from({ length: 40 }, () => ({ question: 'q', answer: '1' }));
    const result = await evaluate({ ...task, dataset, samples: 32 }, generator);
    const rows = scalingCurve(result, { strategies: ['majority-vote', 'pass@k'], ks: [1, 32] });
    const [one, many, passOne] = rows;
    expect(one!.accuracy).toBeCloseTo(passOne!.accuracy!, 12);
    expect(many!.accuracy).toBeGreaterThan(one!.accuracy! + 4 * one!.standardError!);
  });

  it('leaves out what the grader cannot score, as every metric does, and says of how many problems a point is', async () => {
    const unsure = functionVerifier('unsure', ({ completion }) =>
      completion === '7' ? { score: null, answer: '7' } : { score: 1, answer: completion },
    );
    const result = await evaluate({ ...task, graders: [unsure] }, scripted(['4', '5', '6', '6', '7', '8']));
    expect(result.warnings).toEqual([expect.stringMatching(/unsure could not score 1 of 6 completions/)]);
    const points = scalingCurve(result, { strategies: ['pass@k'] });
    expect(points.map(({ k, accuracy, problems }) => [k, accuracy, problems])).toEqual([
      [1, 1, 3],
      [2, 1, 2],
    ]);
  });

  it('takes what the samples allow: no votes without answers, no choice without scores, no pass@k of ratings', async () => {
    const ratings = functionVerifier('ratings', ({ completion }) => Number(completion));
    const result = await evaluate(
      { ...task, graders: [ratings], metrics: [] },
      scripted(['4', '5', '6', '6', '7', '8']),
    );
    expect(scalingCurve(result)).toEqual([]);
    expect(() => scalingCurve(result, { strategies: ['majority-vote'] })).toThrow(/names none/);
    expect(() => scalingCurve(result, { grader: 'judge' })).toThrow(/not graded by "judge"/);
  });

  it('has its points of the metrics that a task may ask for', async () => {
    const metrics = [majorityAtK(2), weightedBestAtK(2, { by: 'table' })];
    const generator = scripted(['4', '5', '6', '6', '7', '8']);
    const result = await evaluate({ ...task, verifiers: [table(Number)], metrics }, generator);
    const points = scalingCurve(result, { ks: [2], strategies: ['majority-vote', 'weighted-best-of-n'] });
    expect(points.map(({ accuracy }) => accuracy)).toEqual(result.metrics.map(({ value }) => value));
  });
});

describe('difficulty bins', () => {
  it('are quintiles, the easiest first, and one bin where all are alike', () => {
    const ease = Array.from({ length: 10 }, (_, i) => i / 10);
    const edges = difficultyEdges(ease, 5);
    expect(edges).toEqual([0.2, 0.4, 0.6, 0.8]);
    expect(ease.map((it) => difficultyBin(it, edges))).toEqual([5, 5, 4, 4, 3, 3, 2, 2, 1, 1]);
    expect(difficultyBin(0.5, difficultyEdges([0.5, 0.5, 0.5], 3))).toBe(1);
    expect(() => difficultyEdges([Number.NaN], 2)).toThrow(/finite numbers/);
  });
});

describe('computeOptimal', () => {
  const random = createRandom(3, 'questions');
  /** Easy questions are for revisions, hard ones for search, as one of the two that the survey says; or the other way round. */
  const planted = (count: number, easyArm = 'revise', hardArm = 'search'): ArmedQuestion[] =>
    Array.from({ length: count }, (_, i) => {
      const ease = random.float();
      const right = ease > 0.5 ? easyArm : hardArm;
      const outcome = (arm: string, tokens: number) => ({
        correct: random.float() < (arm === right ? 0.8 : 0.4) ? 1 : 0,
        completionTokens: tokens,
      });
      return { id: `q${i}`, ease, outcomes: { revise: outcome('revise', 100), search: outcome('search', 200) } };
    });

  it.each([
    ['revise', 'search'],
    ['search', 'revise'],
  ])('finds that easy questions want %s and hard ones %s, and beats the best single arm held out', (easy, hard) => {
    const { policy, single, bins, arms } = computeOptimal(planted(400, easy, hard), { bins: 2 });
    expect(bins.map(({ chosen }) => chosen)).toEqual([
      [easy, easy],
      [hard, hard],
    ]);
    expect(policy.accuracy.value!).toBeGreaterThan(single.accuracy.value! + 0.1);
    expect(policy.accuracy.value!).toBeGreaterThan(
      Math.max(...Object.values(arms).map(({ accuracy }) => accuracy.value!)),
    );
    expect(Math.abs(policy.accuracy.value! - 0.8)).toBeLessThan(4 * policy.accuracy.standardError!);
  });

  it('never lets a question have a part in what is chosen for it', () => {
    const questions = planted(40);
    const options = { bins: 4, folds: 4, seed: 2 };
    const { choices } = computeOptimal(questions, options);
    questions.forEach((question, i) => {
      const { revise, search } = question.outcomes;
      const turned = {
        ...question,
        outcomes: { revise: { ...revise!, correct: 50 }, search: { ...search!, correct: -50 } },
      };
      const again = computeOptimal(questions.with(i, turned), options).choices;
      const fold = choices[i]!.fold;
      // Nor those of its own fold; those of other folds are chosen by it.
      expect(again.filter((it) => it.fold === fold)).toEqual(choices.filter((it) => it.fold === fold));
    });
  });

  it('reports chance where the arms are noise, where the best arm in hindsight looks better than that', () => {
    const noise = (seed: number): ArmedQuestion[] => {
      const uniform = createRandom(seed, 'noise');
      return Array.from({ length: 60 }, (_, i) => ({
        id: `q${i}`,
        ease: uniform.float(),
        outcomes: Object.fromEntries(
          Array.from({ length: 12 }, (_, arm) => [`arm ${arm}`, { correct: uniform.float() < 0.5 ? 1 : 0 }]),
        ),
      }));
    };
    const runs = Array.from({ length: 40 }, (_, seed) => computeOptimal(noise(seed), { seed }));
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const held = runs.map(({ policy }) => policy.accuracy.value!);
    const error = 0.5 / Math.sqrt(60 * held.length);
    expect(Math.abs(mean(held) - 0.5)).toBeLessThan(4 * error);
    const hindsight = runs.map(({ arms }) => Math.max(...Object.values(arms).map(({ accuracy }) => accuracy.value!)));
    expect(mean(hindsight)).toBeGreaterThan(0.5 + 10 * error);
  });

  it('keeps to a budget, takes the cheaper of equal arms, and says what does not fit', () => {
    const questions = planted(200);
    const curve = computeOptimalCurve(questions, [50, 100, 200], { bins: 2 });
    // A budget without an arm is a point of its own.
    expect(curve.shift()).toEqual({ budget: 50, policy: null, single: null });
    expect(curve.map(({ policy }) => policy!.costs.completionTokens! <= 200)).toEqual([true, true]);
    expect(curve[0]!.policy!.costs).toEqual({ completionTokens: 100 });
    expect(curve[1]!.policy!.accuracy.value!).toBeGreaterThan(curve[0]!.policy!.accuracy.value!);
    expect(() => computeOptimal(questions, { budget: 50 })).toThrow(/no arm costs at most 50 completionTokens/);
    expect(() => computeOptimalCurve(questions, [50], { cost: 'flops' })).toThrow(/question q0 has no flops/);
    expect(() => computeOptimal(questions, { budget: 50, cost: 'flops' })).toThrow(/question q0 has no flops/);
    const equal = questions.map((it) => ({
      ...it,
      outcomes: {
        dear: { ...it.outcomes.search!, completionTokens: 9 },
        cheap: { ...it.outcomes.search!, completionTokens: 3 },
      },
    }));
    expect(new Set(computeOptimal(equal).choices.map(({ arm }) => arm))).toEqual(new Set(['cheap']));
    const [first, ...rest] = questions;
    expect(() => computeOptimal([{ ...first!, outcomes: { revise: first!.outcomes.revise! } }, ...rest])).toThrow(
      /has not the outcomes of all arms/,
    );
    expect(() => computeOptimal([first!])).toThrow(/at least as many questions as folds \(2\)/);
  });
});

describe('flopsMatched', () => {
  it('gives the smaller model what makes both cost the same, pretraining and inference together', () => {
    for (const [scale, ratio, share] of [
      [14, 0.16, 1],
      [14, 0.79, 1],
      [14, 22, 1],
      [4, 1, 1],
      [14, 0.79, 0.06],
      [4, 1, 3],
    ] as const) {
      const [parameters, pretraining] = [1e9, 1e12];
      const inference = ratio * pretraining;
      const larger = pretrainingFlops(scale * parameters, pretraining) + inferenceFlops(scale * parameters, inference);
      const k = matchedInference(scale, ratio, share);
      const smaller = pretrainingFlops(parameters, share * pretraining) + k * inferenceFlops(parameters, inference);
      expect(smaller / larger).toBeCloseTo(1, 12);
    }
  });

  it('says at which ratio search with the small model is worth it, and nothing of what was not measured', () => {
    const smaller = [1, 4, 16, 64].map((compute) => ({ compute, accuracy: 0.3 + (0.1 * Math.log2(compute)) / 2 }));
    const points = flopsMatched({ scale: 4, ratios: [0.1, 0.5, 1000, 3], larger: 0.45, smaller });
    expect(points.map(({ multiplier }) => multiplier)).toEqual(
      [4 + 90, 22, 4.009, 7].map((it) => expect.closeTo(it, 9)),
    );
    expect(points[0]).toMatchObject({ smaller: null, difference: null });
    // Accuracy is linear in ln(compute), so that the interpolation is exact.
    expect(points[1]!.smaller).toBeCloseTo(0.3 + (0.1 * Math.log2(22)) / 2, 12);
    expect(points.map(({ difference }) => difference !== null && difference > 0)).toEqual([false, true, false, false]);
    // Eight times the larger one's tokens, and little inference to save on: nothing is left to search with.
    const [overspent] = flopsMatched({ scale: 4, ratios: [1], tokenShare: 8, larger: 0.45, smaller });
    expect(overspent).toMatchObject({ multiplier: -8, smaller: null, difference: null });
    expect(() => flopsMatched({ scale: 1, ratios: [1], larger: 0.5, smaller })).toThrow(/scale is 1/);
    expect(() => flopsMatched({ scale: 2, ratios: [1], tokenShare: 0, larger: 0.5, smaller })).toThrow(
      /tokenShare is 0/,
    );
  });
});

it('chooses between searches that were run: votes where the mode is right, a verifier where it is not', async () => {
  const problem = { prompt: 'q' };
  const questions: ArmedQuestion[] = [];
  for (let i = 0; i < 60; i++) {
    const p = i % 2 === 0 ? 0.8 : 0.25;
    const shared = { n: 5, extractAnswer: (text: string) => text };
    const generator = () => categorical(['1', '0'], [p, 1 - p], seededUniform(i));
    // The verifier is right of what it has seen, and wrong of one text in ten.
    const uniform = seededUniform(1000 + i);
    const verifier = table((text) => Number((text === '1') !== uniform() < 0.1));
    const results = {
      vote: await majorityVote(problem, { ...shared, generator: generator() }),
      best: await bestOfN(problem, { ...shared, generator: generator(), verifier }),
    };
    const outcomes = Object.entries(results).map(([arm, { answer, trace }]) => [
      arm,
      { correct: Number(answer === '1'), ...traceCosts(trace, { generator: 1e6 }) },
    ]);
    questions.push({ id: String(i), ease: p, outcomes: Object.fromEntries(outcomes) });
  }
  const { bins, policy } = computeOptimal(questions, { bins: 2, budget: 15 });
  expect(new Set(bins[1]!.chosen)).toEqual(new Set(['best']));
  expect(policy.accuracy.value!).toBeGreaterThan(0.7);
  expect(policy.costs).toMatchObject({ completionTokens: 15, flops: 2e6 * 5 * 8 });
  expect(policy.costs.verifierCalls!).toBeLessThanOrEqual(5);
});

describe('tradeOffs', () => {
  const outcome = (correct: number, completionTokens: number, wallTimeMs: number) => ({
    ...{ correct, completionTokens, wallTimeMs },
  });
  const questions: ArmedQuestion[] = [
    { id: 'a', ease: 0.5, outcomes: { one: outcome(1, 10, 5), vote: outcome(1, 40, 8), tree: outcome(1, 40, 90) } },
    { id: 'b', ease: 0.5, outcomes: { one: outcome(0, 12, 7), vote: outcome(1, 44, 8), tree: outcome(1, 40, 90) } },
    { id: 'c', ease: 0.5, outcomes: { one: outcome(0, 11, 6), vote: outcome(0, 42, 8), tree: outcome(1, 40, 90) } },
  ];

  it('have accuracy and every cost with their errors, and say which arms no other beats for less', () => {
    const rows = tradeOffs(questions);
    expect(rows.map(({ arm, accuracy }) => [arm, accuracy.value])).toEqual([
      ['one', 1 / 3],
      ['vote', 2 / 3],
      ['tree', 1],
    ]);
    const [one, vote, tree] = rows.map(({ costs }) => costs);
    expect(one!.completionTokens).toEqual(meanWithStandardError([10, 12, 11]));
    expect(vote!.wallTimeMs).toMatchObject({ value: 8, standardError: 0, interval: null });
    expect(tree).not.toHaveProperty('verifierCalls');
    // The vote takes more tokens than the tree and is right less often, and it is faster.
    expect(rows.map(({ efficientIn }) => efficientIn)).toEqual([
      ['completionTokens', 'wallTimeMs'],
      ['wallTimeMs'],
      ['completionTokens', 'wallTimeMs'],
    ]);
  });

  it('are a plot for every cost that is known, an arm a point of its family', () => {
    const plots = tradeOffPlots(tradeOffs(questions), (arm) => (arm === 'tree' ? 'trees' : 'samples'));
    expect(plots.map(({ xLabel }) => xLabel)).toEqual(['completion tokens a question', 'milliseconds a question']);
    const { series } = plots[1]!;
    expect(series.map(({ name, points }) => [name, points.map(({ x }) => x)])).toEqual([
      ['samples', [6, 8]],
      ['trees', [90]],
    ]);
    expect(series[0]!.points[0]!.standardError).toBe(meanWithStandardError([1, 0, 0]).standardError);
  });

  it('refuse questions without the same arms', () => {
    expect(() => tradeOffs([])).toThrow(/tradeOffs: questions/);
    const odd = [...questions, { id: 'd', ease: 0.5, outcomes: { one: outcome(1, 1, 1) } }];
    expect(() => tradeOffs(odd)).toThrow('tradeOffs: question d has not the outcomes of all arms (one, vote, tree).');
  });
});
