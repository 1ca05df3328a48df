import { type Given, isPosttrainError, number } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bestOfN,
  bestOfNKl,
  ContractError,
  type Generator,
  majorityVote,
  NoCandidateError,
  type Problem,
  Search,
  strategyOptions,
  traceTable,
  traceToJson,
  traceToSvg,
  type Verifier,
  type VerifyRequest,
  verifierOption,
  weightedBestOfN,
} from '../src/index.js';
import { categorical, completion, scripted, seededUniform, table } from './doubles.js';

const problem = { prompt: 'q' };
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

describe('bestOfN', () => {
  it('returns the highest score, the first drawn on ties', async () => {
    const generator = scripted(['a 1', 'b 2', 'c 2', 'd 0']);
    const result = await bestOfN(problem, { generator, verifier: table((text) => Number(text.slice(2))), n: 4 });
    expect(result).toMatchObject({ text: 'b 2', answer: '2', score: 2, votes: [], exhausted: null });
    expect(result.trace.nodes.map((node) => node.status)).toEqual(['kept', 'dropped', 'chosen', 'dropped', 'dropped']);
    expect(result.trace.spent).toMatchObject({
      completions: 4,
      promptTokens: 20,
      completionTokens: 12,
      generatorCalls: 1,
      verifierCalls: 4,
    });
  });

  it('never returns what is not scorable, and throws with the trace when nothing is', async () => {
    const scores = new Map<string, number | null>([
      ['a', null],
      ['b', -5],
      ['c', null],
    ]);
    const verifier = table((text) => scores.get(text)!);
    const result = await bestOfN(problem, { generator: scripted(['a', 'b', 'c']), verifier, n: 3 });
    expect(result).toMatchObject({ text: 'b', score: -5 });
    expect(result.trace.nodes[1]).toMatchObject({ score: null, status: 'dropped', reason: 'not scorable' });
    const nothing = await bestOfN(problem, { generator: scripted(['a', 'c']), verifier, n: 2 }).catch((e) => e);
    expect(nothing).toBeInstanceOf(NoCandidateError);
    expect(nothing.message).toMatch(/best-of-n: none of 2 completions has a score/);
    expect(nothing.trace.spent.completionTokens).toBe(6);
  });

  it('has the mean N/(N+1) of the maximum of N uniforms', async () => {
    const uniform = seededUniform(1);
    const runs = 4000;
    for (const n of [1, 3, 8]) {
      const scores = [];
      for (let i = 0; i < runs; i++) {
        const result = await bestOfN(problem, { generator: scripted([]), verifier: table(uniform), n });
        scores.push(result.score!);
      }
      const standardDeviation = Math.sqrt(n / ((n + 1) ** 2 * (n + 2)));
      expect(Math.abs(mean(scores) - n / (n + 1))).toBeLessThan((4 * standardDeviation) / Math.sqrt(runs));
    }
  });

  it('scores pass@N with a perfect verifier and pass@1 with a random one', async () => {
    const uniform = seededUniform(2);
    const p = 0.3;
    const runs = 4000;
    for (const n of [2, 5]) {
      const right = async (verify: (text: string) => number) => {
        let count = 0;
        for (let i = 0; i < runs; i++) {
          const generator = categorical(['right', 'wrong'], [p, 1 - p], uniform);
          const result = await bestOfN(problem, { generator, verifier: table(verify), n });
          if (result.text === 'right') count++;
        }
        return count / runs;
      };
      const passAtN = 1 - (1 - p) ** n;
      expect(Math.abs((await right((text) => Number(text === 'right'))) - passAtN)).toBeLessThan(
        4 * Math.sqrt((passAtN * (1 - passAtN)) / runs),
      );
      expect(Math.abs((await right(uniform)) - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / runs));
    }
  });
});

describe('bestOfNKl', () => {
  it('is ln n − (n−1)/n', () => {
    expect(bestOfNKl(1)).toBe(0);
    expect(bestOfNKl(4)).toBeCloseTo(0.6363, 4);
    expect(bestOfNKl(16)).toBeCloseTo(1.8351, 4);
    expect(bestOfNKl(256)).toBeCloseTo(4.5491, 4);
  });

  it('bounds the exact KL of m equally likely, distinctly scored completions and is its limit', () => {
    const exact = (n: number, m: number) => {
      let kl = 0;
      for (let rank = 1; rank <= m; rank++) {
        const chosen = (rank / m) ** n - ((rank - 1) / m) ** n;
        if (chosen > 0) kl += chosen * Math.log(chosen * m);
      }
      return kl;
    };
    for (const n of [2, 4, 16]) {
      for (const m of [2, 5, 50]) expect(exact(n, m)).toBeLessThan(bestOfNKl(n));
      expect(exact(n, 100_000)).toBeCloseTo(bestOfNKl(n), 3);
    }
    for (const n of [0, 1.5, Number.NaN]) expect(() => bestOfNKl(n)).toThrow(/n must be an integer of at least 1/);
  });
});

