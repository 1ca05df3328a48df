import {
  compile,
  grad,
  Key,
  referenceEngine,
  scalar,
  setEngine,
  type Tensor,
  tensor,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adam, type Named } from '@posttrain/core-tensor/optim';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { copyState, splitState } from '@posttrain/training';
import { savedState } from '@posttrain/training/testing';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  actorLoss,
  type CellMasses,
  criticLoss,
  cumulative,
  dicl,
  diclSac,
  digitsOf,
  type FiniteMdp,
  finiteMdp,
  hierarchicalDistribution,
  hybridPolicyEvaluation,
  languageSeriesModel,
  multiBranchReturn,
  multiBranchReturnBound,
  type NumericEnvironment,
  pendulum,
  pendulumReward,
  play,
  policyValues,
  principalComponents,
  quantile,
  replayBuffer,
  returnOf,
  type SeriesModel,
  type SoftActorCriticCheckpoint,
  type SoftActorCriticOptions,
  serializeSeries,
  softActorCritic,
  softActorCriticUpdate,
  squashedGaussian,
  stateActionRows,
  statisticsOf,
  type Trajectory,
  type TransitionBatch,
  temperatureLoss,
  transitionError,
  valueOfDigits,
  vicl,
} from '../src/index.js';
import { expectClose, readGolden } from './goldens.js';

beforeAll(() => setEngine(referenceEngine()));

interface Authors {
  readonly values: number[];
  readonly text: string;
  readonly hierarchies: {
    number: string;
    probabilities: number[][];
    mean: number;
    points: number[];
    density: number[];
  }[];
  readonly states: number[][];
  readonly predictions: {
    method: 'vicl' | 'dicl';
    components: number;
    mean: number[][];
    mode: number[][];
    rescaled_means: number[][];
    rescaled_stds: number[][];
    texts: string[];
  }[];
}
const authors = readGolden<Authors>('authors.json', 'dicl');

/** Masses in proportion to a function of the middle of each cell. */
const massesOf = (digits: number, weight: (x: number) => number): CellMasses => {
  const weights = Float64Array.from({ length: 10 ** digits }, (_, i) => weight((10 * (i + 0.5)) / 10 ** digits));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
};

/** A model that says of the next number what a function of the numbers before it does. */
const modelOf = (masses: (numbers: readonly number[], digits: number) => CellMasses): SeriesModel => ({
  name: 'table',
  async predict(series, { digits, after }) {
    return series.map((numbers) => {
      const values = numbers.map(valueOfDigits);
      const ends = after === 'last' ? [values.length] : values.map((_, t) => t + 1);
      return ends.map((end) => masses(values.slice(0, end), digits));
    });
  },
});

describe('series as digits', () => {
  it('are those of the authors of DICL', () => {
    const written = authors.values.map((value) => Number(digitsOf(value, 3).join(''))).join(',');
    expect(`${written},`).toBe(authors.text);
  });

  it.each([1, 2, 3, 4])('with %i digits and back are within half a cell', (digits) => {
    const series = Array.from(Key.fromSeed(digits).normalHost(50), (x) => 30 * x - 4);
    const { digits: written, restore, rescale } = serializeSeries(series, { digits });
    const cell = (Math.max(...series) - Math.min(...series)) / 7 / 10 ** (digits - 1);
    written.forEach((own, t) => {
      expect(own.length).toBe(digits);
      expect(Math.abs(restore(valueOfDigits(own)) - series[t]!)).toBeLessThanOrEqual(cell / 2 + 1e-9);
      expect(digitsOf(valueOfDigits(own), digits)).toEqual(own);
      expect(restore(rescale(series[t]!))).toBeCloseTo(series[t]!, 9);
    });
  });

  it('end where the digits do, and are one number where nothing moves', () => {
    expect([digitsOf(12, 2), digitsOf(-1, 2), digitsOf(0.3, 2)]).toEqual([
      [9, 9],
      [0, 0],
      [0, 3],
    ]);
    const still = serializeSeries([4, 4, 4]);
    expect(still.digits[2]).toEqual([1, 5, 0]);
    expect(still.restore(7)).toBe(4);
  });

  it.each([
    ['what is not finite', () => serializeSeries([1, Number.NaN]), /value 1 is NaN/],
    ['a scale by nothing', () => serializeSeries([1], {}, []), /no value to scale by/],
    [
      'a range that the digits do not hold',
      () => serializeSeries([1, 2], { rescaleFactor: 9 }),
      /more than 10 together/,
    ],
    ['a softmax of nine digits', () => hierarchicalDistribution(1, () => new Array(9).fill(1)), /10 weights/],
    [
      'a component more than there are features',
      () => principalComponents([[1], [2]], { components: 2 }),
      /1 features/,
    ],
    ['rows of two widths', () => principalComponents([[1, 2], [2]]), /row 1 has 1 numbers/],
  ])('refuse %s', (_, make, message) => {
    expect(make).toThrow(message);
  });
});

