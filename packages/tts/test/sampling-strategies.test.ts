import type { Completion, GenerateRequest, Generator, PairJudge, TokenLogProb } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  adaptiveConsistency,
  bestOfN,
  betaConfidence,
  confidenceInformedSelfConsistency,
  confidenceSampling,
  confidenceTreeSearch,
  cotDecoding,
  deepConf,
  deepConfOnline,
  earlyStoppingSelfConsistency,
  genSelect,
  groupConfidences,
  knockoutTournament,
  majorityVote,
  minimumBayesRisk,
  type NoCandidateError,
  recursiveSelfAggregation,
  regularizedBestOfN,
  type SearchResult,
  selfCertainty,
  softBestOfN,
  speculativeRejection,
  swissTournament,
  type Trace,
  type TraceConfidence,
  tokenConfidences,
  traceConfidence,
  universalSelfConsistency,
  weightedBestOfN,
} from '../src/index.js';
import {
  categorical,
  completion,
  enumerating,
  goldenOf,
  lettersIn,
  scripted,
  seededUniform,
  table,
} from './doubles.js';

const problem = { prompt: 'q' };
const promptsOf = ({ requests }: { readonly requests: readonly GenerateRequest[] }) =>
  requests.map(({ prompt }) => prompt as string);
/** Gives out completions in order, over all calls, as `scripted` gives out texts. */
const completions = (given: Iterable<Completion>): Generator => {
  const next = given[Symbol.iterator]();
  return {
    name: 'given',
    generate: async (requests) => requests.map(({ n = 1 }) => Array.from({ length: n }, () => next.next().value!)),
  };
};
/** Answers in order to the problem, and to every other prompt what `judge` says of it. */
function judgedBy(texts: readonly string[], judge: (prompt: string) => string): Generator & { prompts: string[] } {
  const writer = scripted(texts);
  const prompts: string[] = [];
  return {
    name: 'judged',
    prompts,
    generate: async (requests) =>
      Promise.all(
        requests.map(async (request) => {
          const { prompt, n = 1 } = request;
          if (prompt === 'q') return (await writer.generate([request]))[0]!;
          prompts.push(prompt as string);
          return Array.from({ length: n }, () => completion(judge(prompt as string)));
        }),
      ),
  };
}
const reasons = ({ trace }: SearchResult) => trace.nodes.slice(1).map(({ reason }) => reason);

describe('softBestOfN', () => {
  const soft = (texts: readonly string[], lambda: number, seed = 0) =>
    softBestOfN(problem, {
      ...{ generator: scripted(texts), verifier: table(Number), n: texts.length, lambda, sampling: { seed } },
    });

  it('is best-of-N at λ = 0, and draws with the softmax of the scores at others', async () => {
    expect((await soft(['1', '3', '3', '2'], 0)).text).toBe('3');
    const counts = new Map<string, number>();
    const runs = 500;
    for (let seed = 0; seed < runs; seed++) {
      const { text } = await soft(['0', '1', '2'], 1, seed);
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    const total = 1 + Math.E + Math.E ** 2;
    const chiSquare = ['0', '1', '2'].reduce((sum, text) => {
      const expected = (runs * Math.exp(Number(text))) / total;
      return sum + ((counts.get(text) ?? 0) - expected) ** 2 / expected;
    }, 0);
    // The 99.9 % quantile for two degrees of freedom.
    expect(chiSquare).toBeLessThan(13.8);
  });

  it('tends to the tilted law π e^{r/λ} / Z as N grows, from π at N = 1', async () => {
    const [p, lambda, runs] = [0.2, 0.5, 300];
    const tilted = (p * Math.exp(1 / lambda)) / (p * Math.exp(1 / lambda) + 1 - p);
    const shareOf = async (n: number) => {
      const uniform = seededUniform(5);
      let good = 0;
      for (let seed = 0; seed < runs; seed++) {
        const generator = categorical(['1', '0'], [p, 1 - p], uniform);
        const options = { generator, verifier: table(Number), n, lambda, sampling: { seed } };
        if ((await softBestOfN(problem, options)).text === '1') good++;
      }
      return good / runs;
    };
    const margin = (share: number) => 4 * Math.sqrt((share * (1 - share)) / runs);
    expect(Math.abs((await shareOf(1)) - p)).toBeLessThan(margin(p));
    expect(Math.abs((await shareOf(40)) - tilted)).toBeLessThan(margin(tilted) + 0.01);
  });
});

describe('reward hacking of best-of-N', () => {
  /** Mean and standard error. */
  const estimate = (values: readonly number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
    return { mean, error: Math.sqrt(squares / (values.length - 1) / values.length) };
  };

  it('with heavy-tailed errors the proxy rises and the gold reward does not; nearness to the samples has it rise', async () => {
    const worthOf = (text: string) => text.split(' ').map(Number) as [worth: number, error: number];
    const nearness = (a: string, b: string) => {
      const [[g, e], [h, f]] = [worthOf(a), worthOf(b)];
      return 1 - Math.hypot(g - h, e - f);
    };
    const chosen = { proxy: [] as number[], gold: [] as number[], lost: [] as number[] };
    for (let i = 0; i < 80; i++) {
      const random = createRandom(i, 'hacking');
      const normal = () => Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
      // Errors of Student's t with 2 degrees of freedom.
      const texts = Array.from(
        { length: 32 },
        () => `${normal()} ${normal() / Math.sqrt(-Math.log(1 - random.float()))}`,
      );
      const verifier = table((text) => worthOf(text)[0] + worthOf(text)[1]);
      const among = (n: number) => ({ generator: scripted(texts), verifier, n });
      const few = await bestOfN(problem, among(4));
      const many = await bestOfN(problem, among(32));
      const near = await regularizedBestOfN(problem, {
        ...{ ...among(32), regularizer: 'wasserstein', beta: 1, utility: nearness },
      });
      chosen.proxy.push(many.score! - few.score!);
      chosen.gold.push(worthOf(many.text)[0] - worthOf(few.text)[0]);
      chosen.lost.push(worthOf(near.text)[0] - worthOf(many.text)[0]);
    }
    const [proxy, gold, lost] = [estimate(chosen.proxy), estimate(chosen.gold), estimate(chosen.lost)];
    expect(proxy.mean).toBeGreaterThan(3 * proxy.error);
    expect(gold.mean).toBeLessThan(2 * gold.error);
    expect(lost.mean).toBeGreaterThan(3 * lost.error);
  });
});

describe('minimumBayesRisk and regularizedBestOfN', () => {
  const same = (a: string, b: string) => Number(a.at(-1) === b.at(-1));

  it('is the majority vote where the utility is an equal answer', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 9 }), async (answers) => {
        const texts = answers.map((it) => `answer ${it}`);
        const n = texts.length;
        const risk = await minimumBayesRisk(problem, { generator: scripted(texts), n, utility: same });
        expect(risk.text).toBe((await majorityVote(problem, { generator: scripted(texts), n })).text);
      }),
      { numRuns: 30 },
    );
  });

  it('goes by the expected utility of each sample beside all, and refuses one that is no number', async () => {
    const ask = (utility: (a: string, b: string) => number) =>
      minimumBayesRisk(problem, { generator: scripted(['0', '4', '5', '9']), n: 4, utility });
    // The utility −|a − b| wants a median, and −(a − b)² the sample nearest to the mean of 4.5.
    expect((await ask((a, b) => -Math.abs(Number(a) - Number(b)))).text).toBe('4');
    expect((await ask((a, b) => -((Number(a) - Number(b)) ** 2))).text).toBe('4');
    await expect(ask(() => Number.NaN)).rejects.toThrow(/utility gave NaN/);
  });

  const logProb: Record<string, number> = { '5': -9, '4': -1, '3': -0.5 };
  const drawn = (texts: readonly string[]): Completion[] =>
    texts.map((text) => ({ ...completion(text), logProbs: [logProb[text]!, -7], forced: [1] }));
  const regularized = (rest: object) =>
    regularizedBestOfN(problem, {
      ...{ generator: completions(drawn(['5', '4', '3', '3'])), verifier: table(Number), n: 4, beta: 0.3 },
      ...(rest as { regularizer: 'kl' }),
    });

  it('is best-of-N at β = 0, adds β log π of the drawn tokens, or β times the likeness to the samples', async () => {
    for (const regularizer of ['kl', 'wasserstein'] as const) {
      expect((await regularized({ regularizer, beta: 0, utility: same })).text).toBe('5');
    }
    // 5 − 2.7, 4 − 0.3, 3 − 0.15; and 5 + β/4, 4 + β/4, 3 + β/2.
    expect((await regularized({ regularizer: 'kl' })).text).toBe('4');
    expect((await regularized({ regularizer: 'wasserstein', beta: 7.9, utility: same })).text).toBe('5');
    expect((await regularized({ regularizer: 'wasserstein', beta: 8.1, utility: same })).text).toBe('3');
  });

  interface Regularized {
    readonly rewards: number[];
    readonly logProbs: number[];
    readonly likeness: number[][];
    readonly best: number;
    readonly wasserstein: number[];
    readonly kl: number[];
  }
  it('chooses what the authors’ code chooses at every β', async () => {
    const { betas, tables } = goldenOf<{ betas: number[]; tables: Regularized[] }>('regularized', 'authors');
    for (const { rewards, logProbs, likeness, ...theirs } of tables) {
      const choice = async (regularizer: 'kl' | 'wasserstein', beta: number) => {
        const drawn = rewards.map((_, i) => ({ ...completion(`${i}`), logProbs: [logProbs[i]!] }));
        const options = {
          generator: completions(drawn),
          verifier: table((text) => rewards[Number(text)]!),
          n: rewards.length,
        };
        const utility = (a: string, b: string) => likeness[Number(a)]![Number(b)]!;
        return Number((await regularizedBestOfN(problem, { ...options, regularizer, beta, utility })).text);
      };
      expect(await choice('kl', 0)).toBe(theirs.best);
      for (const regularizer of ['kl', 'wasserstein'] as const) {
        const chosen = await Promise.all(betas.map((beta) => choice(regularizer, beta)));
        expect(chosen).toEqual(theirs[regularizer]);
      }
    }
  });

  it('refuses what it lacks by name', async () => {
    await expect(regularized({ regularizer: 'wasserstein' })).rejects.toThrow(/utility is .*a function of two texts/);
    const without = { regularizer: 'kl', generator: scripted(['5']), n: 1 };
    await expect(regularized(without)).rejects.toThrow(
      /regularized-best-of-n: needs the log-probability of each token/,
    );
  });
});