describe('majorityVote', () => {
  it('counts normalised answers, the first seen on ties, and leaves out completions without one', async () => {
    const generator = scripted(['answer is 2', 'answer is 1/2', 'no', 'answer is 0.5', 'answer is 2.0', 'none']);
    const result = await majorityVote(problem, { generator, n: 6 });
    expect(result).toMatchObject({ text: 'answer is 2', answer: '2', score: null });
    expect(result.votes).toEqual([
      { answer: '2', count: 2, weight: 2 },
      { answer: '1/2', count: 2, weight: 2 },
    ]);
    expect(result.trace.nodes.map((node) => node.status)).toEqual([
      'kept',
      'chosen',
      'dropped',
      'dropped',
      'dropped',
      'kept',
      'dropped',
    ]);
    expect(result.trace.nodes[3]?.reason).toBe('no answer found');
    expect(result.trace.verifier).toBeNull();
    await expect(majorityVote(problem, { generator: scripted(['no']), n: 1 })).rejects.toThrow(/has an answer/);
  });

  it('counts numbers that are spelled otherwise, and no empty answers', async () => {
    const texts = ['\\boxed{50\\%}', '7', 'answer: \\frac12', '7', 'It is 0.50.', '\\boxed{}'];
    const { votes } = await majorityVote(problem, { generator: scripted(texts), n: 6 });
    expect(votes.map(({ answer, count }) => [answer, count])).toEqual([
      ['1/2', 3],
      ['7', 2],
    ]);
    const options = { generator: scripted(['a', ' ', '']), n: 3 };
    expect((await majorityVote(problem, { ...options, extractAnswer: (text) => text })).votes).toHaveLength(1);
    const extractAnswer = (() => 7) as never;
    await expect(majorityVote(problem, { ...options, extractAnswer })).rejects.toThrow(/extractAnswer returned 7/);
  });

  it('wins as often as the multinomial law says, enumerated', async () => {
    const texts = ['1', '2', '3'];
    const probabilities = [0.45, 0.35, 0.2];
    const n = 5;
    // Every sequence of n draws, with the tie rule "first seen" applied to the sequence itself.
    let exact = 0;
    for (let code = 0; code < 3 ** n; code++) {
      const draws = Array.from({ length: n }, (_, i) => Math.floor(code / 3 ** i) % 3);
      const count = (answer: number) => draws.filter((draw) => draw === answer).length;
      const most = Math.max(count(0), count(1), count(2));
      if (draws.find((draw) => count(draw) === most) === 0) {
        exact += draws.reduce((product, draw) => product * probabilities[draw]!, 1);
      }
    }
    // The same by the multinomial formula: ties of t answers are won with probability 1/t.
    const factorial = (k: number): number => (k < 2 ? 1 : k * factorial(k - 1));
    let multinomial = 0;
    for (let a = 0; a <= n; a++) {
      for (let b = 0; a + b <= n; b++) {
        const c = n - a - b;
        const tied = [a, b, c].filter((count) => count === a).length;
        if (a < Math.max(b, c)) continue;
        const ways = factorial(n) / (factorial(a) * factorial(b) * factorial(c));
        multinomial += (ways * 0.45 ** a * 0.35 ** b * 0.2 ** c) / tied;
      }
    }
    expect(multinomial).toBeCloseTo(exact, 12);
    const uniform = seededUniform(3);
    const runs = 6000;
    let wins = 0;
    for (let i = 0; i < runs; i++) {
      const result = await majorityVote(problem, { generator: categorical(texts, probabilities, uniform), n });
      if (result.answer === '1') wins++;
    }
    expect(Math.abs(wins / runs - exact)).toBeLessThan(4 * Math.sqrt((exact * (1 - exact)) / runs));
  });
});

