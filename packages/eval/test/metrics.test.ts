import { createRandom } from '@posttrain/interfaces/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  accuracy,
  accuracyPerByte,
  accuracyPerCharacter,
  bestAtK,
  type ChoiceProblem,
  EstimatorError,
  estimatePassAtK,
  majorityAtK,
  meanScore,
  passAtK,
} from '../src/index.js';
import { goldens, problemOf, subsets } from './support.js';

describe('pass@k', () => {
  it.each(goldens<{ n: number; c: number; k: number; value: number }>('pass_at_k'))('golden $n $c $k', (g) => {
    expect(estimatePassAtK(g.n, g.c, g.k)).toBeCloseTo(g.value, 12);
  });

  it('is the share of subsets with a right sample, and at k = 1 the mean', () => {
    const scores = [1, 0, 0, 1, 0, 1, 0];
    for (let k = 1; k <= scores.length; k++) {
      const all = subsets(scores, k);
      const expected = all.filter((subset) => subset.includes(1)).length / all.length;
      expect(passAtK(k).value(problemOf(scores))).toBeCloseTo(expected, 12);
    }
    expect(passAtK(1).value(problemOf(scores))).toBeCloseTo(meanScore().value(problemOf(scores))!, 12);
  });

  it('is unbiased: its mean over drawn samples is 1 − (1−p)^k', () => {
    const random = createRandom(7);
    const runs = 20_000;
    let sum = 0;
    for (let run = 0; run < runs; run++) {
      const scores = Array.from({ length: 6 }, () => (random.float() < 0.3 ? 1 : 0));
      sum += passAtK(3).value(problemOf(scores))!;
    }
    expect(sum / runs).toBeCloseTo(1 - 0.7 ** 3, 2);
  });

  it.each([
    [2, 0, 5],
    [0, 0, 1],
    [3, 4, 1],
    [3, -1, 1],
    [3, 1.5, 1],
    [3, 1, 0],
    [3, 1, 1.5],
    [Number.NaN, 0, 1],
    [Number.POSITIVE_INFINITY, 0, 1],
  ])('refuses n = %d, c = %d, k = %d', (n, c, k) => {
    expect(() => estimatePassAtK(n, c, k)).toThrow(EstimatorError);
    for (const given of [`n = ${n}`, `c = ${c}`, `k = ${k}`]) {
      expect(() => estimatePassAtK(n, c, k)).toThrow(given);
    }
  });

  it('leaves out samples without a score, and problems with too few samples', () => {
    expect(passAtK(2).value(problemOf([null, 1, 0]))).toBe(1);
    expect(passAtK(3).value(problemOf([null, 1, 0]))).toBeNull();
    expect(meanScore().value(problemOf([null, 1, 0]))).toBe(0.5);
    expect(meanScore().value(problemOf([null]))).toBeNull();
  });

  it('rejects scores that are not right or wrong, and bad k', () => {
    expect(() => passAtK(1).value(problemOf([0.5]))).toThrow(/sample 0 of problem "p" has score 0.5/);
    expect(() => passAtK(0)).toThrow(/whole number above 0/);
  });
});

describe('maj@k', () => {
  it('goldens by enumeration', () => {
    const table = goldens<{ answers: (string | null)[]; scores: number[]; k: number; value: number }>('majority_at_k');
    expect(table.length).toBeGreaterThan(30);
    for (const { answers, scores, k, value } of table) {
      expect(majorityAtK(k).value(problemOf(scores, { answers }))).toBeCloseTo(value, 12);
    }
  });

  it('is what "first seen wins" gives on average over drawing orders', () => {
    const answers = ['a', 'a', 'b', 'b', 'b', 'c', 'd', null];
    const scores = [1, 1, 0, 0, 0, 0, 1, 0];
    const random = createRandom(11);
    const runs = 40_000;
    let sum = 0;
    for (let run = 0; run < runs; run++) {
      const order = answers.map((_, i) => i);
      for (let i = order.length - 1; i > 0; i--) {
        const j = random.integer(0, i);
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      const votes = new Map<string, { count: number; score: number }>();
      for (const i of order.slice(0, 4)) {
        const answer = answers[i]!;
        if (answer === null) continue;
        votes.set(answer, { count: (votes.get(answer)?.count ?? 0) + 1, score: scores[i]! });
      }
      let winner = { count: 0, score: 0 };
      for (const candidate of votes.values()) if (candidate.count > winner.count) winner = candidate;
      sum += winner.score;
    }
    expect(Math.abs(sum / runs - majorityAtK(4).value(problemOf(scores, { answers }))!)).toBeLessThan(
      4 * Math.sqrt(0.25 / runs),
    );
  });

  it('with one vote is the mean, and does not depend on the order of samples', () => {
    const sample = fc.constantFrom(...(['a', 'b', 'c', 'd', null] as const));
    const scoreOf = { a: 1, b: 0, c: 0, d: 1 };
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 12 }), (answers, k) => {
        const problem = (list: typeof answers) =>
          problemOf(
            list.map((answer) => (answer ? scoreOf[answer] : 0)),
            { answers: list },
          );
        expect(majorityAtK(1).value(problem(answers))).toBeCloseTo(meanScore().value(problem(answers))!, 10);
        const forward = majorityAtK(k).value(problem(answers));
        const backward = majorityAtK(k).value(problem([...answers].reverse()));
        if (k > answers.length) expect(forward).toBeNull();
        else expect(forward).toBeCloseTo(backward!, 10);
      }),
    );
  });

  it('stays a probability for many samples', () => {
    const answers = Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? 'right' : `wrong ${i % 14}`));
    const value = majorityAtK(201).value(
      problemOf(
        answers.map((a) => (a === 'right' ? 1 : 0)),
        { answers },
      ),
    )!;
    expect(value).toBeGreaterThan(0.999999);
    expect(value).toBeLessThan(1 + 1e-9);
  });

  it('rejects graders without answers and answers with two scores', () => {
    expect(() => majorityAtK(1).value(problemOf([1]))).toThrow(/names none/);
    expect(() => majorityAtK(1).value(problemOf([1, 0], { answers: ['7', '7'] }))).toThrow(/scores 1 and 0/);
  });
});