describe('adaptiveConsistency and earlyStoppingSelfConsistency', () => {
  const golden = goldenOf<{
    supermajority: { answers: string[]; threshold: number; drawn: number }[];
    beta: [number, number, number][];
  }>('adaptive-consistency', 'test-time');

  it('has its_hub’s Beta posterior, which is also the integral of the density', () => {
    for (const [first, second, confidence] of golden.beta)
      expect(betaConfidence(first, second)).toBeCloseTo(confidence, 13);
    expect(betaConfidence(7, 3)).toBe(0.88671875);
    // Simpson's rule over x^a (1 − x)^b on [1/2, 1] and on [0, 1].
    const density = (x: number) => x ** 5 * (1 - x) ** 2;
    const integral = (from: number, to: number, steps = 200) => {
      const h = (to - from) / steps;
      let sum = density(from) + density(to);
      for (let i = 1; i < steps; i++) sum += density(from + i * h) * (i % 2 === 1 ? 4 : 2);
      return (sum * h) / 3;
    };
    expect(betaConfidence(5, 2)).toBeCloseTo(integral(0.5, 1) / integral(0, 1), 7);
  });

  it('stops where its_hub’s supermajority does: from 2, doubling', async () => {
    for (const { answers, threshold, drawn } of golden.supermajority) {
      const result = await adaptiveConsistency(problem, {
        ...{ generator: scripted(answers), n: answers.length, threshold },
        ...{ stoppingRule: 'majority', first: 2, growth: 'double' },
      });
      expect(result.trace.spent.completions).toBe(drawn);
    }
  });

  it('draws no more than its majority needs, one at a time, and agrees with all of them in an easy case', async () => {
    const ask = (texts: readonly string[], rest = {}) =>
      adaptiveConsistency(problem, { generator: scripted(texts), n: texts.length, ...rest });
    // P(p1 > p2) = 1 − 2^{−(v+1)} for v equal answers: at least 0.95 from v = 4 on.
    const sure = await ask(['7', '7', '7', '7', '8', '8', '8', '8', '8', '8']);
    expect(sure).toMatchObject({ answer: '7', exhausted: null });
    expect(sure.trace.spent).toMatchObject({ completions: 4, generatorCalls: 4 });
    expect((await ask(['7', '8', '7', '8', '8'])).trace.spent.completions).toBe(5);
    expect((await ask(['?', '7', '?', '7', '7', '7', '7'])).trace.spent.completions).toBe(6);
    expect((await ask(['7', '7', '7', '7'], { budget: { maxCompletions: 2 } })).exhausted).toBe('maxCompletions');
  });

  it('agrees with the whole majority at least as often as it is sure', async () => {
    const uniform = seededUniform(11);
    const runs = 60;
    let agreed = 0;
    for (let i = 0; i < runs; i++) {
      const texts = Array.from({ length: 40 }, () => (uniform() < 0.6 ? '1' : uniform() < 0.5 ? '2' : '3'));
      const ask = { generator: scripted(texts), n: texts.length };
      const adaptive = await adaptiveConsistency(problem, ask);
      const whole = await majorityVote(problem, { ...ask, generator: scripted(texts) });
      if (adaptive.answer === whole.answer) agreed++;
    }
    expect(agreed / runs).toBeGreaterThan(0.95 - 3 * Math.sqrt((0.95 * 0.05) / runs));
  });

  it.each(goldenOf<{ windows: { answers: string[]; window: number; drawn: number }[] }>('rules', 'test-time').windows)(
    'ends with the window that the rule does: $window of $answers.length',
    async ({ answers, window, drawn }) => {
      const options = { generator: scripted(answers), n: answers.length, window };
      expect((await earlyStoppingSelfConsistency(problem, options)).trace.spent.completions).toBe(drawn);
    },
  );

  it('stops with the first window that is of one answer', async () => {
    const ask = (texts: readonly string[], window: number) =>
      earlyStoppingSelfConsistency(problem, { generator: scripted(texts), n: texts.length, window });
    const texts = ['1', '2', '1', '2', '2', '2', '2', '1', '1'];
    expect((await ask(texts, 3)).trace.spent.completions).toBe(6);
    expect((await ask(texts, 2)).trace.spent.completions).toBe(6);
    expect((await ask(texts, 4)).trace.spent.completions).toBe(9);
    expect((await ask(['no', 'no', '1', '1', '2', '2'], 2)).trace.spent.completions).toBe(4);
    const whole = await ask(texts, 9);
    expect(whole.votes).toEqual((await majorityVote(problem, { generator: scripted(texts), n: 9 })).votes);
  });
});

