import { readFileSync } from 'node:fs';
import { createRandom } from '@posttrain/interfaces/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  abilityDelta,
  accuracy,
  accuracyPerByte,
  accuracyPerCharacter,
  applyFilters,
  bestAtK,
  type ChoiceProblem,
  canonicalAnswer,
  continualMetrics,
  EstimatorError,
  estimatePassAtK,
  exactMatch,
  finalAnswer,
  lowercase,
  majorityAtK,
  meanScore,
  passAtK,
  regex,
  removePunctuation,
  removeWhitespace,
  replace,
  strip,
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

const grade = async (grader: ReturnType<typeof exactMatch>, completion: string, row: Record<string, unknown>) =>
  (await grader.verify([{ prompt: '', completion, row }]))[0]!;

describe('filters', () => {
  it.each([
    [
      () => regex('abc' as never),
      'regex: pattern is "abc"; it must be a regular expression, as /…/ or new RegExp(text).',
    ],
    [() => regex(undefined as never), 'regex: pattern is undefined; it must be a regular expression.'],
    [
      () => exactMatch({ target: 'gold' as never }),
      'target is "gold"; it must be a function of the row that gives the answer. Write (row) => row.gold.',
    ],
    [() => exactMatch({ filters: [/a/] as never }), 'filters is [a RegExp]; it must be a list of filters'],
    [
      () => exactMatch({ normalize: [strip] as never }),
      'normalize is [the function strip]; it must be a list of filters',
    ],
    [() => finalAnswer({ percent: 'x' as never }), 'answers: percent is "x"; it must be one of "fraction", "unit"'],
    [() => replace('abc' as never), 'replace: pattern is "abc"'],
    [() => replace(/a/, 5 as never), 'replace: replacement is 5; it must be a text.'],
    [() => regex(/a/, { match: '1' as never }), 'regex: match is "1"; it must be a whole number (default 0).'],
  ])('%s says what is wrong', (misuse, message) => {
    expect(misuse).toThrow(message);
  });

  it('regex: goldens by Python', () => {
    const table = goldens<{ pattern: string; text: string; match: number; value: string | null }>('regexes');
    expect(table.some(({ value }) => value === null) && table.some(({ value }) => value !== null)).toBe(true);
    for (const { pattern, text, match, value } of table) {
      expect(regex(new RegExp(pattern), { match }).apply(text), `${pattern} on ${text} at ${match}`).toBe(value);
    }
  });

  it('punctuation: golden by Python', () => {
    for (const { text, value } of goldens<{ text: string; value: string }>('punctuation')) {
      expect(removePunctuation().apply(text)).toBe(value);
    }
  });

  it('have the notion of an answer that rewards and votes have', () => {
    expect(finalAnswer().apply('The answer is $1,000.50.')).toBe('2001/2');
    expect(finalAnswer().apply('none')).toBeNull();
    expect(canonicalAnswer().apply('50%')).toBe('1/2');
    expect(canonicalAnswer({ percent: 'unit' }).apply('50%')).toBe('50');
  });

  it('run in order and stop where nothing is found', () => {
    const pipeline = [regex(/answer: (.*)/i, { match: -1 }), lowercase(), removeWhitespace(), replace(/,/), strip()];
    expect(applyFilters(pipeline, 'Answer: no\nanswer:  YES , Sir')).toBe('yessir');
    expect(applyFilters(pipeline, 'none')).toBeNull();
    expect(() => regex(/x/, { math: 1 } as object)).toThrow(/Did you mean "match"/);
  });
});

