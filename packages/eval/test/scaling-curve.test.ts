import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestOfN, majorityVote, weightedBestOfN } from '../../tts/src/index.js';
import { categorical, scripted, seededUniform, table } from '../../tts/test/doubles.js';
import {
  evaluate,
  functionVerifier,
  type GenerateTask,
  majorityAtK,
  passAtK,
  type SampledSample,
  type ScalingStrategy,
  scalingCurve,
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