describe('confidenceSampling', () => {
  const drawn = [
    ['a', -1, -1, -1, -1],
    ['b', -2],
    ['c', -2.5, -0.1],
  ].map(([text, ...logProbs]) => ({ ...completion(text as string), logProbs: logProbs as number[] }));
  const choose = (rest = {}) => confidenceSampling(problem, { generator: completions(drawn), n: 3, ...rest });

  it('at T = 0 is best-of-N by log p, of all tokens or of their mean, and else draws by it', async () => {
    for (const [confidence, sums] of [
      ['sum', [-4, -2, -2.6]],
      ['mean', [-1, -2, -1.3]],
    ] as const) {
      const verifier = table((text) => sums['abc'.indexOf(text)]!);
      const best = await bestOfN(problem, { generator: completions(drawn), verifier, n: 3 });
      expect((await choose({ confidence })).text).toBe(best.text);
    }
    const runs = 300;
    const counts = { a: 0, b: 0, c: 0 };
    for (let seed = 0; seed < runs; seed++) {
      const { text } = await choose({ confidence: 'sum', confidenceTemperature: 1, sampling: { seed } });
      counts[text as 'a']++;
    }
    const weights = [-4, -2, -2.6].map(Math.exp);
    const total = weights.reduce((x, y) => x + y, 0);
    const chiSquare = Object.values(counts).reduce((sum, count, i) => {
      const expected = (runs * weights[i]!) / total;
      return sum + (count - expected) ** 2 / expected;
    }, 0);
    expect(chiSquare).toBeLessThan(13.8);
  });
});

describe('confidenceTreeSearch', () => {
  /** Mean log-probabilities of steps by letter; a step of one letter has two tokens. */
  const steps: Record<string, number> = { a: -1, b: -2, c: -0.5 };
  const sure = (depth: number) => {
    const inner = enumerating(depth);
    const generator: Generator = {
      name: 'sure',
      generate: async (requests) =>
        (await inner.generate(requests)).map((list) =>
          list.map((it) => ({
            ...it,
            logProbs: [...it.text.replaceAll('\n', '')].flatMap((x) => [steps[x]!, steps[x]!]),
          })),
        ),
    };
    return generator;
  };
  const grow = (n: number, depth: number, rest = {}) =>
    confidenceTreeSearch(problem, { generator: sure(depth), n, width: 3, stop: ['\n'], ...rest });

  it('with one expansion of whole texts is best-of-N by mean log p', async () => {
    const whole = await grow(1, 1);
    const verifier = table((text) => steps[text]!);
    expect(whole.text).toBe((await bestOfN(problem, { generator: enumerating(1), verifier, n: 3 })).text);
    expect(whole.confidence).toBeCloseTo(Math.exp(-0.5), 12);
    expect(whole.halted).toBe(false);
  });

  it('draws the leaf that it expands in proportion to the confidences, of all tokens of its path', async () => {
    const runs = 400;
    const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
    const second: Record<string, number> = {};
    for (let seed = 0; seed < runs; seed++) {
      const { trace } = await grow(3, 3, { sampling: { seed } }).catch((error: NoCandidateError) => ({
        trace: error.trace as Trace,
      }));
      const parents = [...new Set(trace.nodes.slice(1).map(({ parent }) => parent!))].slice(1);
      const texts = lettersIn(trace).map(({ text }) => text);
      counts[texts[parents[0]!]!]!++;
      if (texts[parents[0]!] === 'b') second[texts[parents[1]!]!] = (second[texts[parents[1]!]!] ?? 0) + 1;
    }
    const chiSquare = (found: readonly number[], confidences: readonly number[]) => {
      const total = confidences.reduce((x, y) => x + y, 0);
      const all = found.reduce((x, y) => x + y, 0);
      return found.reduce((sum, count, i) => {
        const expected = (all * confidences[i]!) / total;
        return sum + (count - expected) ** 2 / expected;
      }, 0);
    };
    // 0.1 % of 2 and of 4 degrees of freedom.
    expect(chiSquare([counts.a!, counts.b!, counts.c!], [-1, -2, -0.5].map(Math.exp))).toBeLessThan(13.8);
    const leaves = { a: -1, c: -0.5, ba: -1.5, bb: -2, bc: -1.25 };
    const after = Object.keys(leaves).map((text) => second[text] ?? 0);
    expect(chiSquare(after, Object.values(leaves).map(Math.exp))).toBeLessThan(18.5);
    // At T = 0 the most confident each time: after c there is nobody surer than cc.
    const { trace } = await grow(3, 3, { confidenceTemperature: 0 });
    const texts = lettersIn(trace).map(({ text }) => text);
    expect([...new Set(trace.nodes.slice(1).map(({ parent }) => texts[parent!]))]).toEqual(['', 'c', 'cc']);
  });

  it('does not go on from what it is not sure of, says when it should rather ask, and needs log-probabilities', async () => {
    // b, at e^-2, is never expanded.
    const { trace, halted } = await grow(40, 3, { minConfidence: 0.2 });
    const texts = lettersIn(trace);
    expect(halted).toBe(false);
    expect(texts.some(({ text }) => text.startsWith('ba'))).toBe(false);
    expect(texts.find(({ text }) => text === 'b')!.node).toMatchObject({
      ...{
        status: 'dropped',
        reason: 'confidence below 0.2',
        payload: { confidence: expect.closeTo(Math.exp(-2), 12) },
      },
    });
    // The best answer is no surer than e^-0.5 = 0.61: all leaves are below, but not the root.
    expect(await grow(9, 1, { minConfidence: 0.7 })).toMatchObject({ text: 'c', halted: true });
    await expect(grow(9, 2, { minConfidence: 0.7 })).rejects.toThrow(/no text has ended/);
    await expect(grow(2, 2, { generator: enumerating(2) })).rejects.toThrow(/needs the log-probability/);
    for (const [change, problem] of [
      [{ logProbs: [-1, Number.NaN] }, /"sure" returned a completion with NaN for logProbs\[1\]; it must be a finite/],
      [{ logProbs: [null] }, /null for logProbs\[0\]/],
      [{ statistics: { entropy: [Number.POSITIVE_INFINITY] } }, /Infinity for entropy\[0\]/],
    ] as const) {
      const { generate } = sure(2);
      const lying = async (...of: Parameters<typeof generate>) =>
        (await generate(...of)).map((list) => list.map((it) => ({ ...it, ...change }))) as never;
      await expect(grow(2, 2, { generator: { name: 'sure', generate: lying } })).rejects.toThrow(problem);
    }
    const nobody = { name: 'nobody', generate: async ([{ n = 1 }]: [{ n?: number }]) => [Array(n).fill(null)] };
    await expect(grow(2, 2, { generator: nobody as never })).rejects.toThrow(
      /"nobody" returned null in the place of a/,
    );
    await expect(grow(2, 2, { minConfidence: 2 })).rejects.toThrow(/minConfidence/);
  });
});