describe('exactMatch', () => {
  it('scores GSM8K answers as lm-evaluation-harness does, strict and flexible', async () => {
    const normalize = [replace(/,/), replace(/\$/), replace(/.*#### /s), replace(/\.$/), lowercase()];
    const strict = exactMatch({ name: 'strict-match', filters: [regex(/#### (-?[0-9.,]+)/)], normalize });
    const flexible = exactMatch({
      name: 'flexible-extract',
      filters: [regex(/(-?[$0-9.,]{2,})|(-?[0-9]+)/, { match: -1 })],
      normalize,
    });
    const row = { answer: 'He has 9 - 3 = 6 and 12 more.\n#### 1,018' };
    expect(await grade(strict, 'so\n#### 1018', row)).toEqual({ score: 1, answer: '1018' });
    expect(await grade(strict, 'It is $1,018.', row)).toEqual({ score: 0, answer: null });
    expect(await grade(flexible, 'It is $1,018.', row)).toEqual({ score: 1, answer: '1018' });
    expect(await grade(flexible, 'It is 1019', row)).toEqual({ score: 0, answer: '1019' });
  });

  it('takes one of several targets, and numbers as answers', async () => {
    expect((await grade(exactMatch({ target: () => ['a', 'b'] }), 'b', {})).score).toBe(1);
    expect((await grade(exactMatch(), '7', { answer: 7 })).score).toBe(1);
  });

  it('by itself finds and compares answers as rewards and votes do; with normalize [] letter by letter', async () => {
    const row = { answer: 'so 0.50.\n#### 0.50' };
    expect(await grade(exactMatch(), 'The answer is \\frac12.', row)).toEqual({ score: 1, answer: '1/2' });
    expect(await grade(exactMatch(), 'No idea', row)).toEqual({ score: 0, answer: null });
    expect(await grade(exactMatch(), 'Paris', { answer: 'paris' })).toEqual({ score: 1, answer: 'paris' });
    expect(await grade(exactMatch({ filters: [regex(/is (.*)/)] }), 'It is 1,000', { answer: 1000 })).toEqual({
      score: 1,
      answer: '1000',
    });
    expect(await grade(exactMatch({ normalize: [] }), '1,000', { answer: '1000' })).toEqual({
      score: 0,
      answer: '1,000',
    });
    expect((await grade(exactMatch({ percent: 'unit' }), 'It is 50%', { answer: ['49', '50'] })).score).toBe(1);
  });

  it('says when there is no target', async () => {
    await expect(grade(exactMatch(), '7', { anser: 7 })).rejects.toThrow(/give "target"/);
    await expect(grade(exactMatch(), '7', { answer: Number.NaN })).rejects.toThrow(/give "target"/);
    await expect(exactMatch().verify([{ prompt: '', completion: '' }])).rejects.toThrow(/no row/);
  });
});

describe('metrics of continual learning', () => {
  // By hand: task 0 falls from 0.9 to 0.5 having been 1.0, task 1 rises from 0.6 to 0.7 by way of 0.75.
  const matrix = [
    [0.9, 0.3, 0.2, 0.0],
    [1.0, 0.6, 0.1, 0.1],
    [0.7, 0.75, 0.8, 0.2],
    [0.5, 0.7, 0.6, 1.0],
  ];
  const baseline = [0.1, 0.2, 0.2, 0.1];
  const expected = {
    overall: 2.8 / 4,
    backwardTransfer: (-0.4 + 0.1 - 0.2) / 3,
    forwardTransfer: (0.1 - 0.1 + 0.1) / 3,
    forgetting: (0.5 + 0.05 + 0.2) / 3,
  };

  it.each([
    ['an accuracy', true, 1],
    ['a loss, whose signs are turned', false, -1],
  ] as const)('of %s', (_, higherIsBetter, sign) => {
    const signed = matrix.map((row) => row.map((x) => sign * x));
    const found = continualMetrics({ matrix: signed, baseline: baseline.map((x) => sign * x), higherIsBetter });
    expect(found.overall).toBeCloseTo(sign * expected.overall, 12);
    for (const name of ['backwardTransfer', 'forwardTransfer', 'forgetting'] as const)
      expect(found[name]).toBeCloseTo(expected[name], 12);
    expect(found.forgettingByTask.map((x) => Math.round(100 * x))).toEqual([50, 5, 20]);
  });

  const file = new URL('../../../goldens/continual/avalanche.json', import.meta.url);
  const { streams } = JSON.parse(readFileSync(file, 'utf8')) as {
    streams: ({ matrix: number[][]; baseline: number[] } & Record<
      'backward_transfer' | 'forgetting' | 'forward_transfer',
      number[]
    >)[];
  };
  it.each(streams)('are those of Avalanche: $matrix', ({ matrix: scores, baseline: before, ...golden }) => {
    const found = continualMetrics({ matrix: scores, baseline: before, higherIsBetter: true });
    const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(found.backwardTransfer).toBeCloseTo(meanOf(golden.backward_transfer), 12);
    expect(found.forwardTransfer).toBeCloseTo(meanOf(golden.forward_transfer), 12);
    found.forgettingByTask.forEach((lost, j) => {
      expect(lost).toBeCloseTo(golden.forgetting[j]!, 12);
    });
    expect(found.forgettingByTask).toHaveLength(golden.forgetting.length);
  });

  it('say nothing of transfer where there is none: nothing changes, one task, no baseline', () => {
    const same = matrix.map(() => [0.4, 0.5, 0.6, 0.7]);
    const still = continualMetrics({ matrix: same, baseline: same[0]!, higherIsBetter: true });
    expect([still.backwardTransfer, still.forwardTransfer, still.forgetting].map((x) => x! + 0)).toEqual([0, 0, 0]);
    expect(continualMetrics({ matrix: [[0.4]], higherIsBetter: true })).toEqual({
      ...{ overall: 0.4, backwardTransfer: null, forwardTransfer: null, forgetting: null, forgettingByTask: [] },
    });
    expect(abilityDelta([0.5, 0.7], [0.4, 0.4])).toBeCloseTo(-0.2, 12);
  });

  it.each([
    [{ matrix: [], higherIsBetter: true }, /empty/],
    [{ matrix: [[1, 2]], higherIsBetter: true }, /row 0 of the matrix has 2 scores, and there are 1 tasks/],
    [{ matrix: [[Number.NaN]], higherIsBetter: true }, /has NaN for task 0/],
    [{ matrix: [[1]], baseline: [1, 2], higherIsBetter: true }, /the baseline has 2/],
    [{ matrix: [[1]] }, /higherIsBetter is missing/],
  ])('refuse %j', (given, message) => {
    expect(() => continualMetrics(given as never)).toThrow(message);
    expect(() => abilityDelta([1], [])).toThrow(/1 scores before and 0 after/);
  });
});