describe('weightedBestOfN', () => {
  it('sums scores by answer and returns the best completion of the winner', async () => {
    const generator = scripted(['a 1', 'b 2', 'c 2', 'd 3']);
    const scores: Record<string, number> = { a: 0.9, b: 0.4, c: 0.6, d: 0.95 };
    const verifier = table((text) => scores[text[0]!]!);
    const result = await weightedBestOfN(problem, { generator, verifier, n: 4 });
    expect(result).toMatchObject({ text: 'c 2', answer: '2', score: 0.6 });
    expect(result.votes[0]).toEqual({ answer: '2', count: 2, weight: 1 });
  });

  it('equals the majority vote when all scores are equal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 15 }), async (answers) => {
        const texts = answers.map(String);
        const n = texts.length;
        const weighted = await weightedBestOfN(problem, { generator: scripted(texts), verifier: table(() => 0.1), n });
        const majority = await majorityVote(problem, { generator: scripted(texts), n });
        expect(weighted.answer).toBe(majority.answer);
        expect(weighted.text).toBe(majority.text);
      }),
    );
  });

  it('equals best-of-N when every answer is different', async () => {
    const scores = fc.uniqueArray(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(scores, async (values) => {
        const texts = values.map(String);
        const options = { verifier: table(Number), n: texts.length };
        const weighted = await weightedBestOfN(problem, { ...options, generator: scripted(texts) });
        const best = await bestOfN(problem, { ...options, generator: scripted(texts) });
        expect(weighted.text).toBe(best.text);
      }),
    );
  });

  it('goes by the answers of a verifier that finds them, unless the caller says which are equal', async () => {
    const texts = ['one half', '1/2', '0.7', 'half', '0.70', '0.70'];
    const numbers = new Map<string, string | null>([
      ['one half', '1/2'],
      ['half', '1/2'],
      ['1/2', '1/2'],
      ['0.70', null],
    ]);
    /** Knows words for numbers, says of 0.70 that there is no answer, and nothing of 0.7. */
    const verifier: Verifier = {
      name: 'reader',
      verify: async (requests) =>
        requests.map(({ completion: text }) =>
          numbers.has(text) ? { score: 1, answer: numbers.get(text)! } : { score: 1 },
        ),
    };
    const vote = (rest = {}) => weightedBestOfN(problem, { generator: scripted(texts), verifier, n: 6, ...rest });
    const result = await vote();
    expect(result).toMatchObject({ text: 'one half', answer: '1/2' });
    expect(result.votes.map(({ answer, count }) => [answer, count])).toEqual([
      ['1/2', 3],
      ['7/10', 1],
    ]);
    expect(result.trace.nodes.slice(1).map(({ answer }) => answer)).toEqual(['1/2', '1/2', '7/10', '1/2', null, null]);
    expect(await vote({ extractAnswer: (text: string) => text.slice(0, 3) })).toMatchObject({ answer: '0.7' });
    const none = await bestOfN(problem, { generator: scripted(['0.70']), verifier, n: 1 });
    expect(none).toMatchObject({ text: '0.70', answer: null });
    const odd = { name: 'odd', verify: async () => [{ score: 1, answer: 7 as never }] };
    await expect(bestOfN(problem, { generator: scripted(['7']), verifier: odd, n: 1 })).rejects.toThrow(
      /"odd" gave completion 0 the answer 7; an answer is a text, or null/,
    );
  });

  it('gives no vote to null scores and refuses negative ones', async () => {
    const scores = new Map([
      ['1', null],
      ['2', 0.1],
    ]);
    const verifier = table((text) => scores.get(text)!);
    const result = await weightedBestOfN(problem, { generator: scripted(['1', '1', '2']), verifier, n: 3 });
    expect(result.answer).toBe('2');
    await expect(
      weightedBestOfN(problem, { generator: scripted(['1']), verifier: table(() => -1), n: 1 }),
    ).rejects.toThrow(/verifier "table": the score -1 cannot weigh a vote/);
    await expect(
      weightedBestOfN(problem, { generator: scripted(['1']), verifier: table(() => null), n: 1 }),
    ).rejects.toThrow(NoCandidateError);
  });
});