describe('confidence weighted votes', () => {
  const { votes: rules } = goldenOf<{
    votes: {
      answers: string[];
      confidences: number[];
      power: number;
      temperature: number;
      borda: [string, number][];
      cisc: [string, number][];
      weighted: [string, number][];
    }[];
  }>('rules', 'test-time');

  it('are those of the formulas in float64: Borda’s, CISC’s, and sums of scores', async () => {
    for (const { answers, confidences, power, temperature, borda, cisc, weighted } of rules) {
      const given = answers.map((text, i) => ({
        ...completion(text),
        statistics: { selfCertainty: [confidences[i]!] },
      }));
      const { votes } = await selfCertainty(problem, { generator: completions(given), n: given.length, power });
      expect(votes.map(({ answer }) => answer)).toEqual(borda.map(([answer]) => answer));
      for (const [i, [, weight]] of borda.entries()) expect(votes[i]!.weight).toBeCloseTo(weight, 10);
      let next = 0;
      const verifier = table(() => confidences[next++]!);
      const ask = { generator: scripted(answers), verifier, n: answers.length, confidenceTemperature: temperature };
      const soft = await confidenceInformedSelfConsistency(problem, ask);
      expect(soft.votes.map(({ answer }) => answer)).toEqual(cisc.map(([answer]) => answer));
      for (const [i, [, weight]] of cisc.entries()) expect(soft.votes[i]!.weight).toBeCloseTo(weight, 10);
      let scored = 0;
      const scores = table(() => confidences[scored++]!);
      const sums = await weightedBestOfN(problem, {
        generator: scripted(answers),
        verifier: scores,
        n: answers.length,
      });
      expect(sums.votes.map(({ answer }) => answer)).toEqual(weighted.map(([answer]) => answer));
      for (const [i, [, weight]] of weighted.entries()) expect(sums.votes[i]!.weight).toBeCloseTo(weight, 10);
    }
  });

  interface Cast {
    readonly answers: string[];
    readonly scores: number[];
    readonly weighted: string;
    readonly majority: string;
    readonly best: string;
  }
  it.each(goldenOf<{ votes: Cast[] }>('search-and-learn').votes)(
    'choose what search-and-learn chooses among $answers.length answers: weighted, majority, best',
    async ({ answers, scores, weighted, majority, best }) => {
      const given = () => {
        let next = 0;
        const verifier = table(() => scores[next++]!);
        const shared = { generator: scripted(answers), n: answers.length, extractAnswer: (text: string) => text };
        return { shared, judged: { ...shared, verifier } };
      };
      expect((await weightedBestOfN(problem, given().judged)).answer).toBe(weighted);
      expect((await majorityVote(problem, given().shared)).answer).toBe(majority);
      expect((await bestOfN(problem, given().judged)).answer).toBe(best);
    },
  );

  it('weighs by the softmax of confidences within the question (CISC)', async () => {
    const confidence: Record<string, number> = { a: 0.9, b: 0.5, c: 0.7 };
    const ask = (confidenceTemperature: number, texts = ['a 1', 'b 2', 'c 2']) =>
      confidenceInformedSelfConsistency(problem, {
        ...{
          generator: scripted(texts),
          verifier: table((text) => confidence[text[0]!]!),
          n: 3,
          confidenceTemperature,
        },
      });
    const { votes, text } = await ask(0.5);
    expect(text).toBe('c 2');
    expect(votes[0]!.weight).toBeCloseTo(0.2119827 + 0.3162411, 6);
    expect(votes[1]!.weight).toBeCloseTo(0.4717762, 6);
    expect((await ask(0.05)).answer).toBe('1');
    expect((await ask(0)).answer).toBe('1');
    expect((await ask(1e9, ['a 1', 'c 2', 'b 2'])).answer).toBe('2');
  });

  it('gives Borda votes by self-certainty, between the majority vote and the most certain completion', async () => {
    const certain = (text: string, ...selfCertainties: number[]): Completion => ({
      ...completion(text),
      statistics: { selfCertainty: selfCertainties },
    });
    const given = [certain('1', 1), certain('1', 2), certain('2', 9, 9, 9), certain('3', 4, 6), certain('none', 99)];
    const ask = (power: number) => selfCertainty(problem, { generator: completions(given), n: 5, power });
    // Ranks: 2 is first, 3 second, and the two 1 are third and fourth: votes 4^p, 3^p, 2^p + 1.
    expect((await ask(0)).votes.map(({ answer, weight }) => [answer, weight])).toEqual([
      ['1', 2],
      ['2', 1],
      ['3', 1],
    ]);
    const votes = (await ask(2)).votes.map(({ answer, weight }) => [answer, weight]);
    expect(votes).toEqual([
      ['2', 16],
      ['3', 9],
      ['1', 5],
    ]);
    expect((await ask(0.3)).answer).toBe('1');
    await expect(selfCertainty(problem, { generator: scripted(['1']), n: 1 })).rejects.toThrow(
      /statistic selfCertainty/,
    );
  });
});