describe('best@k', () => {
  it('goldens by enumeration', () => {
    for (const { verifier, scores, k, value } of goldens<{
      verifier: (number | null)[];
      scores: number[];
      k: number;
      value: number;
    }>('best_at_k')) {
      expect(bestAtK(k, { by: 'v' }).value(problemOf(scores, { verifier }))).toBeCloseTo(value, 12);
    }
  });

  it('with the truth as verifier is pass@k; with a constant verifier is the mean', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 20 }),
        (scores, k) => {
          fc.pre(k <= scores.length);
          const oracle = bestAtK(k, { by: 'v' }).value(problemOf(scores, { verifier: scores }));
          expect(oracle).toBeCloseTo(passAtK(k).value(problemOf(scores))!, 10);
          const constant = bestAtK(k, { by: 'v' }).value(problemOf(scores, { verifier: scores.map(() => 3) }));
          expect(constant).toBeCloseTo(meanScore().value(problemOf(scores))!, 10);
        },
      ),
    );
  });

  it('is worth nothing where the verifier can score no sample', () => {
    expect(bestAtK(2, { by: 'v' }).value(problemOf([1, 1], { verifier: [null, null] }))).toBe(0);
  });

  it('names the verifiers there are', () => {
    expect(() => bestAtK(1, { by: 'judge' }).value(problemOf([1], { verifier: [1] }))).toThrow(
      /no scores by "judge".*: v\./,
    );
  });
});

it('all metrics of samples leave out what could not be graded, and have no value when too little is left', () => {
  const extra = { answers: ['a', 'b', 'a', 'b'], verifier: [1, 2, 3, 4] };
  const graded = problemOf([1, 0, 1], { answers: ['a', 'b', 'a'], verifier: [1, 2, 3] });
  for (const metric of [passAtK(2), majorityAtK(2), bestAtK(2, { by: 'v' })]) {
    expect(metric.value(problemOf([1, 0, 1, null], extra))).toBe(metric.value(graded));
    expect(metric.value(problemOf([1, null, null, null], extra))).toBeNull();
  }
});

describe('multiple choice', () => {
  const problem = (choices: string[], logProbs: number[], gold: number): ChoiceProblem => ({
    type: 'problem',
    id: 'p',
    requestHash: '',
    prompt: '',
    row: {},
    seconds: 0,
    gold,
    choices: choices.map((text, i) => ({ text, logProb: logProbs[i]!, tokens: 1, isGreedy: false })),
  });

  it('goldens by numpy, with ties and code points beyond 16 bits', () => {
    type Golden = {
      choices: string[];
      logProbs: number[];
      gold: number;
      acc: number;
      acc_norm: number;
      acc_bytes: number;
    };
    for (const g of goldens<Golden>('multiple_choice')) {
      const p = problem(g.choices, g.logProbs, g.gold);
      const values = [accuracy(), accuracyPerCharacter(), accuracyPerByte()].map((metric) => metric.value(p));
      expect(values).toEqual([g.acc, g.acc_norm, g.acc_bytes]);
    }
  });

  it('norms can each choose another answer', () => {
    const choices = ['no', 'abcdefghij', '👍👍👍👍'];
    const logProbs = [-2, -8, -4];
    expect(accuracy().value(problem(choices, logProbs, 0))).toBe(1);
    expect(accuracyPerCharacter().value(problem(choices, logProbs, 1))).toBe(1);
    expect(accuracyPerByte().value(problem(choices, logProbs, 2))).toBe(1);
  });

  it('refuses log-likelihoods that are none', () => {
    expect(() => accuracy().value(problem(['a', 'b'], [Number.NaN, -1], 1))).toThrow(/choice 0 of problem "p" .* NaN/);
    expect(accuracy().value(problem(['a', 'b'], [Number.NEGATIVE_INFINITY, -1], 1))).toBe(1);
  });

  it('does not change when every choice is repeated as often as its log-likelihood', () => {
    const p = problem(['ab', 'cde', 'f'], [-3, -4, -2], 1);
    const doubled = problem(['abab', 'cdecde', 'ff'], [-6, -8, -4], 1);
    for (const metric of [accuracyPerCharacter(), accuracyPerByte()])
      expect(metric.value(doubled)).toBe(metric.value(p));
  });
});
