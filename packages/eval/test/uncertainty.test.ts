import { readFileSync } from 'node:fs';
import {
  type Entailer,
  type Generator,
  type Scorer,
  sameTextEntailer,
  type TrainableRow,
  unigramTrainer,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  auroc,
  liraAttack,
  liraScores,
  memorization,
  semanticEntropy,
  subsetInfluence,
  truePositiveRate,
  uncertaintyLatency,
} from '../src/index.js';

const golden = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/features/${name}.json`, import.meta.url), 'utf8')) as T;

const sure = { entailment: 1, neutral: 0, contradiction: 0 };
const unsure = { entailment: 0, neutral: 1, contradiction: 0 };

describe('semanticEntropy', () => {
  interface Case {
    readonly clusters: number[];
    readonly tokens: number[];
    readonly log_probs: number[];
    readonly normalized: number;
    readonly summed: number;
    readonly discrete: number;
  }

  it.each(golden<Case[]>('semantic-entropy'))('is that of torch for clusters $clusters', async (given) => {
    const { clusters, log_probs, tokens } = given;
    const answers = clusters.map((c, i) => ({ text: `${c}`, logProb: log_probs[i]!, tokens: tokens[i]! }));
    const found = await semanticEntropy(answers, { entailer: sameTextEntailer });
    expect(found.clusters).toEqual(clusters);
    expect(found.weighted).toBeCloseTo(given.normalized, 12);
    expect(found.entropy).toBe(found.weighted);
    expect(found.discrete).toBeCloseTo(given.discrete, 12);
    const summed = await semanticEntropy(answers, { entailer: sameTextEntailer, lengthNormalized: false });
    expect(summed.weighted).toBeCloseTo(given.summed, 12);
  });

  it('by hand: three of four answers mean Paris, whatever they say, and those are one meaning with 6 of 7 parts', async () => {
    const meaning = (text: string) => (/paris|capital of france/i.test(text) ? 'paris' : text);
    const asked: string[] = [];
    const entailer: Entailer = {
      name: 'by meaning',
      entail: async (requests) =>
        requests.map(({ premise, hypothesis }) => {
          asked.push(premise);
          return meaning(premise) === meaning(hypothesis) ? sure : unsure;
        }),
    };
    const answers = [
      { text: 'Paris', logProb: Math.log(0.2), tokens: 1 },
      { text: 'Lyon', logProb: Math.log(0.1), tokens: 1 },
      { text: 'It is Paris', logProb: Math.log(0.3), tokens: 1 },
      { text: 'The capital of France', logProb: Math.log(0.1), tokens: 1 },
    ];
    const found = await semanticEntropy(answers, { entailer, question: 'Where is the Louvre?' });
    expect(found.clusters).toEqual([0, 1, 0, 0]);
    expect(found.weighted).toBeCloseTo(-(6 / 7) * Math.log(6 / 7) - (1 / 7) * Math.log(1 / 7), 12);
    expect(found.discrete).toBeCloseTo(-(3 / 4) * Math.log(3 / 4) - (1 / 4) * Math.log(1 / 4), 12);
    expect(asked[0]).toBe('Where is the Louvre? Paris');
  });

  it('has the looser equivalence of the authors’ code: clusters of their get_semantic_ids', async () => {
    const { cases } = JSON.parse(
      readFileSync(new URL('../../../goldens/diagnostics/semantic-ids.json', import.meta.url), 'utf8'),
    ) as { cases: { table: number[][]; strict: number[]; loose: number[] }[] };
    for (const { table, strict, loose } of cases) {
      const classes = ['contradiction', 'neutral', 'entailment'];
      const entailer: Entailer = {
        name: 'table',
        entail: async (requests) =>
          requests.map(({ premise, hypothesis }) => ({
            ...{ contradiction: 0.1, neutral: 0.1, entailment: 0.1 },
            [classes[table[Number(premise)]![Number(hypothesis)]!]!]: 0.8,
          })),
      };
      const answers = table.map((_, i) => ({ text: `${i}` }));
      const clustersBy = async (more: object) => (await semanticEntropy(answers, { entailer, ...more })).clusters;
      expect(await clustersBy({})).toEqual(strict);
      expect(await clustersBy({ equivalence: 'no contradiction' })).toEqual(loose);
    }
  });

  it('is log k for k meanings that are as likely, and 0 for one; splitting a meaning never lowers it', async () => {
    const entropy = async (texts: readonly string[]) =>
      (
        await semanticEntropy(
          texts.map((text) => ({ text })),
          { entailer: sameTextEntailer },
        )
      ).entropy;
    for (const k of [1, 2, 7])
      expect(await entropy(Array.from({ length: k }, (_, i) => `${i}`))).toBeCloseTo(Math.log(k));
    const random = createRandom(4);
    for (let i = 0; i < 30; i++) {
      const texts = Array.from({ length: 8 }, () => `${random.integer(0, 3)}`);
      const split = texts.map((text) => (text === '0' ? `0${random.pick(['a', 'b'])}` : text));
      expect(await entropy(split)).toBeGreaterThanOrEqual((await entropy(texts)) - 1e-12);
    }
  });

  it('tells answers that were made up from those that are known, as log-likelihoods alone cannot', async () => {
    // Known: one meaning in many words. Made up: as many words and meanings.
    const random = createRandom(5);
    const scores: number[] = [];
    const madeUp: boolean[] = [];
    const meaning = (text: string): string | undefined => text.split(' ').at(-1);
    const entailer: Entailer = {
      name: 'last word',
      entail: async (requests) =>
        requests.map(({ premise, hypothesis }) => (meaning(premise) === meaning(hypothesis) ? sure : unsure)),
    };
    for (let i = 0; i < 40; i++) {
      const isMadeUp = i % 2 === 0;
      const answers = Array.from({ length: 6 }, (_, j) => ({
        text: `${j} ${isMadeUp ? random.integer(0, 9) : random.integer(0, 9) === 0 ? 'other' : 'same'}`,
      }));
      scores.push((await semanticEntropy(answers, { entailer })).entropy);
      madeUp.push(isMadeUp);
      expect((await semanticEntropy(answers, { entailer: sameTextEntailer })).entropy).toBeCloseTo(Math.log(6), 10);
    }
    expect(auroc(scores, madeUp).value).toBeGreaterThan(0.95);
  });

  it('refuses no answers, and answers of which only some have what weighs them', async () => {
    const options = { entailer: sameTextEntailer };
    await expect(semanticEntropy([], options)).rejects.toThrow(/no answers/);
    const some = [{ text: 'a', logProb: -1, tokens: 2 }, { text: 'b' }];
    await expect(semanticEntropy(some, options)).rejects.toThrow(/answer 1 needs a finite logProb and its number/);
    const bare = [{ text: 'a', logProb: -1 }];
    await expect(semanticEntropy(bare, options)).rejects.toThrow(/answer 0/);
    expect((await semanticEntropy(bare, { ...options, lengthNormalized: false })).entropy).toBe(0);
    await expect(semanticEntropy(bare, {} as never)).rejects.toThrow(/entailer is missing/);
  });
});

describe('auroc', () => {
  it('is the share of pairs in order, ties the half, and of scores without meaning as uncertain as it says', () => {
    const random = createRandom(6);
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const scores = Array.from({ length: 60 }, () => random.integer(0, 20));
      const labels = scores.map((_, i) => i % 3 === 0);
      const { value, interval } = auroc(scores, labels);
      let inOrder = 0;
      for (const [i, x] of scores.entries()) {
        for (const [j, y] of scores.entries()) {
          if (labels[i] && !labels[j]) inOrder += x > y ? 1 : x === y ? 0.5 : 0;
        }
      }
      expect(value).toBeCloseTo(inOrder / (20 * 40), 12);
      if (interval![0] <= 0.5 && interval![1] >= 0.5) covered++;
      expect(
        auroc(
          scores.map((x) => -x),
          labels,
        ).value,
      ).toBeCloseTo(1 - value, 12);
    }
    // 95 % of 200, within three standard deviations.
    expect(covered).toBeGreaterThan(180);
    expect(covered).toBeLessThan(200);
  });

  it('of normal distributions one apart is Φ(1/√2), and the true positives at a rate are those of the normal law', () => {
    const random = createRandom(7);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
    const labels = Array.from({ length: 8000 }, (_, i) => i % 2 === 0);
    const scores = labels.map((label) => normal() + Number(label));
    const { value, interval } = auroc(scores, labels);
    expect(Math.abs(value - 0.7602)).toBeLessThan(0.02);
    expect(interval![1] - interval![0]).toBeLessThan(0.03);
    // P(Z > 1.645 − 1) = 0.2595.
    expect(Math.abs(truePositiveRate(scores, labels, 0.05) - 0.2595)).toBeLessThan(0.03);
    expect(truePositiveRate(scores, labels, 1)).toBe(1);
    expect(truePositiveRate([1, 2, 2], [true, true, false], 0)).toBe(0);
  });

  it('refuses what is no comparison', () => {
    expect(() => auroc([1, 2], [true])).toThrow(/a label for each score/);
    expect(() => auroc([1, 2], [true, true])).toThrow(/2 positives and 0 negatives/);
    expect(() => auroc([1, Number.NaN], [true, false])).toThrow(/auroc/);
    expect(() => truePositiveRate([1, 2], [true, false], 2)).toThrow(/falsePositiveRate is 2/);
    expect(auroc([2, 1], [true, false])).toEqual({ value: 1, standardError: null, interval: null });
  });
});

describe('liraAttack', () => {
  interface Lira {
    readonly members: boolean[][];
    readonly shadows: number[][];
    readonly target: number[];
    readonly row: { readonly online: number[]; readonly offline: number[] };
    readonly global: { readonly online: number[]; readonly offline: number[] };
  }
  const lira = golden<Lira>('lira');

  it.each(['row', 'global'] as const)('has the likelihood ratios of torch, variance of each %s', (variance) => {
    const { target, shadows, members } = lira;
    const online = liraScores({ target, shadows, members, variance });
    online.forEach((score, i) => {
      expect(score).toBeCloseTo(lira[variance].online[i]!, 10);
    });
    liraScores({ target, shadows, variance }).forEach((score, i) => {
      expect(normalCdf(score)).toBeCloseTo(lira[variance].offline[i]!, 6);
    });
  });

  const words = Array.from({ length: 400 }, (_, i) => `w${i}`);
  /** Rows of four words by chance; half of the first 60 were trained on. */
  const worldOf = async (seed: number) => {
    const random = createRandom(seed, 'lira');
    const row = (): TrainableRow => ({
      prompt: '',
      completion: Array.from({ length: 4 }, () => random.pick(words)).join(' '),
    });
    const rows = Array.from({ length: 60 }, row);
    const isMember = rows.map((_, i) => i % 2 === 0);
    const target = await unigramTrainer.train(rows.filter((_, i) => isMember[i]));
    return { rows, target, isMember, population: Array.from({ length: 60 }, row), outsider: row };
  };
  /** The mean over three seeds and the half of its 95 % interval (Student, 2 degrees of freedom). */
  const over = (values: readonly number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1);
    return { mean, half: 4.303 * Math.sqrt(variance / values.length) };
  };

  it.each(['online', 'offline'] as const)(
    'finds members %s, and cannot tell rows that were not trained on apart',
    async (mode) => {
      const [found, control]: [number[], number[]] = [[], []];
      for (const seed of [1, 2, 3]) {
        const { rows, target, isMember, population, outsider } = await worldOf(seed);
        // Shadow models of as many rows as the target.
        const others = mode === 'offline' ? { population } : {};
        const attack = { trainer: unigramTrainer, mode, shadows: 16, seed, ...others };
        const { scores, confidences } = await liraAttack({ ...attack, target, rows });
        expect(confidences.length).toBe(60);
        found.push(auroc(scores, isMember).value);
        // Twins: nobody was a member, and the labels mean nothing.
        const twins = rows.map(outsider);
        control.push(auroc((await liraAttack({ ...attack, target, rows: twins })).scores, isMember).value);
      }
      const [hit, none] = [over(found), over(control)];
      expect(hit.mean - hit.half).toBeGreaterThan(0.75);
      expect(Math.abs(none.mean - 0.5)).toBeLessThan(none.half + 0.05);
      expect(none.mean).toBeLessThan(0.65);
    },
  );

  it('trains each row into half of the shadow models online, and into none offline', async () => {
    const { rows, target, population } = await worldOf(1);
    const trained: (readonly TrainableRow[])[] = [];
    const seeds: (number | undefined)[] = [];
    const trainer = {
      name: 'recording',
      train: async (some: readonly TrainableRow[], options: { readonly seed?: number } = {}): Promise<Scorer> => {
        trained.push(some);
        seeds.push(options.seed);
        return unigramTrainer.train(some);
      },
    };
    const stages: (number | undefined)[] = [];
    await liraAttack({ target, trainer, rows, shadows: 6, seed: 10, onProgress: ({ done }) => stages.push(done) });
    for (const row of rows) expect(trained.filter((some) => some.includes(row)).length).toBe(3);
    expect(seeds).toEqual([10, 11, 12, 13, 14, 15]);
    expect(stages).toEqual([1, 2, 3, 4, 5, 6]);
    trained.length = 0;
    await liraAttack({ target, trainer, rows, population, mode: 'offline', shadows: 4 });
    expect(trained.map(({ length }) => length)).toEqual([30, 30, 30, 30]);
    expect(trained.flat().some((row) => rows.includes(row))).toBe(false);
  });

  it('refuses what it cannot attack with', async () => {
    const { rows, target } = await worldOf(1);
    const given = { target, trainer: unigramTrainer, rows };
    await expect(liraAttack({ ...given, mode: 'offline' })).rejects.toThrow(/0 rows to train shadow models on/);
    await expect(liraAttack({ ...given, shadows: 1 })).rejects.toThrow(/shadows is 1/);
    await expect(liraAttack({ ...given, rows: [] })).rejects.toThrow(/rows is/);
    await expect(liraAttack({ ...given, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    const dumb = { name: 'dumb', score: async () => [] };
    await expect(liraAttack({ ...given, target: dumb })).rejects.toThrow(/dumb returned 0 scores/);
    const lists = { target: [1, 2], shadows: [[1, 2]], variance: 'row' } as const;
    expect(() => liraScores({ ...lists, target: [1] })).toThrow(/one entry for each row/);
    expect(() => liraScores({ ...lists, members: [[true, false]] })).toThrow(/row 0 is in all shadow models/);
  });
});

/** Φ by the integral of its density. */
function normalCdf(z: number): number {
  const steps = 4000;
  const width = (z + 12) / steps;
  let sum = 0;
  for (let i = 0; i < steps; i++) sum += Math.exp(-((-12 + (i + 0.5) * width) ** 2) / 2);
  return (sum * width) / Math.sqrt(2 * Math.PI);
}

describe('memorization', () => {
  it('has the masked means of torch', () => {
    const { members, values, influence } = golden<{
      readonly members: boolean[][];
      readonly values: number[][];
      readonly influence: number[][];
    }>('memorization');
    subsetInfluence(members, values).forEach((row, i) => {
      row.forEach((value, j) => {
        expect(value).toBeCloseTo(influence[i]![j]!, 12);
      });
    });
  });

  it('over all parts of a size is the effect of a row less the mean of the others’, where effects add up', () => {
    // p_j = Σ_{i in S} a_ij. Given that i is in S, each other row is in it with (k-1)/(n-1), and else with k/(n-1).
    const [n, k] = [5, 3];
    const effects = Array.from({ length: n }, (_, i) => [Math.sin(1 + i), Math.cos(2 * i)]);
    const parts = Array.from({ length: 2 ** n }, (_, bits) => effects.map((__, i) => ((bits >> i) & 1) === 1)).filter(
      (part) => part.filter(Boolean).length === k,
    );
    const values = parts.map((part) =>
      [0, 1].map((j) => effects.reduce((sum, a, i) => sum + (part[i] ? a[j]! : 0), 0)),
    );
    subsetInfluence(parts, values).forEach((row, i) => {
      row.forEach((value, j) => {
        const others = effects.reduce((sum, a, l) => sum + (l === i ? 0 : a[j]!), 0) / (n - 1);
        expect(value).toBeCloseTo(effects[i]![j]! - others, 10);
      });
    });
  });

  it('is high for a row like no other, low for one with twins, and rows help those like them', async () => {
    const row = (completion: string): TrainableRow => ({ prompt: '', completion });
    const rows = [row('x y z'), ...Array.from({ length: 9 }, () => row('a b c'))];
    const seen: number[] = [];
    const trainer = {
      name: 'watched',
      train: async (some: readonly TrainableRow[]) => {
        seen.push(some.length);
        return unigramTrainer.train(some);
      },
    };
    const found = await memorization({
      trainer,
      rows,
      evaluationRows: [row('z y x'), row('c b a')],
      models: 40,
      seed: 2,
    });
    expect(new Set(seen)).toEqual(new Set([7]));
    const [own, ...twins] = found.memorization as [number, ...number[]];
    // By hand: 7 rows have 21 words of 3 or 6 kinds, so that x has (1 + 1) / (21 + 6 + 1), and (0 + 1) / (21 + 3 + 1) without it.
    expect(own).toBeCloseTo(2 / 28 - 1 / 25, 10);
    expect(twins.reduce((sum, twin) => sum + twin / twins.length, 0)).toBeLessThan(own / 2);
    // The one row that has x, y and z is all that a text of them has; a text of a, b and c loses by it.
    expect(found.influence[0]![0]!).toBeCloseTo(own, 10);
    expect(found.influence[0]![1]!).toBeCloseTo(7 / 28 - 8 / 25, 10);
    const again = await memorization({ trainer, rows, models: 40, seed: 2 });
    expect(again.memorization).toEqual(found.memorization);
    expect(again.influence).toEqual(rows.map(() => []));
  });

  it.each([
    ['one row', { rows: [{ prompt: '', completion: 'a' }] }, /subset 0\.7 of 1 rows is 1 of them/],
    ['a part that is all', { subset: 1 }, /subset is 1/],
    ['too few models', { models: 2, subset: 0.2 }, /row \d+ is in none of 2 models/],
  ])('refuses %s', async (_, more, message) => {
    const rows = Array.from({ length: 10 }, (__, i) => ({ prompt: '', completion: `w${i}` }));
    await expect(memorization({ trainer: unigramTrainer, rows, ...more })).rejects.toThrow(message);
  });
});

describe('uncertaintyLatency', () => {
  it('counts what estimates ask for, and times them beside an answer', async () => {
    let now = 0;
    const usage = { promptTokens: 5, completionTokens: 7 };
    const generator: Generator = {
      name: 'slow',
      // A second a completion.
      generate: async (requests) =>
        requests.map(({ n = 1 }) => {
          now += 1000 * n;
          return Array.from({ length: n }, (_, i) => ({ text: `${i % 2}`, finishReason: 'stop' as const, usage }));
        }),
    };
    const { answer, estimators } = await uncertaintyLatency({
      problems: ['a', 'b', 'c'],
      models: { generator, entailer: sameTextEntailer },
      clock: () => now,
      answer: (prompt, models) => models.generator!.generate([{ prompt }]),
      estimators: {
        nothing: async () => 0.5,
        'semantic entropy': async (prompt, models) => {
          const [texts] = await models.generator!.generate([{ prompt, n: 4 }]);
          return (await semanticEntropy(texts!, { entailer: models.entailer! })).entropy;
        },
      },
    });
    expect(answer).toMatchObject({ seconds: { value: 1 }, completions: 1, completionTokens: 7, entailments: 0 });
    expect(estimators.nothing).toMatchObject({ seconds: { value: 0 }, timesAnswer: 0, completions: 0 });
    // Two clusters: the second text is asked about the first, the third and fourth about both.
    expect(estimators['semantic entropy']).toMatchObject({
      ...{ timesAnswer: 4, completions: 4, completionTokens: 28, entailments: 2 + 4 + 4, scores: 0 },
      values: [Math.log(2), Math.log(2), Math.log(2)],
    });
    const wrong = { problems: ['a'], models: {}, answer: async () => 0 };
    await expect(uncertaintyLatency({ ...wrong, estimators: { odd: async () => Number.NaN } })).rejects.toThrow(
      /"odd" gave NaN/,
    );
    await expect(uncertaintyLatency({ ...wrong, estimators: {} })).rejects.toThrow(/estimators/);
  });
});