it('weighted best-of-N tends to the answer of the largest Σ π ρ, which neither the majority nor the best score is', async () => {
  // Texts of probability π and score ρ; sums of π ρ by answer: 0.5 · 0.2 of 1, 0.2 · 0.6 + 0.2 · 0.5 of 2, 0.1 · 0.95 of 3.
  const [texts, scores] = [['a 1', 'b 2', 'c 2', 'd 3'], { a: 0.2, b: 0.6, c: 0.5, d: 0.95 } as Record<string, number>];
  const n = 600;
  const ask = () => ({ generator: categorical(texts, [0.5, 0.2, 0.2, 0.1], seededUniform(8)), n });
  const verifier = table((text) => scores[text[0]!]!);
  const { answer, votes } = await weightedBestOfN(problem, { ...ask(), verifier });
  expect(answer).toBe('2');
  for (const [wanted, limit] of [
    ['2', 0.22],
    ['1', 0.1],
    ['3', 0.095],
  ] as const) {
    const found = votes.find((vote) => vote.answer === wanted)!.weight / n;
    // A sum of n independent terms between 0 and ρ ≤ 1.
    expect(Math.abs(found - limit)).toBeLessThan(4 * Math.sqrt(limit / n));
  }
  expect((await majorityVote(problem, ask())).answer).toBe('1');
  expect((await bestOfN(problem, { ...ask(), verifier })).answer).toBe('3');
});

describe('DeepConf', () => {
  interface Golden {
    readonly window: number;
    readonly topK: number;
    readonly traces: { top: number[][]; answer: string | null; values: Record<TraceConfidence, number> }[];
    readonly votes: { confidence: TraceConfidence; keep: number; kept: number; answer: string }[];
    readonly long: { confs: number[]; bottom: number; groups: number[] };
  }
  const golden = goldenOf<Golden>('deep-conf', 'test-time');
  const topOf = (rows: readonly (readonly number[])[]): TokenLogProb[][] =>
    rows.map((row) => row.map((logProb, tokenId) => ({ tokenId, logProb })));

  it('has the authors’ confidences of tokens, groups and traces', () => {
    for (const { top, values } of golden.traces) {
      const tokens = tokenConfidences(topOf(top));
      for (const [kind, value] of Object.entries(values)) {
        expect(traceConfidence(tokens, kind as TraceConfidence, golden.window)).toBeCloseTo(value, 12);
      }
    }
    const { confs, bottom, groups } = golden.long;
    expect(traceConfidence(confs, 'bottom-window', golden.window)).toBeCloseTo(bottom, 12);
    for (const [i, group] of groupConfidences(confs, golden.window).entries()) {
      expect(Math.abs(group - groups[i]!)).toBeLessThan(6e-4);
    }
    // optillm's example: the three likeliest tokens of four places.
    const places = [
      [-0.1, -2.4, -5],
      [-0.5, -1, -3],
      [-2, -2.1, -2.2],
      [-0.05, -4, -6],
    ];
    const tokens = tokenConfidences(topOf(places));
    for (const [i, value] of [2.5, 1.5, 2.1, 3.35].entries()) expect(tokens[i]).toBeCloseTo(value, 12);
    for (const [i, value] of [2, 1.8, 2.725].entries()) expect(groupConfidences(tokens, 2)[i]).toBeCloseTo(value, 12);
  });

  const traces = golden.traces.map(({ top, answer }, i) => ({
    ...completion(answer === null ? `trace ${'i'.repeat(i)} ends` : `trace ends in ${answer}`, top.length),
    topLogProbs: topOf(top),
  }));

  it.each(golden.votes)(
    'votes as the authors: $confidence, the best $keep of traces',
    async ({ kept, answer, ...how }) => {
      const { window, topK } = golden;
      const generator = completions(traces);
      const result = await deepConf(problem, { generator, n: traces.length, window, topK, ...how });
      expect(result.answer).toBe(answer);
      expect(result.votes.reduce((sum, { count }) => sum + count, 0)).toBe(kept);
    },
  );

  it('is the majority vote where all are kept and equally sure, and refuses a generator that is silent', async () => {
    const equal = ['1', '2', '2', '3'].map((text) => ({ ...completion(text), topLogProbs: topOf([[-1, -2]]) }));
    expect((await deepConf(problem, { generator: completions(equal), n: 4, keep: 1 })).answer).toBe('2');
    await expect(deepConf(problem, { generator: scripted(['1']), n: 1 })).rejects.toThrow(
      /deep-conf: needs the likeliest/,
    );
  });

  it('is right where the majority is wrong and less sure, and no better where confidence says nothing', async () => {
    const uniform = seededUniform(21);
    const [problems, n] = [40, 16];
    const right = { majority: 0, planted: 0, blind: 0 };
    for (let i = 0; i < problems; i++) {
      const texts = Array.from({ length: n }, () => (uniform() < 0.35 ? '1' : '2'));
      right.majority += Number((await majorityVote(problem, { generator: scripted(texts), n })).answer === '1');
      for (const kind of ['planted', 'blind'] as const) {
        const sure = (text: string) => 1 + uniform() + Number(kind === 'planted' && text === '1');
        const drawn = texts.map((text) => ({ ...completion(text), topLogProbs: topOf([[-sure(text)]]) }));
        const options = { generator: completions(drawn), n, topK: 1, keep: 0.25 };
        right[kind] += Number((await deepConf(problem, options)).answer === '1');
      }
    }
    expect(right.majority / problems).toBeLessThan(0.25);
    expect(right.planted / problems).toBeGreaterThan(0.9);
    expect(right.blind / problems).toBeLessThan(0.5);
  });

  /** Trace i is a row of confidences, a digit a token; its answer comes at its end. */
  const writing = (rows: readonly { readonly confidences: readonly number[]; readonly answer: string }[]) => {
    let begun = 0;
    const asked: (readonly [trace: number, tokens: number])[] = [];
    const generate: Generator['generate'] = async (requests) =>
      requests.map(({ prefix = '', maxTokens = 99 }) => {
        const trace = prefix === '' ? begun++ : Number(prefix.slice(0, prefix.indexOf(':')));
        const { confidences, answer } = rows[trace]!;
        const from = prefix === '' ? 0 : prefix.slice(prefix.indexOf(':') + 1).length;
        const tokens = confidences.slice(from, from + maxTokens);
        const isEnd = from + tokens.length === confidences.length;
        asked.push([trace, tokens.length]);
        return [
          {
            text: `${prefix === '' ? `${trace}:` : ''}${'.'.repeat(tokens.length)}${isEnd ? ` answer: ${answer}` : ''}`,
            finishReason: isEnd ? ('stop' as const) : ('length' as const),
            usage: { promptTokens: 1, completionTokens: tokens.length },
            topLogProbs: tokens.map((it) => [{ tokenId: 0, logProb: -it }]),
          },
        ];
      });
    return { name: 'writing', asked, generate };
  };
  const online = (generator: Generator, rest = {}) =>
    deepConfOnline(problem, {
      ...{ generator, n: 6, warmup: 3, window: 2, piece: 2, keep: 0.5, consensus: 1, together: 3 },
      ...{ sampling: { maxTokens: 8 }, ...rest },
    });
  const rows = [
    { confidences: [5, 5, 5, 5], answer: '1' },
    { confidences: [3, 3, 3, 3], answer: '2' },
    { confidences: [1, 1, 9, 9], answer: '3' },
    { confidences: [4, 4, 2, 2, 9, 9], answer: '4' },
    { confidences: [4, 4, 4, 4, 4, 4], answer: '1' },
    { confidences: [9, 9, 9, 3, 3, 3], answer: '5' },
  ];

  it('gives up online what falls below the bar of the warm-up, and votes by what is left', async () => {
    const generator = writing(rows);
    const result = await online(generator);
    // Least groups of the warm-up: 5, 3, 1, and their median is the bar. Trace 3 falls to 2 in its second piece.
    expect(result.votes.map(({ answer, weight }) => [answer, weight])).toEqual([
      ['1', 5 + 4],
      ['2', 3],
      ['5', 3],
    ]);
    const spentOn = (trace: number) =>
      generator.asked.filter(([it]) => it === trace).reduce((sum, [, n]) => sum + n, 0);
    expect(rows.map((_, trace) => spentOn(trace))).toEqual([4, 4, 4, 4, 6, 6]);
    expect(reasons(result)).toContain('group confidence below 3.000');
    expect(reasons(result)).not.toContain('not continued: null');
  });

  it('gives up nothing with a bar below all, and ends with a consensus', async () => {
    const low = writing(rows);
    const result = await online(low, { keep: 1 });
    expect(low.asked.reduce((sum, [, n]) => sum + n, 0)).toBe(4 * 3 + 6 * 3);
    expect(result.votes.map(({ answer }) => answer)).toContain('3');
    const agreed = writing([1, 1, 1, 2, 2, 2].map((answer) => ({ confidences: [2, 2], answer: String(answer) })));
    expect((await online(agreed, { keep: 1 })).answer).toBe('1');
    expect(agreed.asked).toHaveLength(3);
    await expect(online(agreed, { sampling: {} })).rejects.toThrow(/sampling.maxTokens is undefined/);
  });
});

