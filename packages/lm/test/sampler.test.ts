import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type SamplerContext,
  type SamplerSettings,
  sampleToken,
  type TokenConstraint,
  TokenHistory,
  tokenDistribution,
} from '../src/index.js';
import { expOfNegative } from '../src/sampling/fast-exp.js';
import { checkSamplerSettings } from '../src/sampling/sampler-settings.js';
import { TOKEN_STATISTICS } from '../src/sampling/token-statistics.js';

const plain: SamplerSettings = { temperature: 1, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 };
const none = new TokenHistory([]);

/**
 * The distribution that the sampler draws from, read off its inverse: for every token the share of [0, 1) that gives
 * it, its borders found by bisection.
 */
function distribution(logits: Float32Array, settings: SamplerSettings, context: SamplerContext = none): number[] {
  const shares = new Array<number>(logits.length).fill(0);
  const at = (uniform: number) => sampleToken(logits, settings, context, uniform).token;
  const last = at(1 - 2 ** -50);
  for (let start = 0; start < 1; ) {
    const token = at(start);
    let [low, high] = [start, 1];
    if (token !== last) {
      while (high - low > 1e-12) {
        const middle = (low + high) / 2;
        if (at(middle) === token) low = middle;
        else high = middle;
      }
    }
    shares[token]! += high - start;
    start = high;
  }
  return shares;
}

interface Golden {
  readonly logits: number[][];
  readonly seen: number[][];
  readonly prompt_length: number;
  readonly end_token: number;
  readonly cases: {
    readonly options: Readonly<Record<string, number>> & {
      readonly bad_words_ids?: number[][];
      readonly sequence_bias?: [[number], number][];
    };
    readonly probabilities: number[][];
  }[];
}
const path = join(import.meta.dirname, '../../../goldens/sampling/expected.json');
const golden: Golden = JSON.parse(readFileSync(path, 'utf8'));

describe('the distribution of transformers', () => {
  it.each(golden.cases)('$options', ({ options, probabilities }) => {
    const { bad_words_ids: badWordsIds, sequence_bias: bias } = options;
    const settings: SamplerSettings = {
      temperature: options.temperature ?? 1,
      topK: options.top_k,
      topP: options.top_p ?? 1,
      minP: options.min_p ?? 0,
      typicalP: options.typical_p ?? 1,
      epsilonCutoff: options.epsilon_cutoff ?? 0,
      etaCutoff: options.eta_cutoff ?? 0,
      repetitionPenalty: options.repetition_penalty ?? 1,
      noRepeatNgramSize: options.no_repeat_ngram_size ?? 0,
      minNewTokens: options.min_new_tokens ?? 0,
      endTokens: new Set([golden.end_token]),
      ...(badWordsIds ? { badWordsIds } : {}),
      ...(bias ? { logitBias: new Map(bias.map(([[token], value]) => [token, value])) } : {}),
    };
    checkSamplerSettings(settings, 12);
    for (const [row, expected] of probabilities.entries()) {
      const logits = Float32Array.from(golden.logits[row]!);
      const history = new TokenHistory(golden.seen[row]!.slice(0, golden.prompt_length));
      for (const token of golden.seen[row]!.slice(golden.prompt_length)) history.push(token);
      const before = logits.slice();
      let actual = distribution(logits, settings, history);
      const { tokens, probabilities: shares } = tokenDistribution(logits, settings, history);
      expect(logits).toEqual(before);
      for (const [i, token] of tokens.entries()) expect(shares[i]).toBeCloseTo(actual[token]!, 6);
      expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
      let wanted = expected;
      // Which of equally likely tokens top-p keeps is torch's sorting; how many is not.
      if (row === 2) [actual, wanted] = [actual.toSorted((a, b) => a - b), wanted.toSorted((a, b) => a - b)];
      for (const [token, value] of wanted.entries()) expect(actual[token]).toBeCloseTo(value, 5);
    }
  });
});

describe('expOfNegative', () => {
  it('is e^x', () => {
    fc.assert(
      fc.property(fc.double({ min: -690, max: 0, noNaN: true }), (x) => {
        expect(Math.abs(expOfNegative(x) / Math.exp(x) - 1)).toBeLessThan(1e-11);
      }),
    );
    expect([0, -0, -1e9, -Infinity].map(expOfNegative)).toEqual([1, 1, 0, 0]);
    expect(expOfNegative(Number.NaN)).toBeNaN();
  });
});