describe('the hierarchical softmax', () => {
  it.each(authors.hierarchies)(
    'is that of the authors of llmICL for $number',
    ({ number, probabilities, mean, points, density }) => {
      const masses = hierarchicalDistribution(3, (prefix) =>
        number.startsWith(prefix.join('')) ? probabilities[prefix.length] : undefined,
      );
      expect(statisticsOf(masses).mean).toBeCloseTo(mean, 9);
      expectClose(
        points.map((x) => masses[Math.floor(x * 100)]! * 100),
        density,
        1e-9,
      );
    },
  );

  it('of digits that are conditional on each other is their joint distribution', () => {
    const joint = massesOf(2, (x) => 1 + Math.sin(3 * x));
    const masses = hierarchicalDistribution(2, (prefix) =>
      Array.from({ length: 10 }, (_, d) =>
        prefix.length === 1 ? joint[prefix[0]! * 10 + d]! : joint.slice(d * 10, d * 10 + 10).reduce((a, b) => a + b),
      ),
    );
    expectClose(Array.from(masses), Array.from(joint), 1e-14);
  });

  it('has the moments, the quantiles and the cumulative shares of an even density', () => {
    const masses = massesOf(2, (x) => (x > 2 && x < 5 ? 1 : 0));
    const { mean, std } = statisticsOf(masses);
    expect([mean, std ** 2]).toEqual([expect.closeTo(3.5, 9), expect.closeTo(9 / 12, 9)]);
    for (const p of [0.01, 0.1, 0.5, 0.93, 1]) {
      expect(quantile(masses, p)).toBeCloseTo(2 + 3 * p, 9);
      expect(cumulative(masses, quantile(masses, p))).toBeCloseTo(p, 9);
    }
    expect([cumulative(masses, -1), cumulative(masses, 11)]).toEqual([0, expect.closeTo(1, 12)]);
  });
});

describe('principal components', () => {
  interface Golden {
    rows: number[][];
    cases: {
      components: number;
      directions: number[][];
      variances: number[];
      transformed: number[][];
      restored: number[][];
    }[];
  }
  const golden = readGolden<Golden>('pca.json', 'dicl');

  it.each(golden.cases)('are those of scikit-learn, $components of them', (given) => {
    const found = principalComponents(golden.rows, { components: given.components });
    expectClose(found.directions.flat(), given.directions.flat(), 1e-10);
    expectClose(found.variances, given.variances, 1e-9);
    const own = golden.rows.slice(0, 5).map((row) => found.transform(row));
    expectClose(own.flat(), given.transformed.flat(), 1e-9);
    expectClose(
      own.flatMap((row) => found.inverse(row)),
      given.restored.flat(),
      1e-9,
    );
  });

  it('of full rank lead back, and do not correlate', () => {
    const { transform, inverse } = principalComponents(golden.rows);
    const own = golden.rows.map(transform);
    expectClose(own.flatMap(inverse), golden.rows.flat(), 1e-12);
    expect(Math.abs(own.reduce((sum, row) => sum + row[0]! * row[1]!, 0))).toBeLessThan(1e-9);
  });

  it('have their largest entry above 0', () => {
    for (let seed = 0; seed < 60; seed++) {
      const drawn = Key.fromSeed(seed).normalHost(64);
      const { directions } = principalComponents(Array.from({ length: 8 }, (_, i) => drawn.slice(8 * i, 8 * i + 8)));
      for (const one of directions) expect(Math.max(...one)).toBe(Math.max(...one.map(Math.abs)));
    }
  });
});