describe('every strategy', () => {
  it('puts the prefix in front of what is verified, extracted and returned', async () => {
    const generator = scripted(['2']);
    const seen: string[] = [];
    const verifier = table((text) => {
      seen.push(text);
      return 1;
    });
    const result = await bestOfN({ prompt: 'q', prefix: 'The answer is 4' }, { generator, verifier, n: 1 });
    expect(seen).toEqual(['The answer is 42']);
    expect(result).toMatchObject({ text: 'The answer is 42', answer: '42' });
    expect(generator.requests[0]).toMatchObject({ prefix: 'The answer is 4', n: 1 });
  });

  it('offsets the seed by the completions already asked for', async () => {
    const generator = scripted(['1', '1', '1', '1', '1']);
    await majorityVote(problem, { generator, n: 5, batchSize: 2, sampling: { seed: 10, temperature: 0.5 } });
    expect(generator.requests.map(({ n, seed, temperature }) => [n, seed, temperature])).toEqual([
      [2, 10, 0.5],
      [2, 12, 0.5],
      [1, 14, 0.5],
    ]);
  });

  it('refuses unknown options, impossible numbers and a missing verifier', async () => {
    const generator = scripted([]);
    const verifier = table(() => 1);
    await expect(majorityVote(problem, { generator, n: 0 })).rejects.toThrow(
      /majority-vote: n is 0; it must be a whole number of at least 1/,
    );
    await expect(majorityVote(problem, { generator, n: 1, batchsize: 2 } as never)).rejects.toThrow(/"batchSize"/);
    await expect(majorityVote({ ...problem, promt: '' } as never, { generator, n: 1 })).rejects.toThrow(/"prompt"/);
    await expect(bestOfN(problem, { generator, n: 1 } as never)).rejects.toThrow(
      /verifier is missing; .* majorityVote does without/,
    );
    await expect(bestOfN(problem, { generator, verifier, n: 1, budget: { maxTokens: 1 } as never })).rejects.toThrow(
      /unknown option "maxTokens"/,
    );
  });

  const isRight = () => 1;
  it.each<[object | undefined, RegExp]>([
    [{ verifier: isRight }, /verifier is the function isRight; .*functionVerifier\('isRight', isRight\) makes one/],
    [{ verifier: () => 1 }, /functionVerifier\('verifier', verifier\)/],
    [{ verifier: 'exact' }, /verifier is "exact"; it must be an object with verify\(requests\)\.$/],
    [{ generator: undefined }, /generator is missing; it must be an object with generate\(requests\)\.$/],
    [{ generator: { generator: () => 1 } }, /model\.generator\(\) gives one/],
    [{ generator: Promise.resolve(1) }, /await it first/],
    [{ extractAnswer: 'last' }, /extractAnswer is "last"; it must be a function/],
    [{ temperature: 1 }, /unknown option "temperature"\. It belongs to sampling: sampling: { temperature }\./],
    [{ numSamples: 4 }, /unknown option "numSamples"\. It is called "n" here\./],
    [{ budget: { maxTokens: 4 } }, /unknown option "maxTokens"\. It is called "maxCompletionTokens" here\./],
    [{ sampling: 5 }, /sampling is 5; it must be an object/],
    [{ n: '3' }, /n is "3"; it must be a whole number of at least 1/],
    [undefined, /options must be an object, got undefined/],
  ])('refuses %o before anything is asked', async (given, message) => {
    const generator = scripted([]);
    const options = given && { generator, verifier: table(() => 1), n: 1, ...given };
    for (const strategy of [bestOfN, weightedBestOfN]) {
      const error = await strategy(problem, options as never).catch((cause: unknown) => cause);
      expect(isPosttrainError(error)).toBe(true);
      expect((error as Error).message).toMatch(message);
    }
    expect(generator.requests).toEqual([]);
  });

  it.each<[() => unknown, RegExp]>([
    [
      () => traceToSvg({ trace: {} } as never),
      /traceToSvg: trace is .*; it must be the trace of a search \(result\.trace\)/,
    ],
    [() => traceToJson(undefined as never), /traceToJson: trace is undefined/],
    [() => traceTable(undefined as never), /traces is undefined; it must be a list of traces/],
    [() => traceTable([5] as never), /traceTable: trace is 5/],
  ])('%s is refused', (misuse, message) => {
    expect(misuse).toThrow(message);
  });

  it.each([{}, { prompt: 5 }])('refuses %j for a problem', async (given) => {
    const options = { generator: scripted([]), n: 1 };
    await expect(majorityVote(given as never, options)).rejects.toThrow(
      /problem: prompt is .*; it must be a text or a list/,
    );
  });

  it('blames the generator or verifier that breaks its contract', async () => {
    const verifier = table(() => 1);
    const short = { name: 'short', generate: async () => [[completion('1')]] };
    await expect(majorityVote(problem, { generator: short, n: 2 })).rejects.toThrow(/"short" returned 1 completions/);
    const nothing = { name: 'nothing', generate: async () => [] };
    await expect(majorityVote(problem, { generator: nothing, n: 2 })).rejects.toThrow(/"nothing" returned no list/);
    const of = (more: object) => ({
      name: 'bare',
      generate: async () => [[{ text: '1', finishReason: 'stop', ...more }]],
    });
    for (const [generator, said] of [
      [of({}), /"bare" returned a completion with the usage undefined; .*usage: \{ promptTokens/],
      [of({ text: undefined, usage: {} }), /"bare" returned a completion with the text undefined/],
      [{ ...of({}), name: undefined }, /generator has the name undefined; give it one/],
    ] as const) {
      const wrong = majorityVote(problem, { generator: generator as never, n: 1 });
      await expect(wrong).rejects.toThrow(ContractError);
      await expect(wrong).rejects.toThrow(said);
    }
    const uncounted = { name: 'uncounted', generate: async () => [[completion('1', Number.NaN)]] };
    await expect(majorityVote(problem, { generator: uncounted, n: 1 })).rejects.toThrow(/"uncounted".*NaN tokens/);
    const silent = { name: 'silent', verify: async () => [] };
    await expect(bestOfN(problem, { generator: scripted(['1']), verifier: silent, n: 1 })).rejects.toThrow(
      /"silent" returned 0 verdicts for 1/,
    );
    const absent = { name: 'absent', verify: async () => [undefined as never] };
    await expect(bestOfN(problem, { generator: scripted(['1']), verifier: absent, n: 1 })).rejects.toThrow(
      /"absent" gave completion 0 no verdict/,
    );
    const broken = table(() => Number.NaN);
    await expect(bestOfN(problem, { generator: scripted(['1']), verifier: broken, n: 1 })).rejects.toThrow(
      /"table".*NaN/,
    );
    expect(verifier.calls).toBe(0);
  });
});

describe('a strategy of your own', () => {
  const shortestGoodOptions = strategyOptions('shortest-good', { verifier: verifierOption, bar: number({ min: 0 }) });
  /** The shortest completion that the verifier calls good enough. */
  async function shortestGood(problem: Problem, options: Given<typeof shortestGoodOptions>) {
    const { bar, ...rest } = options;
    const search = new Search(shortestGoodOptions, problem, options);
    const candidates = await search.draw();
    expect(rest.n).toBeGreaterThanOrEqual(candidates.length);
    const good = candidates.filter(({ node }) => (node.score ?? 0) >= bar);
    if (good.length === 0) throw search.nothing(`none of ${candidates.length} reaches ${bar}.`);
    const chosen = good.reduce((a, b) => (b.text.length < a.text.length ? b : a));
    return search.finish(chosen, good, candidates, [], 'not good enough');
  }

  it('stands on Search, which keeps the budget, the contracts and the trace', async () => {
    const options = { generator: scripted(['aaaa', 'bb', 'c', 'dd']), verifier: table((text) => text.length), n: 4 };
    const result = await shortestGood(
      { prompt: 'q' },
      { ...options, bar: 2, budget: { maxCompletions: 3 }, batchSize: 1 },
    );
    expect(result).toMatchObject({ text: 'bb', score: 2, exhausted: 'maxCompletions' });
    expect(result.trace.nodes.map(({ status, reason }) => reason ?? status)).toEqual([
      'kept',
      'kept',
      'chosen',
      'not good enough',
    ]);
    const none = shortestGood({ prompt: 'q' }, { ...options, generator: scripted(['a']), n: 1, bar: 9 });
    await expect(none).rejects.toThrow(/shortest-good: none of 1 reaches 9/);
    await expect(shortestGood({ prompt: 'q' }, { ...options, bar: 1, baar: 1 } as never)).rejects.toThrow(/"bar"/);
    await expect(shortestGood({ prompt: 'q' }, { ...options, bar: -1 })).rejects.toThrow(
      /shortest-good: bar is -1; it must be a number of at least 0/,
    );
    const { verifier: _, ...without } = options;
    await expect(shortestGood({ prompt: 'q' }, { ...without, bar: 1 } as never)).rejects.toThrow(
      /verifier is missing; .* majorityVote does without/,
    );
  });

  it('hears of the tokens and the end of a completion, and so does its verifier', async () => {
    const seen: VerifyRequest[] = [];
    const verifier: Verifier = {
      name: 'nosy',
      verify: async (requests) => {
        seen.push(...requests);
        return requests.map(({ tokenIds }) => ({ score: tokenIds!.length }));
      },
    };
    const generator: Generator = {
      name: 'exact',
      generate: async () => [[{ ...completion('ab'), tokenIds: [1, 2], finishReason: 'length' }]],
    };
    const { score } = await bestOfN({ prompt: 'q', prefix: '>' }, { generator, verifier, n: 1 });
    expect(score).toBe(2);
    expect(seen[0]).toMatchObject({ completion: '>ab', tokenIds: [1, 2], finishReason: 'length' });
  });
});