describe('cotDecoding', () => {
  /** Four tokens to begin with; each path has an answer and how sure of it the model is. */
  const paths = [
    { logProb: -0.1, path: ' 5', answer: ' 5', sure: 0.2 },
    { logProb: -1, path: ' we add 3 and 5', answer: ' 8', sure: 0.9 },
    { logProb: -2, path: ' 3', answer: ' 5', sure: 0.3 },
    { logProb: -3, path: ' first 3, then 5', answer: ' 8', sure: 0.5 },
  ];
  const generate: Generator['generate'] = async (requests) =>
    requests.map(({ prefix = '', maxTokens, topLogProbs = 0, logitBias = {}, temperature }) => {
      expect(temperature).toBe(0);
      const [forced] = Object.keys(logitBias);
      if (prefix === '' && forced === undefined) {
        const top = paths.slice(0, topLogProbs).map(({ logProb }, tokenId) => ({ tokenId, logProb }));
        return [{ ...completion('0', 1), finishReason: 'length' as const, topLogProbs: [top] }];
      }
      expect([prefix === '', forced !== undefined]).toEqual([maxTokens === 1, maxTokens === 1]);
      if (prefix === '') return [{ ...completion(forced!, 1), finishReason: 'length' as const }];
      const { path, answer, sure } = paths[Number(prefix[0])]!;
      if (!prefix.endsWith('is')) return [completion(path)];
      const top = [0.5 + sure / 2, 0.5 - sure / 2].map((p, tokenId) => ({ tokenId, logProb: Math.log(p) }));
      return [{ ...completion(answer, 1), topLogProbs: [top] }];
    });
  const decode = (n: number, rest = {}) => cotDecoding(problem, { generator: { name: 'tree', generate }, n, ...rest });

  it('finds the path that reasons by how much surer its answer is, where greedy decoding does not', async () => {
    expect((await decode(1)).answer).toBe('5');
    const result = await decode(4);
    expect(result.text).toBe('1 we add 3 and 5\nSo the answer is 8');
    expect(result.votes.map(({ answer }) => answer)).toEqual(['8', '5']);
    for (const [i, weight] of [0.9 + 0.5, 0.2 + 0.3].entries()) expect(result.votes[i]!.weight).toBeCloseTo(weight, 12);
    expect((await decode(3, { selection: 'max' })).text).toMatch(/^1 we add/);
    const trace = (await decode(2)).trace.spent;
    expect(trace.completions).toBe(1 + 2 * 3);
  });

  it('refuses a generator that does not show its likeliest tokens', async () => {
    await expect(cotDecoding(problem, { generator: scripted(['1']), n: 2 })).rejects.toThrow(
      /cot-decoding: needs the likeliest/,
    );
  });
});

describe('speculativeRejection', () => {
  /** Texts of digits, two tokens a piece; the score of a text is its last digit. */
  const texts = ['1199', '5566', '7788', '2233'];
  const growing = () => {
    let begun = 0;
    const generate: Generator['generate'] = async (requests) =>
      requests.map(({ prefix = '', maxTokens = 99 }) => {
        const text = prefix === '' ? texts[begun++]! : texts.find((it) => it.startsWith(prefix))!;
        const piece = text.slice(prefix.length, prefix.length + maxTokens);
        const finishReason = prefix.length + piece.length === text.length ? ('stop' as const) : ('length' as const);
        return [{ ...completion(piece, piece.length), finishReason }];
      });
    return { name: 'growing', generate };
  };
  const reject = (alpha: number) =>
    speculativeRejection(problem, {
      ...{ generator: growing(), verifier: table((text) => Number(text.at(-1))), n: 4, alpha, piece: 2 },
      sampling: { maxTokens: 8 },
    });

  /** Text i is its letter and a dot a token; `scores` of its pieces are of one token each. */
  const rejecting = (scores: readonly (readonly number[])[], alpha: number) => {
    let begun = 0;
    const length = scores[0]!.length;
    const generate: Generator['generate'] = async (requests) =>
      requests.map(({ prefix = '' }) => {
        const text = prefix === '' ? String.fromCharCode(97 + begun++) : '.';
        const finishReason = prefix.length + 1 === length ? ('stop' as const) : ('length' as const);
        return [{ ...completion(text, 1), finishReason }];
      });
    const verifier = table((text) => scores[text.charCodeAt(0) - 97]![text.length - 1]!);
    const options = { generator: { name: 'letters', generate }, verifier, n: scores.length, alpha, piece: 1 };
    return speculativeRejection(problem, { ...options, sampling: { maxTokens: length } });
  };
  interface Rejection {
    readonly alpha: number;
    readonly scores: number[][];
    readonly tokens: number;
    readonly best: number;
  }

  it.each(goldenOf<{ rejections: Rejection[] }>('rules', 'test-time').rejections)(
    'rejects whom the quantile does: α $alpha of $scores.length',
    async ({ alpha, scores, tokens, best }) => {
      const { text, trace } = await rejecting(scores, alpha);
      expect(text.charCodeAt(0) - 97).toBe(best);
      expect(trace.spent.completionTokens).toBe(tokens);
    },
  );

  it('finds the best-of-N at a fraction of its tokens where early scores tell the last', async () => {
    const final = [0.3, 0.9, 0.1, 0.5, 0.7, 0.2, 0.8, 0.4];
    const told = final.map((score) => [score, score, score, score]);
    const [all, half] = [await rejecting(told, 0), await rejecting(told, 0.5)];
    expect([all.score, half.score]).toEqual([0.9, 0.9]);
    // 8 texts of 4 pieces; or 8, 4, 2 and 1 of them.
    expect([all, half].map(({ trace }) => trace.spent.completionTokens)).toEqual([32, 15]);
  });

  it('is best-of-N at α = 0, and else spends nothing more on what scores below the quantile', async () => {
    const all = await reject(0);
    expect(all.text).toBe('1199');
    expect(all.trace.spent.completionTokens).toBe(16);
    const half = await reject(0.5);
    // Of 1, 5, 7 and 2 the median is 3.5: the first text, which would have ended best, is given up with the last.
    expect(half.text).toBe('7788');
    expect(half.trace.spent).toMatchObject({ completionTokens: 12, verifierCalls: 6 });
    expect(reasons(half)).toEqual([
      ...['rejected after 2 tokens', 'lower score', undefined, 'rejected after 2 tokens'],
      ...['lower score', undefined],
    ]);
    const most = await reject(0.99);
    expect([most.text, most.trace.spent.completionTokens]).toEqual(['7788', 10]);
    const best = await bestOfN(problem, {
      generator: scripted(texts),
      verifier: table((text) => Number(text.at(-1))),
      n: 4,
    });
    expect(best.text).toBe(all.text);
  });
});