describe('vICL and DICL', () => {
  // The model of the golden: a bell about 0.9 x + 40 behind the number x, in cells of 0.01.
  const bell = modelOf((numbers) => {
    const centre = 0.9 * Math.floor(numbers.at(-1)! * 100) + 40;
    const spread = 20 + 60 / numbers.length;
    return massesOf(3, (x) => Math.exp(-(((x * 100 - 0.5 - centre) / spread) ** 2) / 2));
  });

  it.each(authors.predictions)('are those of the authors: $method, $components components', async (given) => {
    const rows = authors.states.slice(0, -1);
    const dynamics =
      given.method === 'vicl' ? vicl({ model: bell }) : dicl({ model: bell, components: given.components });
    const { mean, mode, components } = await dynamics.predict(rows);
    const statistics = components.map((own) => own.map(({ masses }) => statisticsOf(masses)));
    for (let c = 0; c < given.components; c++) {
      // Theirs stand at the lower edge of a cell, ours in the middle; and ours know that a cell has a width.
      expectClose(
        statistics.map((own) => own[c]!.mean - 0.005),
        given.rescaled_means[c]!,
        2e-6,
        'mean',
      );
      const stds = statistics.map((own) => Math.sqrt(own[c]!.std ** 2 - 0.01 ** 2 / 12));
      expectClose(stds, given.rescaled_stds[c]!, 2e-6, 'std');
    }
    // What half a cell comes to in the features, φ⁻¹ being affine, is the same for all rows.
    for (const [ours, theirs, tolerance] of [
      [mean, given.mean, 1e-5],
      [mode, given.mode, 1e-9],
    ] as const) {
      const shifts = ours.map((row, t) => row.map((x, j) => x - theirs[t]![j]!));
      for (const shift of shifts) expectClose(shift, shifts[0]!, tolerance);
      expect(Math.max(...shifts[0]!.map(Math.abs))).toBeLessThan(0.02);
    }
  });

  it('DICL is right where dimensions are turned that vICL takes for a series each', async () => {
    // Two series that keep their sign for ever and one that changes it, turned into each other: only by itself is each one simple.
    const hidden = Array.from({ length: 30 }, (_, t) => [3 * Math.cos(0.35 * t), t % 2 === 0 ? 1 : -1]);
    const rows = hidden.map(([a, b]) => [a! + b!, a! - b!]);
    // It goes on in a line, or turns back to the number before the last, whichever was better so far.
    const model = modelOf((numbers, digits) => {
      const guesses = (upTo: readonly number[]) => [
        2 * upTo.at(-1)! - (upTo.at(-2) ?? upTo.at(-1)!),
        upTo.at(-2) ?? upTo.at(-1)!,
      ];
      const errors = [0, 0];
      for (let t = 2; t < numbers.length; t++)
        guesses(numbers.slice(0, t)).forEach((guess, i) => {
          errors[i]! += (guess - numbers[t]!) ** 2;
        });
      const best = guesses(numbers)[errors[0]! <= errors[1]! ? 0 : 1]!;
      return massesOf(digits, (x) => Math.exp(-(((x - best) / 0.05) ** 2)) + 1e-9);
    });
    const errorOf = async (dynamics: ReturnType<typeof vicl>) => {
      const { mean } = await dynamics.predict(rows);
      const squares = rows.slice(5).flatMap((row, i) => row.map((x, j) => (x - mean[i + 4]![j]!) ** 2));
      return squares.reduce((a, b) => a + b) / squares.length;
    };
    const [separate, turned] = [await errorOf(vicl({ model })), await errorOf(dicl({ model }))];
    expect(turned).toBeLessThan(0.3 * separate);
  });

  it('forecasts with what it has forecast, and draws what it says', async () => {
    const half = modelOf((numbers, digits) =>
      massesOf(digits, (x) => (Math.abs(x - (numbers.at(-1)! / 2 + 1)) < 0.2 ? 1 : 0)),
    );
    const dynamics = vicl({ model: half });
    const rows = [
      [0, 10],
      [7, 3],
      [3.5, 4.2],
    ];
    const [first, second] = await dynamics.forecast(rows, { steps: 2 });
    const predicted = await dynamics.predict(rows);
    expectClose(first!, predicted.mean.at(-1)!, 1e-12);
    const again = await dynamics.predict([...rows, first!]);
    expectClose(second!, again.mean.at(-1)!, 0.01);
    const drawn = predicted.draw(2, 4000, Key.fromSeed(1));
    for (const j of [0, 1]) {
      const mean = drawn.reduce((sum, row) => sum + row[j]!, 0) / drawn.length;
      const std = Math.sqrt(drawn.reduce((sum, row) => sum + (row[j]! - mean) ** 2, 0) / drawn.length);
      expect(mean).toBeCloseTo(predicted.mean[2]![j]!, 2);
      expect(std / predicted.std[2]![j]!).toBeCloseTo(1, 1);
    }
  });

  it('rows of DICL-(s, a) are what was seen and what was done', () => {
    expect(
      stateActionRows(
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        [[9], 8],
      ),
    ).toEqual([
      [1, 2, 9],
      [3, 4, 8],
    ]);
  });

  it.each([
    ['one row', [[1, 2]], /2 or more/],
    [
      'a number that is none',
      [
        [1, 2],
        [1, Number.POSITIVE_INFINITY],
      ],
      /row 1: value 1 is Infinity/,
    ],
  ])('refuses %s', async (_, rows, message) => {
    await expect(dicl({ model: bell }).predict(rows)).rejects.toThrow(message);
  });

  it('names a model of series that leaves something out', async () => {
    const short: SeriesModel = { name: 'short', predict: async (series) => series.map(() => []) };
    await expect(vicl({ model: short }).predict([[1], [2]])).rejects.toThrow(/short must give 1000 masses/);
  });
});

