import { describe, expect, it, test } from 'vitest';
import { failuresOf } from '../../../testing/failures-of.js';
import {
  assertKnownOptions,
  type Completion,
  candidateScorer,
  type Embedder,
  type Entailer,
  extractPreferencePrompt,
  type Generator,
  hashedWords,
  isPosttrainError,
  nearestName,
  OptionError,
  PosttrainError,
  type RowGradients,
  type Scorer,
  sameTextEntailer,
  semanticClusters,
  unigramTrainer,
} from '../src/index.js';
import { Ledger } from '../src/ledger/index.js';
import { createRandom } from '../src/random/index.js';
import {
  testCandidateScorer,
  testEmbedder,
  testEntailer,
  testGenerator,
  testLedger,
  testRowFeatures,
  testRowGradients,
  testScorer,
  testScorerTrainer,
} from '../src/testing/index.js';

class DiskError extends PosttrainError {}

describe('PosttrainError', () => {
  it('carries its code, its class name and its cause', () => {
    const cause = new Error('ENOSPC');
    const error = new DiskError('DISK_FULL', 'the disk is full', { cause });
    expect(error).toMatchObject({ name: 'DiskError', code: 'DISK_FULL', message: 'the disk is full', cause });
    expect(error).toBeInstanceOf(PosttrainError);
  });

  it('is recognised across copies of the package, and nothing else is', () => {
    const fromAnotherCopy = Object.defineProperty(new Error('x'), Symbol.for('posttrain.error'), { value: true });
    expect([new DiskError('A', 'a'), fromAnotherCopy].map(isPosttrainError)).toEqual([true, true]);
    expect([new Error('x'), null, undefined, 'x', {}].map(isPosttrainError)).toEqual(Array(5).fill(false));
  });
});

describe('nearestName', () => {
  it('finds a name with a slip in it, whatever its case', () => {
    expect(nearestName('tempratureScale', ['topK', 'temperatureScale'])).toBe('temperatureScale');
    expect(nearestName('TOPK', ['topP', 'topK'])).toBe('topK');
  });

  it('does not look for a name that is too long to be a slip', () => {
    expect(nearestName('x'.repeat(200), ['x'.repeat(199)])).toBeUndefined();
  });

  it('finds none when nothing is near', () => {
    expect(nearestName('banana', ['topK', 'temperature'])).toBeUndefined();
    expect(nearestName('topK', [])).toBeUndefined();
  });
});

