import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import { bestOfN, majorityVote, traceCosts } from '../../tts/src/index.js';
import { categorical, seededUniform, table } from '../../tts/test/doubles.js';
import {
  type ArmedQuestion,
  computeOptimal,
  computeOptimalCurve,
  difficultyBin,
  difficultyEdges,
  flopsMatched,
  inferenceFlops,
  matchedInference,
  pretrainingFlops,
} from '../src/index.js';

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
    const curve = computeOptimalCurve(questions, [100, 200], { bins: 2 });
    expect(curve.map(({ policy }) => policy.costs.completionTokens! <= 200)).toEqual([true, true]);
    expect(curve[0]!.policy.costs).toEqual({ completionTokens: 100 });
    expect(curve[1]!.policy.accuracy.value!).toBeGreaterThan(curve[0]!.policy.accuracy.value!);
    expect(() => computeOptimal(questions, { budget: 50 })).toThrow(/no arm costs at most 50 completionTokens/);
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
    for (const [scale, ratio] of [
      [14, 0.16],
      [14, 0.79],
      [14, 22],
      [4, 1],
    ] as const) {
      const [parameters, pretraining] = [1e9, 1e12];
      const inference = ratio * pretraining;
      const larger = pretrainingFlops(scale * parameters, pretraining) + inferenceFlops(scale * parameters, inference);
      const k = matchedInference(scale, ratio);
      const smaller = pretrainingFlops(parameters, pretraining) + k * inferenceFlops(parameters, inference);
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
    expect(() => flopsMatched({ scale: 1, ratios: [1], larger: 0.5, smaller })).toThrow(/scale is 1/);
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