describe('languageSeriesModel', () => {
  /** Digits are tokens, or pairs of digits. */
  const languageModel = (pairs: boolean) => {
    const single = [...'0123456789'];
    const all = single.flatMap((a) => single.map((b) => [a, b] as const));
    const vocabulary = [...single, ',', '<s>', ...(pairs ? all.map(([a, b]) => a + b) : [])];
    const merges = pairs ? all.map(([a, b]) => `${a} ${b}`) : [];
    const model = { type: 'BPE', vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])), merges };
    const config = { model_type: 'llama', vocab_size: vocabulary.length, hidden_size: 8, intermediate_size: 8 };
    return CausalLM.initialize(
      {
        config: parseModelConfig({
          ...config,
          ...{ num_hidden_layers: 1, num_attention_heads: 2, max_position_embeddings: 40, initializer_range: 0.8 },
        }),
        tokenizer: new Tokenizer({
          tokenizer: { version: '1.0', added_tokens: [], decoder: { type: 'Fuse' }, model },
          config: {},
        }),
        name: 'digits',
      },
      3,
    );
  };
  const series = [
    [
      [4, 3],
      [0, 7],
      [9, 9],
    ],
    [
      [1, 2],
      [1, 2],
    ],
  ];

  /** exp of the log-likelihood of tokens behind others, over those of all choices. */
  const shares = async (model: CausalLM, before: readonly number[], choices: readonly (readonly number[])[]) => {
    const { continuationLogProbs } = await import('@posttrain/lm');
    const scores = await continuationLogProbs(
      model,
      choices.map((choice) => ({ tokens: [...before, ...choice], start: before.length })),
    );
    const weights = scores.map(({ logProbs }) => Math.exp(logProbs.reduce((a, b) => a + b, 0)));
    const sum = weights.reduce((a, b) => a + b);
    return weights.map((w) => w / sum);
  };

  it('of one token a number is the softmax of its tokens after every number', async () => {
    const model = await languageModel(true);
    const found = await languageSeriesModel(model, { digitsPerToken: 2 }).predict(series, {
      digits: 2,
      after: 'every',
    });
    expect(found.map((own) => own.length)).toEqual([3, 2]);
    const before = model.tokenizer.encode('43,07,');
    const choices = Array.from({ length: 100 }, (_, i) => model.tokenizer.encode(String(i).padStart(2, '0')));
    expectClose(Array.from(found[0]![1]!), await shares(model, before, choices), 1e-6);
    const last = await languageSeriesModel(model, { digitsPerToken: 2, maxTokensPerPass: 16 }).predict(series, {
      digits: 2,
      after: 'last',
    });
    expect(last.map((own) => own.length)).toEqual([1, 1]);
    expectClose(Array.from(last[1]![0]!), Array.from(found[1]![1]!), 1e-6);
  });

  it('of a token a digit is the product of conditional softmaxes, and knows where it has not asked', async () => {
    const model = await languageModel(false);
    const ask = (refineMass: number) =>
      languageSeriesModel(model, { refineMass }).predict(series, { digits: 2, after: 'every' });
    const [all, some] = [await ask(0), await ask(0.1)];
    const encode = (text: string) => model.tokenizer.encode(text);
    const digits = Array.from({ length: 10 }, (_, d) => encode(String(d)));
    const first = await shares(model, encode('43,07,'), digits);
    for (const [d, p] of first.entries()) {
      const second = await shares(model, encode(`43,07,${d}`), digits);
      const own = Array.from(all[0]![1]!.slice(10 * d, 10 * d + 10));
      expectClose(
        own,
        second.map((q) => p * q),
        1e-6,
      );
      const part = Array.from(some[0]![1]!.slice(10 * d, 10 * d + 10));
      expectClose(part, p >= 0.1 ? own : own.map(() => p / 10), 1e-6);
    }
    // Something is refined, and something is not.
    expect([first.some((p) => p >= 0.1), first.some((p) => p < 0.1)]).toEqual([true, true]);
  });

  it('says what it cannot read', async () => {
    const model = await languageModel(false);
    expect(() => languageSeriesModel(model, { digitsPerToken: 2 })).toThrow(/"00" is 2 tokens/);
    expect(() => languageSeriesModel(model, { separator: '12' })).toThrow(/"12" is 2 tokens; it must be one/);
    expect(() => languageSeriesModel({} as CausalLM)).toThrow(/a CausalLM/);
    const long = Array.from({ length: 30 }, () => [1, 2]);
    await expect(languageSeriesModel(model).predict([long], { digits: 2, after: 'last' })).rejects.toThrow(
      /its context has 40/,
    );
    const pairs = languageSeriesModel(await languageModel(true), { digitsPerToken: 2 });
    await expect(pairs.predict(series, { digits: 3, after: 'last' })).rejects.toThrow(/not a whole number of tokens/);
  });
});

describe('pendulum', () => {
  interface Episode {
    start: [number, number];
    actions: number[];
    steps: number[];
    observations: number[][];
    rewards: number[];
    return: number;
    truncated: number;
  }

  it.each(readGolden<Episode[]>('pendulum.json', 'dicl'))('goes as that of Gymnasium from $start', async (given) => {
    const episode = await pendulum({ start: given.start }).start({ sample: 0, step: 0, key: Key.fromSeed(0) });
    const steps = await Promise.all(given.actions.map((action) => episode.step([action])));
    given.steps.forEach((t, i) => {
      expectClose(Array.from(steps[t]!.observation), given.observations[i]!, 1e-6, `step ${t}`);
      expect(steps[t]!.reward).toBeCloseTo(given.rewards[i]!, 6);
    });
    expect(steps.reduce((sum, { reward }) => sum + reward, 0) / given.return).toBeCloseTo(1, 8);
    expect(steps.map(({ truncated }) => truncated).indexOf(true)).toBe(given.truncated);
  });

  it('is worth what its observations say, and swings alike on both sides', async () => {
    const start = async (angle: number) => {
      const episode = await pendulum({ start: [angle, 0.4 * angle] }).start({
        sample: 0,
        step: 0,
        key: Key.fromSeed(0),
      });
      let [seen, last] = [episode.observation, 0];
      for (const sign of [1, 0.5, -0.7]) {
        const { observation, reward } = await episode.step([Math.sign(angle) * sign]);
        expect(pendulumReward(seen, [Math.sign(angle) * sign])).toBeCloseTo(reward, 5);
        [seen, last] = [observation, reward];
      }
      return [...Array.from(seen, Math.abs), last];
    };
    expectClose(await start(-2), await start(2), 1e-12);
  });
});

/** A place on a line, pushed by −1 to 1; the nearer to 0, the better. Cut off after five steps. */
const line: NumericEnvironment = {
  name: 'line',
  settings: {},
  observationSize: 1,
  actions: { kind: 'box', low: [-1], high: [1] },
  start({ key }) {
    let [place, steps] = [2 * key.uniformHost(1)[0]! - 1, 0];
    return {
      observation: [place],
      step(action) {
        place += (action as number[])[0]!;
        steps++;
        return { observation: [place], reward: -(place ** 2), terminated: false, truncated: steps === 5 };
      },
    };
  },
};
const small: SoftActorCriticOptions = {
  ...{ environment: line, steps: 40, learningStarts: 20, batchSize: 8, hidden: [8], learningRate: 0.01, seed: 3 },
};