describe('sampleToken', () => {
  const logits = Float32Array.from([0.3, 2.1, -1, 2.1, 0.9, -4]);
  const softmax = (values: readonly number[]) => {
    const weights = values.map(Math.exp);
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / total);
  };

  it('draws as often as the distribution says (chi-square, seeded)', () => {
    const settings = { ...plain, temperature: 0.8, topK: 5, minP: 0.05 };
    // Temperature first; token 5 falls to top-k, token 2 (3.1 / 0.8 below the best) to min-p.
    const kept = [0, 1, 3, 4];
    const expected = softmax(kept.map((token) => logits[token]! / 0.8));
    const draws = 20_000;
    const counts = new Array<number>(logits.length).fill(0);
    const key = Key.fromSeed(11);
    for (let i = 0; i < draws; i++)
      counts[sampleToken(logits, settings, none, key.child(i).uniformHost(1)[0]!).token]!++;
    expect(counts[2]! + counts[5]!).toBe(0);
    const statistic = kept.reduce((sum, token, i) => {
      const mean = draws * expected[i]!;
      return sum + (counts[token]! - mean) ** 2 / mean;
    }, 0);
    // The 99.9 % point of chi-square with 3 degrees of freedom.
    expect(statistic).toBeLessThan(16.27);
  });

  it('takes the most likely token at temperature 0, the first among equals, and reports it at temperature 1', () => {
    const { token, logProb } = sampleToken(logits, { ...plain, temperature: 0 }, none, 0.999);
    expect(token).toBe(1);
    expect(logProb).toBeCloseTo(Math.log(softmax([...logits])[1]!), 6);
  });

  it('reports the log-probability of the model divided by temperature, whatever truncation and penalty do', () => {
    const settings = { ...plain, temperature: 2, topK: 2, repetitionPenalty: 8 };
    const { token, logProb } = sampleToken(logits, settings, new TokenHistory([1, 3]), 0);
    expect(token).toBe(0);
    expect(logProb).toBeCloseTo(Math.log(softmax([...logits].map((x) => x / 2))[0]!), 6);
  });

  it('keeps all tokens as likely as the k-th', () => {
    expect(distribution(logits, { ...plain, topK: 1 })).toEqual(
      [0, 0.5, 0, 0.5, 0, 0].map((p) => expect.closeTo(p, 9)),
    );
  });

  it('is top-k, top-p and min-p as their papers write them, over a sorted vocabulary', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: -300, max: 300 }), { minLength: 1, maxLength: 40 }),
        fc.record({
          temperature: fc.double({ min: 0.1, max: 3, noNaN: true }),
          topK: fc.option(fc.integer({ min: 1, max: 45 }), { nil: undefined }),
          topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
          minP: fc.option(fc.double({ min: 0.001, max: 1, noNaN: true }), { nil: 0 }),
        }),
        (tenths, { temperature, topK, topP, minP }) => {
          const scores = Float32Array.from(tenths, (x) => x / 10);
          const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!);
          const relative = (token: number) => (scores[token]! - scores[order[0]!]!) / temperature;
          let kept = order.slice(0, topK ?? order.length);
          const probabilities = softmax(kept.map(relative));
          const before = probabilities.map((_, i) => probabilities.slice(0, i).reduce((a, b) => a + b, 0));
          kept = kept.filter((_, i) => i === 0 || before[i]! < topP);
          kept = kept.filter((token, i) => i === 0 || Math.exp(relative(token)) >= minP);
          // Rounding decides about a token on the border.
          fc.pre(before.every((mass) => Math.abs(mass - topP) > 1e-9));
          const expected = new Array<number>(scores.length).fill(0);
          softmax(kept.map(relative)).forEach((probability, i) => {
            expected[kept[i]!] = probability;
          });
          const actual = distribution(scores, { temperature, topK, topP, minP, repetitionPenalty: 1 });
          for (const [token, probability] of expected.entries()) expect(actual[token]).toBeCloseTo(probability, 6);
        },
      ),
    );
  });

  it('subtracts presence once and frequency for each time a token was generated, whatever the prompt holds', () => {
    const history = new TokenHistory([0, 0, 5]);
    for (const token of [4, 1, 4, 4]) history.push(token);
    const settings = { ...plain, presencePenalty: 0.7, frequencyPenalty: 0.25 };
    const expected = softmax([0.3, 2.1 - 0.25 - 0.7, -1, 2.1, 0.9 - 3 * 0.25 - 0.7, -4]);
    distribution(logits, settings, history).forEach((share, token) => {
      expect(share).toBeCloseTo(expected[token]!, 6);
    });
    history.push(0);
    expect(distribution(logits, settings, history)[0]).toBeLessThan(expected[0]!);
  });

  it('reports the most likely tokens and the entropy of the distribution before penalty and truncation', () => {
    const history = new TokenHistory([]);
    history.push(1);
    const settings = { ...plain, temperature: 0.5, topK: 1, presencePenalty: 9, topLogProbs: 3, entropies: true };
    const probabilities = softmax([...logits].map((x) => x / 0.5));
    const { token, logProb, topLogProbs, entropy } = sampleToken(logits, settings, history, 0.9);
    expect(token).toBe(3);
    expect(logProb).toBeCloseTo(Math.log(probabilities[3]!), 6);
    expect(topLogProbs!.map(({ tokenId }) => tokenId)).toEqual([1, 3, 4]);
    for (const top of topLogProbs!) expect(top.logProb).toBeCloseTo(Math.log(probabilities[top.tokenId]!), 6);
    expect(entropy).toBeCloseTo(-probabilities.reduce((sum, p) => sum + p * Math.log(p), 0), 6);
    const uniform = sampleToken(new Float32Array(64), { ...plain, entropies: true }, none, 0);
    expect(uniform.entropy).toBeCloseTo(Math.log(64), 9);
    expect(sampleToken(logits, { ...plain, logProbs: false }, none, 0)).toEqual({ token: 0 });
  });

  it('finds the most likely n in any order of logits', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 70 }),
        (values, n) => {
          const { topLogProbs } = sampleToken(Float32Array.from(values), { ...plain, topLogProbs: n }, none, 0);
          const order = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
          expect(topLogProbs!.map(({ tokenId }) => tokenId)).toEqual(order.slice(0, n));
        },
      ),
    );
  });

  it('draws and reports the same from a softmax that the engine computed', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (uniform) => {
        const weights = Array.from(logits, (x) => Math.exp((x - logits[1]!) / 0.6));
        const total = weights.reduce((a, b) => a + b, 0);
        const probabilities = Float32Array.from(weights, (weight) => weight / total);
        const given = { probabilities, mostLikely: 1 };
        const history = new TokenHistory([1]);
        for (const rule of [{}, { topK: 3 }, { topP: 0.8 }, { repetitionPenalty: 2 }]) {
          const settings = { ...plain, temperature: 0.6, ...rule, topLogProbs: 2, entropies: true };
          const own = sampleToken(logits, settings, history, uniform);
          const other = sampleToken(logits, settings, history, uniform, given);
          expect(other.token).toBe(own.token);
          expect(other.logProb).toBeCloseTo(own.logProb!, 6);
          expect(other.entropy).toBeCloseTo(own.entropy!, 6);
          expect(other.topLogProbs!.map(({ tokenId }) => tokenId)).toEqual(own.topLogProbs!.map((t) => t.tokenId));
        }
        expect(probabilities).toEqual(Float32Array.from(weights, (weight) => weight / total));
      }),
    );
  });

  it('keeps to a constraint, which lets end tokens through only when it is complete', () => {
    const constraint = (tokens: number[], isComplete: boolean): TokenConstraint => ({
      allowed: () => Uint32Array.of(tokens.reduce((bits, token) => bits | (1 << token), 0)),
      accept: () => {},
      isComplete,
    });
    const settings = { ...plain, endTokens: new Set([3, 77]) };
    const supportOf = (rule: TokenConstraint, more: Partial<SamplerSettings> = {}) =>
      [...tokenDistribution(logits, { ...settings, ...more }, new TokenHistory([], rule)).tokens].join();
    expect(supportOf(constraint([0, 3, 4], false))).toBe('0,4');
    expect(supportOf(constraint([0, 4], true))).toBe('0,3,4');
    expect(supportOf(constraint([0, 2, 5], false), { topK: 2 })).toBe('0,2');
    expect(supportOf(constraint([2, 5], false), { temperature: 0 })).toBe('2');
    const open = new TokenHistory([], constraint([0, 4], true));
    const expected = softmax([0.3, 2.1, 0.9]);
    const actual = distribution(logits, settings, open);
    expect([actual[0], actual[3], actual[4]]).toEqual(expected.map((p) => expect.closeTo(p, 6)));
    expect(() => supportOf(constraint([3], false))).toThrow('no token may come next');
    expect(() => supportOf(constraint([0], false), { logitBias: new Map([[0, -Infinity]]) })).toThrow('no token may');
  });

  it('refuses logits that are not numbers', () => {
    expect(() => sampleToken(Float32Array.of(0, Number.NaN), plain, none, 0)).toThrow('not numbers');
    expect(() => sampleToken(Float32Array.of(1, Infinity), { ...plain, logProbs: false }, none, 0)).toThrow('numbers');
  });

  it.each([
    [{ typicalP: 0 }, 'typicalP is 0; it must be a number of at most 1 and above 0'],
    [{ epsilonCutoff: 1 }, 'epsilonCutoff is 1; it must be a number of at least 0 and below 1'],
    [{ presencePenalty: Number.NaN }, 'presencePenalty is NaN; it must be a number'],
    [{ noRepeatNgramSize: 1.5 }, 'noRepeatNgramSize is 1.5; it must be a whole number of at least 0'],
    [{ minNewTokens: 2 }, 'endTokens is undefined; it must be given with minNewTokens'],
    [{ badWordsIds: [[]] }, 'it must be lists of at least one token each'],
    [{ badWordsIds: [[3, 12]] }, 'badWordsIds is 12; it must be made of tokens of the model, which has 12'],
    [{ logitBias: new Map([[Number.NaN, 1]]) }, 'logitBias is NaN; it must be made of tokens of the model'],
  ] as const)('refuses %o', (wrong, message) => {
    expect(() => checkSamplerSettings({ ...plain, ...wrong }, 12)).toThrow(message);
  });
});

