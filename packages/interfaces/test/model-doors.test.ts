import { describe, expect, test } from 'vitest';
import {
  candidateScorer,
  type Entailer,
  hashedWords,
  OptionError,
  type Scorer,
  sameTextEntailer,
  semanticClusters,
  unigramTrainer,
} from '../src/index.js';

/** Gives every continuation the log-likelihood of a table. */
const scorer = (table: Record<string, number>): Scorer => ({
  name: 'table',
  score: async (requests) =>
    requests.map(({ continuation }) => ({ logProb: table[continuation]!, tokens: 1, isGreedy: false })),
});

describe('what data and eval ask of models', () => {
  test('a distribution over candidates is the softmax of their log-likelihoods', async () => {
    const [all, half] = await candidateScorer(
      scorer({ a: Math.log(0.2), b: Math.log(0.1), c: Math.log(0.1) }),
    ).distributions([
      { prompt: 'x', candidates: ['a', 'b', 'c'] },
      { prompt: 'x', candidates: ['b', 'c'] },
    ]);
    expect(all!.probabilities.map((p) => p.toFixed(12))).toEqual([
      '0.500000000000',
      '0.250000000000',
      '0.250000000000',
    ]);
    expect(all!.entropy).toBeCloseTo(1.5 * Math.LN2, 12);
    expect(half!.entropy).toBeCloseTo(Math.LN2, 12);
    expect(half!.logProbs).toEqual([Math.log(0.1), Math.log(0.1)]);
  });

  test('log-likelihoods of any size are normalised', async () => {
    const [far] = await candidateScorer(scorer({ a: -5000, b: -5000 - Math.LN2 * 2 })).distributions([
      { prompt: '', candidates: ['a', 'b'] },
    ]);
    expect(far!.probabilities[0]).toBeCloseTo(0.8, 12);
  });

  test.each([[['a']], [['a', '']], [undefined as unknown as string[]]])(
    'candidates %j are refused',
    async (candidates) => {
      await expect(candidateScorer(scorer({})).distributions([{ prompt: '', candidates }])).rejects.toThrow(
        OptionError,
      );
    },
  );

  test('texts that entail each other are of one cluster; one way is not enough', async () => {
    const meanings: Record<string, string> = {
      'It is Paris.': 'paris',
      Paris: 'paris',
      'A city': 'city',
      Rome: 'rome',
    };
    const asked: string[] = [];
    const entailer: Entailer = {
      name: 'table',
      entail: async (requests) =>
        requests.map(({ premise, hypothesis }) => {
          asked.push(premise);
          // Every capital is a city, and not the other way round.
          const follows = meanings[premise] === meanings[hypothesis] || meanings[hypothesis] === 'city';
          return follows
            ? { entailment: 0.8, neutral: 0.1, contradiction: 0.1 }
            : { entailment: 0.4, neutral: 0.5, contradiction: 0.1 };
        }),
    };
    expect(await semanticClusters(['It is Paris.', 'A city', 'Paris', 'Rome', 'A city'], entailer)).toEqual([
      0, 1, 0, 2, 1,
    ]);
    expect(asked.length).toBe(2 * (0 + 1 + 2 + 2 + 3));
    expect(await semanticClusters(['Yes', ' yes ', 'no'], sameTextEntailer)).toEqual([0, 0, 1]);
  });

  test('hashed words are near where texts share words, and the same each time', async () => {
    const [a, b, c] = await hashedWords(512).features([
      { prompt: 'the quick', completion: 'brown fox' },
      { prompt: [{ role: 'user', content: 'The quick' }], completion: 'BROWN fox' },
      { prompt: 'colourless green', completion: 'ideas sleep' },
    ]);
    expect(a).toEqual(b);
    const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    expect(dot(a!, b!)).toBeGreaterThan(dot(a!, c!));
    expect(() => hashedWords(0)).toThrow(/dimension is 0/);
  });

  test("a scorer that was trained on rows likes them better than one that was not: LiRA's two worlds", async () => {
    const row = { prompt: '', completion: 'secret number' };
    const others = [{ prompt: '', completion: 'common words' }];
    const [inside, outside] = await Promise.all([unigramTrainer.train([...others, row]), unigramTrainer.train(others)]);
    const likelihood = async (of: Scorer) =>
      (await of.score([{ prompt: '', continuation: row.completion }]))[0]!.logProb;
    expect(await likelihood(inside)).toBeCloseTo(2 * Math.log(2 / 9), 12);
    expect(await likelihood(outside)).toBeCloseTo(2 * Math.log(1 / 5), 12);
    await expect(unigramTrainer.train(others, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    );
  });

  test('probabilities of the unigram model, with one place for the unknown, sum to 1', async () => {
    const model = await unigramTrainer.train([{ prompt: '', completion: 'a b a c' }]);
    const scores = await model.score(['a', 'b', 'c', 'unknown'].map((continuation) => ({ prompt: '', continuation })));
    expect(scores.reduce((sum, { logProb }) => sum + Math.exp(logProb), 0)).toBeCloseTo(1, 12);
  });
});