describe('softActorCritic', () => {
  interface Golden {
    gamma: number;
    tau: number;
    learning_rate: number;
    target_entropy: number;
    first: Record<string, number[] | number[][]>;
    batches: Record<'observations' | 'actions' | 'rewards' | 'next_observations' | 'dones', number[][]>[];
    noises: number[][][][];
    results: { actor_loss: number; critic_loss: number; ent_coef: number; ent_coef_loss: number }[];
    gradients: Record<string, number[] | number[][]>;
    last: Record<string, number[] | number[][]>;
  }
  const golden = readGolden<Golden>('sac.json', 'dicl');

  /** The names of Stable-Baselines3 to ours, the two last layers of the actor being one. */
  const numbersOf = (given: Golden['first'], part: 'actor' | 'critic' | 'target') => {
    const flat = (name: string) => (given[name] as number[]).flat(9) as number[];
    const kinds = ['weight', 'bias'] as const;
    const named: [string, number[]][] =
      part === 'actor'
        ? kinds.flatMap((kind) => [
            [`actor.0.${kind}`, flat(`actor.latent_pi.0.${kind}`)],
            [`actor.1.${kind}`, flat(`actor.latent_pi.2.${kind}`)],
            [`actor.2.${kind}`, [...flat(`actor.mu.${kind}`), ...flat(`actor.log_std.${kind}`)]],
          ])
        : ['qf0', 'qf1'].flatMap((q) =>
            kinds.flatMap((kind) =>
              [0, 1, 2].map((i): [string, number[]] => [`${q}.${i}.${kind}`, flat(`${part}.${q}.${2 * i}.${kind}`)]),
            ),
          );
    return Object.fromEntries(named);
  };
  const tensorsOf = (part: 'actor' | 'critic'): Named =>
    Object.fromEntries(
      Object.entries(numbersOf(golden.first, part)).map(([name, values]) => {
        const out = name.includes('.2.') ? (part === 'actor' ? 2 : 1) : 8;
        return [name, tensor(values, name.endsWith('bias') ? [out] : [out, values.length / out])];
      }),
    );
  const batchOf = (i: number): TransitionBatch => {
    const batch = golden.batches[i]!;
    const b = batch.rewards.length;
    return {
      ...{ observations: tensor(batch.observations), actions: tensor(batch.actions), rewards: tensor(batch.rewards) },
      ...{ nextObservations: tensor(batch.next_observations), dones: tensor(batch.dones) },
      weights: tensor(new Array<number>(b).fill(1 / b), [b, 1]),
      ...{ noise: tensor(golden.noises[i]![0]!), nextNoise: tensor(golden.noises[i]![1]!) },
    };
  };
  const logAlpha = () => ({ log_alpha: tensor(golden.first.log_ent_coef as number[]) });
  const expectNamed = async (found: Named, wanted: Record<string, number[]>, tolerance: number) => {
    expect(Object.keys(found).sort()).toEqual(Object.keys(wanted).sort());
    for (const [name, x] of Object.entries(found))
      expectClose(Array.from(await x.data()), wanted[name]!, tolerance, name);
  };

  it('has the losses and gradients of Stable-Baselines3', async () => {
    const [actor, critic, batch] = [tensorsOf('actor'), tensorsOf('critic'), batchOf(0)];
    const alpha = scalar(golden.results[0]!.ent_coef);
    const ofCritic = valueAndGrad((own: Named) =>
      criticLoss(own, { actor, target: critic }, batch, alpha, golden.gamma),
    )(critic);
    expect(await ofCritic.value.item()).toBeCloseTo(golden.results[0]!.critic_loss, 5);
    await expectNamed(ofCritic.gradient, numbersOf(golden.gradients, 'critic'), 2e-6);
    const { logProbs } = squashedGaussian(actor, batch.observations, batch.noise);
    const temperature = temperatureLoss(logAlpha(), logProbs, batch.weights, golden.target_entropy);
    expect(await temperature.item()).toBeCloseTo(golden.results[0]!.ent_coef_loss, 5);
  });

  it('updates as Stable-Baselines3, three times', async () => {
    const optimizer = adam();
    const [actor, critic, temperature] = [tensorsOf('actor'), tensorsOf('critic'), logAlpha()];
    const optimizers = {
      actor: optimizer.init(actor),
      critic: optimizer.init(critic),
      temperature: optimizer.init(temperature),
    };
    let state: Parameters<typeof softActorCriticUpdate<ReturnType<typeof optimizer.init>>>[0] = {
      ...{ actor, critic, target: critic, temperature, optimizers },
    };
    const settings = {
      optimizer,
      gamma: golden.gamma,
      tau: golden.tau,
      targetEntropy: golden.target_entropy,
      learnsAlpha: true,
    };
    const update = compile((before: typeof state, batch: TransitionBatch, rate: Tensor) =>
      softActorCriticUpdate(before, batch, settings, { actor: rate, critic: rate, temperature: rate }),
    );
    const rate = scalar(golden.learning_rate);
    for (const [i, wanted] of golden.results.entries()) {
      const { actor: before } = state;
      const result = await update(state, batchOf(i), rate);
      const { critic: q, actor: pi, temperature: t, alpha } = result.losses;
      expect(await q.item()).toBeCloseTo(wanted.critic_loss, 4);
      expect(await pi.item()).toBeCloseTo(wanted.actor_loss, 4);
      expect(await t.item()).toBeCloseTo(wanted.ent_coef_loss, 4);
      expect(await alpha.item()).toBeCloseTo(wanted.ent_coef, 6);
      if (i === 0) {
        const gradient = grad((own: Named) => actorLoss(own, result.state.critic, batchOf(0), alpha))(before);
        await expectNamed(gradient, numbersOf(golden.gradients, 'actor'), 5e-6);
      }
      state = result.state;
    }
    await expectNamed(state.actor, numbersOf(golden.last, 'actor'), 2e-5);
    await expectNamed(state.critic, numbersOf(golden.last, 'critic'), 2e-5);
    await expectNamed(state.target, numbersOf(golden.last, 'target'), 2e-5);
    expectClose(Array.from(await state.temperature.log_alpha!.data()), golden.last.log_ent_coef as number[], 1e-5);
  });

  it('a squashed Gaussian is a distribution: its density over actions sums to 1', async () => {
    // An actor that says the same whatever it sees: mean 0.3, deviation 0.7.
    const actor = { 'actor.0.weight': tensor([[0], [0]]), 'actor.0.bias': tensor([0.3, Math.log(0.7)]) };
    const count = 20_000;
    const noise = Array.from({ length: count }, (_, i) => -8 + (16 * (i + 0.5)) / count);
    const column = (values: readonly number[]) => tensor([...values], [values.length, 1]);
    const { actions, logProbs } = squashedGaussian(actor, column(noise.map(() => 1)), column(noise));
    const [a, logs]: [number[], number[]] = [Array.from(await actions.data()), Array.from(await logProbs.data())];
    const total = a
      .slice(1)
      .reduce((sum, x, i) => sum + ((x - a[i]!) * (Math.exp(logs[i]!) + Math.exp(logs[i + 1]!))) / 2, 0);
    expect(total).toBeCloseTo(1, 3);
  });

  it('is the same from the same seed, and with imagined transitions of which it takes none', async () => {
    const asked: number[] = [];
    const imagined = (share: number) => ({
      name: 'asked',
      share,
      async imagine({
        step,
        replay,
      }: {
        step: number;
        replay: { at(i: number): ReturnType<ReturnType<typeof replayBuffer>['at']> };
      }) {
        asked.push(step);
        return [{ ...replay.at(0), reward: 100 }];
      },
    });
    const run = async (more: Partial<SoftActorCriticOptions>) => {
      const { returns, last, parameters } = await softActorCritic({ ...small, ...more });
      return { returns, last, bias: await (parameters.critic['qf0.1.bias'] as Tensor).toArray() };
    };
    const plain = await run({});
    expect(plain.returns.length).toBe(8);
    expect(plain.last.updates).toBe(20);
    expect(await run({ imagined: imagined(0) })).toEqual(plain);
    expect(asked).toEqual([]);
    expect((await run({ imagined: imagined(0.5) })).bias).not.toEqual(plain.bias);
    expect(asked.length).toBe(20);
    expect((await run({ seed: 4 })).bias).not.toEqual(plain.bias);
  });

  it('stopped in an episode and resumed from a file ends with the numbers of a run that was not, imagined ones too', async () => {
    const imagined = {
      name: 'first',
      share: 0.5,
      imagine: async ({ replay }: { replay: ReturnType<typeof replayBuffer> }) => [{ ...replay.at(0), reward: 1 }],
    };
    const numbers = async ({ returns, last, parameters }: Awaited<ReturnType<typeof softActorCritic>>) => {
      // Those of the optimizers too.
      const { tensors } = splitState(await copyState(parameters, 'it'));
      return { returns, last, all: await Promise.all(Object.values(tensors).map((x) => x.toArray())) };
    };
    // Files have float32, and so must the engine. A small buffer, which has gone round.
    setEngine(onnxruntimeEngine());
    onTestFinished(() => setEngine(referenceEngine()));
    const given = { ...small, imagined, bufferSize: 16 };
    const straight = await numbers(await softActorCritic(given));

    // Stopped by its environment, in the middle of the seventh episode.
    const saved: SoftActorCriticCheckpoint[] = [];
    let calls = 0;
    const dies: NumericEnvironment = {
      ...line,
      async start(context) {
        const episode = await line.start(context);
        const step: typeof episode.step = (action) => {
          if (++calls === 33) throw new Error('the environment is gone');
          return episode.step(action);
        };
        return { ...episode, step };
      },
    };
    const onCheckpoint = async (one: SoftActorCriticCheckpoint) =>
      void saved.push((await savedState(one)) as SoftActorCriticCheckpoint);
    const stopped = softActorCritic({ ...given, environment: dies, checkpointEpisodes: 2, onCheckpoint });
    await expect(stopped).rejects.toThrow('the environment is gone');
    expect(saved.map(({ step, updates }) => [step, updates])).toEqual([
      [10, 0],
      [20, 0],
      [30, 10],
    ]);
    // From before the first update and from the last one, twice: a checkpoint is not used up.
    for (const checkpoint of [saved[0]!, saved[2]!, saved[2]!])
      expect(await numbers(await softActorCritic({ ...given, checkpoint }))).toEqual(straight);

    const checkpoint = saved.at(-1)!;
    await expect(softActorCritic({ ...given, checkpoint, tau: 0.5 })).rejects.toThrow(/a run with other options/);
    await expect(softActorCritic({ ...given, checkpoint, steps: 29 })).rejects.toThrow(/of step 30, and steps is 29/);
    await expect(softActorCritic({ ...given, checkpoint: {} as never })).rejects.toThrow(/checkpoint/);
  });

  it.each<[string, Partial<SoftActorCriticOptions>, RegExp]>([
    ['choices', { environment: { ...line, actions: { kind: 'discrete', count: 2 } } }, /vectors within bounds/],
    [
      'bounds with nothing between',
      { environment: { ...line, actions: { kind: 'box', low: [1], high: [1] } } },
      /below its upper one/,
    ],
    ['an option that it has not', { batchsize: 3 } as never, /batchSize/],
    ['a stopped signal', { signal: AbortSignal.abort() }, /stopped by its signal after 0 steps/],
    [
      'rewards that are no numbers',
      {
        environment: {
          ...line,
          start: () => ({
            observation: [0],
            step: () => ({ observation: [0], reward: Number.NaN, terminated: false, truncated: true }),
          }),
        },
      },
      /loss is no number/,
    ],
  ])('refuses %s', async (_, more, message) => {
    await expect(softActorCritic({ ...small, ...more })).rejects.toThrow(message);
  });

  it('remembers the last transitions, and windows of one episode', () => {
    const buffer = replayBuffer({ capacity: 7 });
    expect(() => buffer.sample(1, Key.fromSeed(0))).toThrow(/no transition/);
    for (let i = 0; i < 10; i++)
      buffer.add({
        observation: [i],
        action: [0],
        reward: i,
        nextObservation: [i + 1],
        terminated: false,
        isLast: i % 4 === 3,
      });
    expect(Array.from({ length: 7 }, (_, i) => buffer.at(i).reward)).toEqual([3, 4, 5, 6, 7, 8, 9]);
    // Episodes end at 3 and 7.
    const windows = Array.from({ length: 40 }, (_, i) =>
      buffer
        .window(3, Key.fromSeed(i))!
        .map(({ reward }) => reward)
        .join(),
    );
    expect([...new Set(windows)].sort()).toEqual(['4,5,6', '5,6,7']);
    expect(buffer.window(5, Key.fromSeed(1))).toBeUndefined();
    expect(new Set(buffer.sample(200, Key.fromSeed(1)).map(({ reward }) => reward)).size).toBe(7);
  });

  it('learns to stay in the middle of a line', async () => {
    const worth = async (steps: number) => {
      const { policy } = await softActorCritic({ ...small, steps, batchSize: 16, initialAlpha: 0.1, hidden: [16] });
      const played = await play({ environment: line, policy, episodes: 32, maxSteps: 5, seed: 9 });
      return played.reduce((sum, one) => sum + returnOf(one) / 32, 0);
    };
    // The best is 0: the middle is one step away.
    const [before, after] = [await worth(21), await worth(180)];
    expect(after).toBeGreaterThan(-0.3);
    expect(after).toBeGreaterThan(before + 0.5);
  });
});