describe('universalSelfConsistency and genSelect', () => {
  it('returns the response that is named, and votes where none is', async () => {
    const texts = ['a cat', 'a dog', 'a cat!'];
    const ask = (said: string, given = texts) => {
      const generator = judgedBy(given, () => said);
      return { generator, result: universalSelfConsistency(problem, { generator, n: given.length }) };
    };
    const { generator, result } = ask('Response 3');
    expect((await result).text).toBe('a cat!');
    for (const text of texts) expect(generator.prompts[0]).toContain(text);
    expect((await ask('none of them').result).text).toBe('a cat');
    expect((await ask('Response 7').result).text).toBe('a cat');
    expect((await ask('?', ['1', '2', '2']).result).votes[0]).toEqual({ answer: '2', count: 2, weight: 2 });
    const judge = judgedBy([], () => '2');
    const asked = await universalSelfConsistency(problem, { generator: scripted(texts), generators: { judge }, n: 3 });
    expect(asked.text).toBe('a dog');
  });

  it('selects in groups, in as many rounds as it takes, and takes the first of a group that is not judged', async () => {
    const texts = ['10', '40', '30', '20', '70', '60', '50'];
    const largest = (prompt: string) => {
      const shown = [...prompt.matchAll(/Solution \d+:\n(\d+)/g)].map(([, value]) => Number(value));
      return `The best is ${shown.indexOf(Math.max(...shown)) + 1}`;
    };
    for (const [groupSize, questions] of [
      [7, 1],
      [3, 3],
      [2, 6],
    ] as const) {
      const generator = judgedBy(texts, largest);
      const result = await genSelect(problem, { generator, n: 7, groupSize });
      expect([result.text, generator.prompts.length]).toEqual(['70', questions]);
    }
    expect((await genSelect(problem, { generator: judgedBy(texts, () => 'hm'), n: 7 })).text).toBe('10');
    const parse = () => 1.5;
    const odd = genSelect(problem, { generator: judgedBy(texts, largest), n: 7, parse });
    await expect(odd).rejects.toThrow(/parse gave 1.5; give an index from 0, or null/);
  });
});