describe('what is reported of a token', () => {
  it('is, as statistics, what the definitions give', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 2, maxLength: 9 }),
        fc.constantFrom(0, 0.7, 1, 2),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (quarters, temperature, uniform) => {
          const logits = Float32Array.from(quarters, (x) => x / 4);
          const names = TOKEN_STATISTICS;
          const settings = { ...plain, temperature, statistics: names, entropies: true };
          const { token, statistics, entropy } = sampleToken(logits, settings, none, uniform);
          const weights = Array.from(logits, (x) => Math.exp(x / (temperature || 1)));
          const total = weights.reduce((a, b) => a + b);
          const p = weights.map((weight) => weight / total);
          const sum = (f: (p: number) => number) => p.reduce((all, x) => all + f(x), 0);
          const [first, second] = [...p].sort((a, b) => b - a) as [number, number];
          const wanted = {
            entropy: sum((x) => -x * Math.log(x)),
            varentropy: sum((x) => x * Math.log(x) ** 2) - sum((x) => -x * Math.log(x)) ** 2,
            margin: first - second,
            rank: 1 + p.filter((x) => x > p[token]! * (1 + 1e-9)).length,
            topLogProb: Math.log(first),
            // KL(uniform ‖ p)
            selfCertainty: sum((x) => Math.log(1 / p.length / x) / p.length),
          };
          expect(Object.keys(statistics!)).toEqual([...names]);
          for (const name of names) expect(statistics![name]).toBeCloseTo(wanted[name], 4);
          expect(entropy).toBe(statistics!.entropy);
        },
      ),
    );
    const misspelt = { ...plain, statistics: ['surprise'] as unknown as typeof TOKEN_STATISTICS };
    expect(() => checkSamplerSettings(misspelt)).toThrow(
      /statistics is .*surprise.*; it must be a list, each item one of "entropy", /,
    );
    expect(() => checkSamplerSettings({ ...plain, statistics: {} as never })).toThrow(
      /statistics is an object .*; it must be a list/,
    );
  });

  it('is, as samplingLogProb, the share of [0, 1) that gives it', () => {
    const logits = Float32Array.from([0.5, 2, -1, 1.5, 0, 1.4]);
    const cases: Partial<SamplerSettings>[] = [
      ...[{}, { temperature: 0 }, { temperature: 0.6 }, { topK: 3 }, { topP: 0.7, temperature: 1.5 }],
      ...[{ logitBias: new Map([[1, -2]]) }, { minP: 0.2, repetitionPenalty: 1.3 }],
    ];
    for (const overrides of cases) {
      const settings = { ...plain, ...overrides, samplingLogProbs: true, keptTokens: true };
      const context = new TokenHistory([3]);
      const shares = distribution(logits, settings, context);
      for (const uniform of [0.01, 0.4, 0.8, 0.99]) {
        const { token, samplingLogProb, keptTokens } = sampleToken(logits, settings, context, uniform);
        expect(Math.exp(samplingLogProb!)).toBeCloseTo(shares[token]!, 5);
        // The tokens that any uniform gives; null where that is all of them.
        const kept = [...logits.keys()].filter((id) => shares[id]! > 0);
        expect(keptTokens).toEqual(kept.length === logits.length ? null : kept);
      }
    }
    for (const name of ['samplingLogProb', 'keptTokens']) {
      expect(sampleToken(logits, plain, none, 0.5)).not.toHaveProperty(name);
    }
  });
});