/** Says that the next number is the last one, within a cell. */
const persistence = modelOf((numbers, digits) =>
  massesOf(digits, (x) => (Math.abs(x - numbers.at(-1)!) < 0.6 * 10 ** (1 - digits) ? 1 : 0)),
);

describe('diclSac', () => {
  const asked: number[][][] = [];
  const spied: typeof persistence = {
    name: 'spied',
    predict(series, request) {
      asked.push(...series.map((own) => own.map((number) => [...number])));
      return persistence.predict(series, request);
    },
  };
  const given = { ...small, contextLength: 4, every: 5, dynamics: vicl({ model: spied }) };
  const trace = async (run: ReturnType<typeof softActorCritic>) => {
    const { returns, last, parameters } = await run;
    return { returns, last, actor: await (parameters.actor['actor.0.weight'] as Tensor).toArray() };
  };

  it('with a share of 0 is SAC, number by number', async () => {
    asked.length = 0;
    expect(await trace(diclSac({ ...given, share: 0 }))).toEqual(await trace(softActorCritic(small)));
    expect(asked).toEqual([]);
  });

  it.each([
    [{ share: 0.5, every: 5 }, 4],
    // Of the steps from 21 to 40 the first alone.
    [{ share: 0.5, every: 21, features: 'states and actions', actions: 'drawn', keep: 0.5 }, 2],
  ] as const)('with %j learns something else, from one episode at a time', async (more, series) => {
    asked.length = 0;
    const plain = await trace(softActorCritic(small));
    const found = await trace(diclSac({ ...given, ...more }));
    expect(found.actor).not.toEqual(plain.actor);
    // A context of four numbers for each dimension.
    expect(asked.map(({ length }) => length)).toEqual(new Array(series).fill(4));
  });
});