describe('tournaments', () => {
  /** Shows two texts; the larger number wins with probability p. */
  const judge = (p: number, uniform: () => number) => (prompt: string) => {
    const [a, b] = [...prompt.matchAll(/Solution \d:\n(\d+)/g)].map(([, value]) => Number(value));
    return a! > b! === uniform() < p ? '1' : '2';
  };
  const perfect = judge(1, () => 0);
  const texts = ['3', '7', '1', '8', '5', '2', '6', '4'];

  it.each([1, 2, 3, 5, 8])(
    'find the best of %i with a judge that knows, in as many comparisons as they say',
    async (n) => {
      const given = texts.slice(0, n);
      const best = String(Math.max(...given.map(Number)));
      const knockout = judgedBy(given, perfect);
      expect((await knockoutTournament(problem, { generator: knockout, n, comparisons: 4 })).text).toBe(best);
      // Two orders a pair, and both are one request each.
      expect(knockout.prompts).toHaveLength(2 * (n - 1));
      const swiss = judgedBy(given, perfect);
      expect((await swissTournament(problem, { generator: swiss, n, comparisons: 1 })).text).toBe(best);
      expect(swiss.prompts).toHaveLength(Math.ceil(Math.log2(n)) * Math.floor(n / 2));
    },
  );

  it('cannot be bribed with the first place: a judge that likes it makes a draw', async () => {
    const bribed = judgedBy(['1', '2'], () => '1');
    const result = await knockoutTournament(problem, { generator: bribed, n: 2 });
    expect(result.text).toBe('1');
    expect(reasons(result)[1]).toBe('lost in round 1');
    const asked = await swissTournament(problem, { generator: judgedBy(['1', '2'], () => '1'), n: 2 });
    expect(asked.trace.nodes.slice(1, 3).map(({ payload }) => payload)).toEqual([
      { points: 0.5, buchholz: 0.5 },
      { points: 0.5, buchholz: 0.5 },
    ]);
  });

  it('knockout wins as often as the law of its rounds says, and more often with more comparisons', async () => {
    const p = 0.7;
    const winsOf = async (comparisons: number, runs: number) => {
      const uniform = seededUniform(3);
      let wins = 0;
      for (let i = 0; i < runs; i++) {
        const generator = judgedBy(['4', '1', '2', '3'], judge(p, uniform));
        // One completion a request: comparisons of one order are drawn together, and the double says one thing for all.
        if ((await knockoutTournament(problem, { generator, n: 4, comparisons })).text === '4') wins++;
      }
      return wins / runs;
    };
    const exact = p ** 2;
    expect(Math.abs((await winsOf(1, 200)) - exact)).toBeLessThan(4 * Math.sqrt((exact * (1 - exact)) / 200));
    // Of two, one each is a draw, which goes to the first drawn: 1 − (1 − p)² a round.
    const two = (1 - (1 - p) ** 2) ** 2;
    expect(Math.abs((await winsOf(2, 200)) - two)).toBeLessThan(4 * Math.sqrt((two * (1 - two)) / 200));
  });

  it('swiss keeps in one lost comparison what knockout ends', async () => {
    // The best loses its first comparison and no other; 2 wins once only.
    const unlucky = () => {
      let isFirst = true;
      return (prompt: string) => {
        const wins = perfect(prompt);
        if (!prompt.includes(':\n9') || !isFirst) return wins;
        isFirst = false;
        return wins === '1' ? '2' : '1';
      };
    };
    const given = ['9', '2', '5', '4'];
    const knockout = await knockoutTournament(problem, { generator: judgedBy(given, unlucky()), n: 4, comparisons: 1 });
    expect(knockout.text).toBe('5');
    const swiss = await swissTournament(problem, {
      generator: judgedBy(given, unlucky()),
      n: 4,
      comparisons: 1,
      rounds: 3,
    });
    expect(swiss.trace.nodes.slice(1, 5).map(({ payload }) => payload)).toMatchObject([
      { points: 2 },
      { points: 1 },
      { points: 2 },
      { points: 1 },
    ]);
  });

  it('goes by a judge of pairs as by a model, on the ledger of verifier calls', async () => {
    const pairs: string[] = [];
    const said = (winner: unknown): PairJudge => ({
      name: 'larger',
      compare: async (requests) =>
        requests.map(({ first, second }) => {
          pairs.push(`${first}${second}`);
          return { winner: (winner === 'larger' ? (first > second ? 'first' : 'second') : winner) as 'tie' };
        }),
    });
    const judge = said('larger');
    for (const tournament of [knockoutTournament, swissTournament]) {
      const result = await tournament(problem, { generator: scripted(texts), n: 8, judge });
      expect(result.text).toBe('8');
      const duels = tournament === knockoutTournament ? 7 : 12;
      expect(result.trace.spent).toMatchObject({ completions: 8, verifierCalls: 2 * duels });
    }
    expect(pairs.slice(0, 4)).toEqual(['37', '73', '18', '81']);
    const budget = { maxVerifierCalls: 3 };
    const short = await knockoutTournament(problem, { generator: scripted(texts), n: 8, judge, budget });
    expect(short).toMatchObject({ exhausted: 'maxVerifierCalls', trace: { spent: { verifierCalls: 3 } } });
    for (const winner of ['tie', null]) {
      const even = await knockoutTournament(problem, { generator: scripted(texts), n: 8, judge: said(winner) });
      expect(even.text).toBe('3');
    }
    const odd = knockoutTournament(problem, { generator: scripted(texts), n: 2, judge: said('both') });
    await expect(odd).rejects.toThrow(/verifier "larger" gave completion 0 the score NaN/);
    const none = knockoutTournament(problem, { generator: scripted(texts), n: 2, judge: judge.compare as never });
    await expect(none).rejects.toThrow(/judge is .*an object with compare\(requests\)/);
  });

  it('refuses what is no winner', async () => {
    const generator = judgedBy(['1', '2'], perfect);
    const odd = knockoutTournament(problem, { generator, n: 2, parse: (() => 'third') as never });
    await expect(odd).rejects.toThrow(/parse gave "third"; give 'first', 'second', 'tie' or null/);
  });
});

describe('recursiveSelfAggregation', () => {
  const adder = (prompt: string) =>
    String(Math.max(...[...prompt.matchAll(/Candidate \d+:\n(\d+)/g)].map(([, it]) => Number(it))) + 1);
  const ask = (texts: readonly string[], rest = {}) => {
    const generator = judgedBy(texts, adder);
    return { generator, result: recursiveSelfAggregation(problem, { generator, n: texts.length, ...rest }) };
  };

  it('is the majority vote at T = 1, and else makes each population of subsets of the one before', async () => {
    const texts = ['1', '2', '2', '3'];
    expect((await ask(texts, { steps: 1 }).result).votes).toEqual(
      (await majorityVote(problem, { generator: scripted(texts), n: 4 })).votes,
    );
    const { generator, result } = ask(texts, { steps: 3, subset: 4 });
    const { answer, trace } = await result;
    // Every subset is the whole population: 4 in the second and 5 in the third.
    expect(answer).toBe('5');
    expect(trace.spent.completions).toBe(4 * 3);
    expect(generator.prompts).toHaveLength(8);
    const merged = trace.nodes.filter(({ parents }) => parents);
    expect(merged.map(({ parents }) => new Set(parents).size)).toEqual(new Array(8).fill(4));
  });

  interface Populations {
    readonly n: number;
    readonly subset: number;
    readonly steps: number;
    readonly draws: number[][][];
    readonly first: number[];
    readonly asked: number[][];
    readonly last: number[];
    readonly majority: number;
  }
  it.each(goldenOf<{ runs: Populations[] }>('self-aggregation', 'authors').runs)(
    'makes the populations of the authors’ code, with the same draws: N = $n, K = $subset, T = $steps',
    async ({ n, subset, steps, first, asked, last, majority }) => {
      const shown: number[][] = [];
      const generator = judgedBy(first.map(String), (prompt) => {
        const numbers = [...prompt.matchAll(/Candidate \d+:\n(\d+)/g)].map(([, it]) => Number(it));
        shown.push(numbers);
        return String(numbers.reduce((sum, x, i) => sum + (i + 1) * x, 0) % 7);
      });
      const { answer, trace } = await recursiveSelfAggregation(problem, { generator, n, subset, steps });
      expect(shown).toEqual(asked);
      expect(answer).toBe(String(majority));
      const written = trace.nodes.filter(({ text, parents }) => text !== '' && !parents);
      expect(written.slice(-n).map(({ text }) => Number(text))).toEqual(last);
    },
  );

  it('with K = 1 is chains of revision, and returns the last whole population of a budget', async () => {
    const { generator, result } = ask(['1', '5'], { steps: 2, subset: 1 });
    await result;
    for (const prompt of generator.prompts) expect(prompt.match(/Candidate/g)).toHaveLength(1);
    const short = await ask(['1', '1', '2'], { steps: 4, budget: { maxCompletions: 5 } }).result;
    expect(short).toMatchObject({ answer: '1', exhausted: 'maxCompletions' });
    const one = await ask(['1', '2', '3'], { steps: 1, selection: 'random' }).result;
    expect(['1', '2', '3']).toContain(one.text);
  });
});

it('prompts of conversations keep what is not the question', async () => {
  const generator = scripted(['1', '2', '2']);
  const system = { role: 'system', content: 'Be short.' };
  await universalSelfConsistency({ prompt: [system, { role: 'user', content: 'q' }] }, { generator, n: 2 });
  const [, selecting] = generator.requests;
  expect(selecting!.prompt).toMatchObject([
    system,
    { role: 'user', content: expect.stringMatching(/^q\n\nResponse 1/) },
  ]);
  expect(promptsOf({ requests: generator.requests.slice(0, 1) })[0]).toHaveLength(2);
});