describe('assertKnownOptions', () => {
  it('throws the one class that errors about options have', () => {
    const failure = (options: object) => {
      try {
        assertKnownOptions('generate', options, ['maxTokens'], { aliases: { max_new_tokens: 'maxTokens' } });
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(failure({ max_new_tokens: 1 })).toBeInstanceOf(OptionError);
    expect(failure({ max_new_tokens: 1 })).toMatchObject({
      ...{ code: 'UNKNOWN_OPTION', where: 'generate', option: 'max_new_tokens' },
      message: 'generate: unknown option "max_new_tokens". It is called "maxTokens" here. Known options: maxTokens.',
    });
    expect(failure(['a'])).toMatchObject({ code: 'INVALID_OPTION', option: 'options' });
    // A name that every object inherits has no hint.
    expect(failure({ constructor: 1 })).toMatchObject({
      message: 'generate: unknown option "constructor". Known options: maxTokens.',
    });
  });

  it('accepts known keys', () => {
    expect(() => assertKnownOptions('generate', { topK: 1, seed: 2 }, ['seed', 'topK'])).not.toThrow();
  });

  it('names the place, the key, the nearest known key and the known keys', () => {
    expect(() => assertKnownOptions('generate', { topk: 1 }, ['seed', 'topK'])).toThrow(
      'generate: unknown option "topk". Did you mean "topK"? Known options: seed, topK.',
    );
  });
});

const user = { role: 'user', content: 'Hi' };
const say = (content: string) => ({ role: 'assistant', content });

describe('extractPreferencePrompt', () => {
  it.each<[string | readonly unknown[], string | readonly unknown[], object]>([
    ['2+2= 4', '2+2= 5', { prompt: '2+2=', chosen: ' 4', rejected: ' 5' }],
    ['abc', 'abd', { prompt: 'ab', chosen: 'c', rejected: 'd' }],
    ['yes', 'no', { prompt: '', chosen: 'yes', rejected: 'no' }],
    // Halves of a surrogate pair are no characters.
    ['😀', '😁', { prompt: '', chosen: '😀', rejected: '😁' }],
    [
      [user, say('a')],
      [{ content: 'Hi', role: 'user' }, say('b')],
      { prompt: [user], chosen: [say('a')], rejected: [say('b')] },
    ],
    // A space that is a message is a message.
    [[' ', 'a'], [' ', 'b'], { prompt: [' '], chosen: ['a'], rejected: ['b'] }],
  ])('%j and %j', (chosen, rejected, wanted) => {
    expect(extractPreferencePrompt(chosen, rejected)).toEqual(wanted);
  });

  it.each<[string | readonly unknown[], string | readonly unknown[], string]>([
    ['a', 'ab', 'chosen'],
    ['ab', 'a', 'rejected'],
    ['same', 'same', 'chosen'],
    ['', '', 'chosen'],
    [[user], [user, say('a')], 'chosen'],
  ])('%j and %j leave nothing to prefer', (chosen, rejected, which) => {
    expect(extractPreferencePrompt(chosen, rejected)).toBe(which);
  });
});

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

describe('kits of the interfaces', () => {
  /** Says the letters of the prompt from a place that the seed says, one token each. */
  const spelling: Generator = {
    name: 'spelling',
    generate: async (requests) =>
      requests.map(({ prompt, n = 1, maxTokens = 8, temperature = 1, seed = 0, stop = [], logProbs, signal }) => {
        signal?.throwIfAborted();
        return Array.from({ length: n }, (_, i): Completion => {
          const letters = [...'abcdefgh'].map((__, t) =>
            String.fromCharCode(97 + ((t + (temperature && seed + i)) % 8)),
          );
          const whole = `${prompt}${letters.join('')}`.slice(0, maxTokens);
          const ends = stop.map((one) => whole.indexOf(one)).filter((at) => at >= 0);
          const text = whole.slice(0, Math.min(whole.length, ...ends));
          return {
            ...{ text, finishReason: ends.length > 0 ? 'stop' : 'length' },
            usage: { promptTokens: prompt.length, completionTokens: text.length },
            ...(logProbs && { logProbs: [...text].map(() => -1) }),
          };
        });
      }),
  };
  /** A number for each letter's count: gradients of a linear model. */
  const counts: RowGradients = {
    name: 'counts',
    gradients: async (requests, { projection, seed = 0, signal } = {}) =>
      requests.map(({ completion }) => {
        signal?.throwIfAborted();
        const whole = Float32Array.from([...'abcdef'], (letter) => completion.split(letter).length - 1);
        if (projection === undefined) return whole;
        const random = createRandom(seed);
        const signs = Array.from({ length: projection }, () =>
          Array.from(whole, () => (random.float() < 0.5 ? -1 : 1)),
        );
        return Float32Array.from(
          signs,
          (row) => row.reduce((sum, x, i) => sum + x * whole[i]!, 0) / Math.sqrt(projection),
        );
      }),
  };
  const words = async (): Promise<Scorer> => unigramTrainer.train([{ prompt: '', completion: 'a b b c d' }]);
  const embedder: Embedder = {
    name: 'counts',
    embed: (texts) => counts.gradients(texts.map((completion) => ({ prompt: '', completion }))),
  };

  testGenerator(it, 'that spells', () => spelling, { logProbs: true });
  testScorer(it, 'of words', words);
  testCandidateScorer(it, 'of a scorer', async () => candidateScorer(await words()));
  testScorerTrainer(it, 'of words', () => unigramTrainer);
  testEmbedder(it, 'that counts', () => embedder);
  testRowFeatures(it, 'of hashed words', () => hashedWords(64));
  testRowGradients(it, 'that count', () => counts);
  testEntailer(it, 'of the same text', () => sameTextEntailer);
  testLedger(it, 'Ledger', (limits) => new Ledger(limits));

  const generating = (change: (own: Completion, at: number) => Partial<Completion>): Generator => ({
    ...spelling,
    generate: async (requests) =>
      (await spelling.generate(requests)).map((list) => list.map((own) => ({ ...own, ...change(own, calls++) }))),
  });
  const scoring = (change: (logProb: number, at: number, all: number) => number) => async (): Promise<Scorer> => {
    const scorer = await words();
    return {
      ...scorer,
      score: async (requests) => {
        const scores = await scorer.score(requests);
        return scores.map((one, i) => ({ ...one, logProb: change(one.logProb, i, scores.length) }));
      },
    };
  };
  let calls = 0;
  type Register = Parameters<typeof failuresOf>[0];
  it.each<[string, Register, RegExp]>([
    [
      'completions that are cut',
      (on) =>
        testGenerator(on, 'x', () => ({
          ...spelling,
          generate: async (all) => (await spelling.generate(all)).map((own) => own.slice(1)),
        })),
      /how many completions/,
    ],
    [
      'more tokens than were asked for',
      (on) => testGenerator(on, 'x', () => generating(() => ({ usage: { promptTokens: 1, completionTokens: 9 } }))),
      /9 tokens are more than 8, of 1/,
    ],
    [
      'a seed that is not heard',
      (on) => testGenerator(on, 'x', () => generating(({ text }) => ({ text: `${text}${calls}` }))),
      /asked again/,
    ],
    [
      'a stop string that is not heard',
      (on) =>
        testGenerator(on, 'x', () => ({
          ...spelling,
          generate: (all) => spelling.generate(all.map(({ stop: _, ...one }) => one)),
        })),
      /before the first/,
    ],
    [
      'a signal that is not heard',
      (on) =>
        testGenerator(on, 'x', () => ({
          ...spelling,
          generate: (all) => spelling.generate(all.map(({ signal: _, ...one }) => one)),
        })),
      /neither threw/,
    ],
    [
      'log-probabilities above 0',
      (on) =>
        testScorer(
          on,
          'x',
          scoring((p) => -p),
        ),
      /log p is/,
    ],
    [
      'scores that see what is asked beside',
      (on) =>
        testScorer(
          on,
          'x',
          scoring((p, i) => p - i),
        ),
      /together with others and alone/,
    ],
    [
      'a mean in the place of a sum',
      (on) =>
        testScorer(
          on,
          'x',
          scoring((p, _, all) => p / all - 1),
        ),
      /alone/,
    ],
    [
      'probabilities that are not normalised',
      (on) =>
        testCandidateScorer(on, 'x', async () => ({
          name: 'x',
          distributions: async (all) =>
            (await candidateScorer(await words()).distributions(all)).map((one) => ({
              ...one,
              probabilities: one.probabilities.map((p) => p / 2),
            })),
        })),
      /their sum/,
    ],
    [
      'a trainer that remembers',
      (on) => {
        const seen: never[] = [];
        testScorerTrainer(on, 'x', () => ({
          ...unigramTrainer,
          train: (rows, how) => {
            seen.push(...(rows as never[]));
            return unigramTrainer.train(seen, how);
          },
        }));
      },
      /where it was trained on|after another/,
    ],
    [
      'vectors of other lengths',
      (on) =>
        testEmbedder(on, 'x', () => ({
          name: 'x',
          embed: async (texts) => texts.map((text) => new Float32Array(text.length).fill(1)),
        })),
      /of one length/,
    ],
    [
      'one vector for all',
      (on) =>
        testRowFeatures(on, 'x', () => ({ name: 'x', features: async (all) => all.map(() => new Float32Array(3)) })),
      /the same vector/,
    ],
    [
      'a projection that shrinks',
      (on) =>
        testRowGradients(on, 'x', () => ({
          ...counts,
          gradients: async (all, how) =>
            (await counts.gradients(all, how)).map((g) => (how?.projection ? g.map((x) => x / 2) : g)),
        })),
      /its square becomes/,
    ],
    [
      'an entailer that is never sure',
      (on) =>
        testEntailer(on, 'x', () => ({
          name: 'x',
          entail: async (all) => all.map(() => ({ entailment: 0.2, neutral: 0.8, contradiction: 0 })),
        })),
      /does not follow from itself/,
    ],
    ['a ledger without limits', (on) => testLedger(on, 'x', () => new Ledger()), /what is left of completions/],
  ])('find %s', async (_, register, message) => {
    expect((await failuresOf(register)).join('\n')).toMatch(message);
  });
});