describe('hybridPolicyEvaluation', () => {
  const trajectory: Trajectory = {
    observations: [[0], [1], [2], [3]],
    actions: [[0.5], [0.5], [0.5], [0.5]],
    rewards: [1, 2, 3, 4],
  };
  const dynamics = vicl({ model: persistence });
  const real = 1 + 2 * 0.9 + 3 * 0.81 + 4 * 0.729;

  it('without predicted steps is the return of what was seen', async () => {
    const { value, predicted } = await hybridPolicyEvaluation([trajectory], { dynamics, steps: 0, gamma: 0.9 });
    expect([value, predicted]).toEqual([expect.closeTo(real, 12), [0]]);
  });

  it("goes on with rewards of predicted rows, its own or a function's", async () => {
    const options = { dynamics, steps: 2, gamma: 0.9 };
    const own = await hybridPolicyEvaluation([trajectory], options);
    expect(own.predicted[0]).toBeCloseTo(4 * (0.9 ** 4 + 0.9 ** 5), 1);
    const { value, predicted } = await hybridPolicyEvaluation([trajectory, trajectory], {
      ...options,
      reward: ([x], [a]) => x! + a!,
    });
    expect(predicted[1]).toBeCloseTo(3.5 * (0.9 ** 4 + 0.9 ** 5), 1);
    expect(value).toBeCloseTo(real + predicted[0]!, 9);
    await expect(hybridPolicyEvaluation([], options)).rejects.toThrow(/no trajectory/);
  });
});

