import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type SamplerSettings, sampleToken } from '../src/index.js';

const plain: SamplerSettings = { temperature: 1, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 };
const none: ReadonlySet<number> = new Set();

/**
 * The distribution that the sampler draws from, read off its inverse: for every token the share of [0, 1) that gives
 * it, its borders found by bisection.
 */
function distribution(logits: Float32Array, settings: SamplerSettings, seen: ReadonlySet<number> = none): number[] {
  const shares = new Array<number>(logits.length).fill(0);
  const at = (uniform: number) => sampleToken(logits, settings, seen, uniform).token;
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
  readonly cases: {
    readonly options: Readonly<Record<string, number>>;
    readonly probabilities: number[][];
  }[];
}
const path = join(import.meta.dirname, '../../../goldens/sampling/expected.json');
const golden: Golden = JSON.parse(readFileSync(path, 'utf8'));

describe('the distribution of transformers', () => {
  it.each(golden.cases)('$options', ({ options, probabilities }) => {
    const settings: SamplerSettings = {
      temperature: options.temperature ?? 1,
      topK: options.top_k,
      topP: options.top_p ?? 1,
      minP: options.min_p ?? 0,
      repetitionPenalty: options.repetition_penalty ?? 1,
    };
    for (const [row, expected] of probabilities.entries()) {
      let actual = distribution(Float32Array.from(golden.logits[row]!), settings, new Set(golden.seen[row]));
      let wanted = expected;
      // Which of equally likely tokens top-p keeps is torch's sorting; how many is not.
      if (row === 2) [actual, wanted] = [actual.toSorted((a, b) => a - b), wanted.toSorted((a, b) => a - b)];
      for (const [token, value] of wanted.entries()) expect(actual[token]).toBeCloseTo(value, 5);
    }
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
    const { token, logProb } = sampleToken(logits, settings, new Set([1, 3]), 0);
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
});