describe('the multi-branch return', () => {
  const [states, actions, gamma] = [4, 2, 0.9];
  const table = (seed: number, start = 0) => {
    const u = Key.fromSeed(seed).uniformHost(states * actions * (states + 2));
    return (state: number, action: number) => {
      const own = Array.from(
        u.slice((state * actions + action) * (states + 2), (state * actions + action + 1) * (states + 2)),
        (x) => x ** 3,
      );
      // The fifth may be the end of the episode.
      const weights = own.slice(0, states + 1);
      const sum = weights.reduce((a, b) => a + b);
      return weights.map((w, next) => ({
        probability: w / sum,
        reward: 2 * u[state * actions + action]! - 1,
        next: next === states ? null : next + start,
      }));
    };
  };
  const mdpOf = (seed: number): FiniteMdp =>
    finiteMdp({
      ...{ name: `random ${seed}`, states, actions, gamma, start: [0.5, 0.5, 0, 0] },
      outcomes: table(seed),
    });
  /** The process with each next state drawn from another one with a probability: its error is at most that. */
  const mixed = (mdp: FiniteMdp, other: FiniteMdp, share: number): FiniteMdp => ({
    ...mdp,
    outcomes: (s, a) => [
      ...mdp.outcomes(s, a).map((one) => ({ ...one, probability: one.probability * (1 - share) })),
      ...other.outcomes(s, a).map((one) => ({ ...one, probability: one.probability * share })),
    ],
  });
  const policy = Array.from({ length: states }, (_, s) => [0.2 + 0.15 * s, 0.8 - 0.15 * s]);

  it('is within the bound in 300 enumerated processes with planted errors, and comes near it', () => {
    let closest = 0;
    for (let seed = 0; seed < 60; seed++) {
      const mdp = mdpOf(seed);
      const value = policyValues(mdp, policy).value;
      const maxReward = Math.max(
        ...policy.map((row, s) => Math.abs(row.reduce((sum, p, a) => sum + p * mdp.outcomes(s, a)[0]!.reward, 0))),
      );
      for (const [context, length, share, planted] of [
        [0, 1, 1, 0.3],
        [1, 1, 0.5, 1],
        [2, 3, 0.3, 0.1],
        [5, 2, 0.5, 0.6],
        [1, 4, 0.25, 0.2],
      ] as const) {
        const model = mixed(mdp, mdpOf(1000 + seed), planted);
        const error = transitionError(mdp, model, policy);
        expect(error).toBeLessThanOrEqual(planted + 1e-12);
        const gap = Math.abs(multiBranchReturn(mdp, model, policy, { context, length, share }) - value);
        const bound = multiBranchReturnBound({ context, length, share, gamma, maxReward, error });
        expect(gap).toBeLessThanOrEqual(bound);
        closest = Math.max(closest, gap / bound);
      }
    }
    // It is no bound that anything would keep.
    expect(closest).toBeGreaterThan(0.05);
  });

  it.each([
    { length: 0, share: 0.7 },
    { length: 3, share: 0 },
  ])("with %j is the policy's own, and the bound 0", (given) => {
    const [mdp, model] = [mdpOf(1), mdpOf(2)];
    expect(multiBranchReturn(mdp, model, policy, { context: 1, ...given })).toBeCloseTo(
      policyValues(mdp, policy).value,
      10,
    );
    expect(multiBranchReturnBound({ context: 1, ...given, gamma, maxReward: 1, error: 1 })).toBe(0);
  });

  it('by hand: every state is imagined from the one before, in a chain of two', () => {
    // It stays in state 0, which is worth 0; the model says that it goes to state 1, worth 1.
    const to = (next: number) => (_state: number) => [{ probability: 1, reward: _state, next }];
    const chain = { name: 'two', states: 2, actions: 1, start: [1, 0], gamma: 0.5 };
    const found = multiBranchReturn({ ...chain, outcomes: to(0) }, { ...chain, outcomes: to(1) }, [[1], [1]], {
      context: 2,
      length: 1,
      share: 1,
    });
    // From t = 2 on it is 1: 0.5² / (1 − 0.5).
    expect(found).toBeCloseTo(0.5, 12);
  });

  it('refuses what is no distribution, and another process', () => {
    const mdp = mdpOf(1);
    expect(() => multiBranchReturn(mdp, mdp, policy, { context: 0, length: 3, share: 0.5 })).toThrow(
      /more than all states/,
    );
    expect(() => transitionError(mdp, { ...mdp, states: 5 }, policy)).toThrow(/its model 5 and 2/);
    expect(() => multiBranchReturn({ ...mdp, gamma: 1 }, mdp, policy, { context: 0, length: 1, share: 1 })).toThrow(
      /gamma is 1/,
    );
  });
});
