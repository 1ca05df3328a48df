// Which rows are trained on, in which mixture, and which are labelled next; loops that train.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { CandidateScorer, Embedder, Generator, Scorer, Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  type AnyStep,
  activeLearning,
  advantageGate,
  agreement,
  alpaGasus,
  annotate,
  blend,
  blendedSource,
  blendProbabilities,
  coreSetSelect,
  DifficultyPools,
  dataVersion,
  deitaSelect,
  doReMi,
  doReMiUpdate,
  dsir,
  expectedRating,
  fileVersion,
  fitMixtureLoss,
  flashOrder,
  generateCandidates,
  generations,
  HashedNgrams,
  ifdSelect,
  instructionFollowingDifficulty,
  kCenterGreedy,
  limoSelect,
  llmRankSelect,
  logRatios,
  passRateFilter,
  pipeline,
  randomMixtures,
  readRows,
  reasoningTraits,
  regMix,
  reversePrefix,
  reverseStarts,
  type SelectionStep,
  s1kSelect,
  selfTraining,
  selfTrainingMethods,
  stoppingRules,
  superfilter,
  uncertaintyMeasures,
  uncertaintySelect,
  weakBoosting,
  writeRows,
} from '../src/index.js';
import { testDataStep } from '../src/testing/index.js';
import { useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();
const golden = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../../goldens/${name}.json`, import.meta.url), 'utf8'));
const usage = { promptTokens: 1, completionTokens: 1 };
const says = (answer: (prompt: string, seed: number, i: number) => string, name = 'says'): Generator => ({
  name,
  generate: async (requests) =>
    requests.map(({ prompt, n = 1, seed }) =>
      Array.from({ length: n }, (_, i) => ({
        text: answer(String(prompt), seed!, i),
        finishReason: 'stop' as const,
        usage,
      })),
    ),
});
const rates = (score: (completion: string, prompt: string) => number | null, name = 'rates'): Verifier => ({
  name,
  verify: async (requests) => requests.map(({ completion, prompt }) => ({ score: score(completion, String(prompt)) })),
});
/** Log-likelihoods per word: how long the words are, less where the prompt has the word. */
const wordScorer: Scorer = {
  name: 'words',
  score: async (requests) =>
    requests.map(({ prompt, continuation }) => {
      const words = continuation.split(' ').filter((word) => word !== '');
      const logProb = -words.reduce((sum, word) => sum + word.length * (String(prompt).includes(word) ? 0.5 : 1.1), 0);
      return { logProb: prompt === '' ? -words.join('').length : logProb, tokens: words.length, isGreedy: false };
    }),
};
const bagEmbedder: Embedder = {
  name: 'bag',
  embed: async (texts) => texts.map((text) => Float32Array.from(hashedVector(text))),
};
function hashedVector(text: string): number[] {
  const vector = Array.from({ length: 16 }, () => 0);
  for (const word of text.split(/\s+/)) vector[createHash('md5').update(word).digest()[0]! % 16]!++;
  return vector;
}
/** What a selection chooses, by place, without a pipeline: for draws that are made many times. */
async function chosenOf<R extends object>(step: SelectionStep<R>, all: readonly R[]): Promise<R[]> {
  const context = {
    ...{ signal: new AbortController().signal, onProgress: () => {}, shard: { rank: 0, world: 1 } },
    ...{ drop: () => {}, warn: () => {}, derive: <M>(made: M) => made, scratch: async () => '' },
    keyOf: (row: object) => ({ id: String(all.indexOf(row as R)), position: 0, lineage: [] }),
    random: (label: string | number) => createRandom(0, label),
  };
  async function* source() {
    yield* all;
  }
  const { chosen } = await step.plan!(source(), context);
  return all.filter((_, i) => chosen.has(String(i)));
}
const rows = [
  'red fox',
  'blue whale swims',
  'red fox runs',
  'a green tree',
  'seven old men',
  'the red fox',
  'one more',
].map((text, i) => ({
  prompt: text,
  completion: i % 2 ? `${text} is here` : `nothing ${i}`,
  text,
  domain: i % 3 === 0 ? 'a' : 'b',
}));
const firm: CandidateScorer = {
  name: 'firm',
  distributions: async (requests) =>
    requests.map(({ prompt, candidates }) => {
      const first = 0.5 + (String(prompt).length % 10) / 20;
      const probabilities = candidates.map((_, i) => (i === 0 ? first : (1 - first) / (candidates.length - 1)));
      return {
        probabilities,
        logProbs: probabilities.map(Math.log),
        entropy: -probabilities.reduce((sum, p) => sum + p * Math.log(p), 0),
      };
    }),
};

const steps: readonly (() => AnyStep)[] = [
  () => ifdSelect({ scorer: wordScorer, count: 2 }),
  () => deitaSelect({ complexity: rates((c) => c.length), quality: rates(() => 1), embedder: bagEmbedder, count: 4 }),
  () => dsir({ target: ['red fox'], count: 3, minWords: 1 }),
  () => alpaGasus({ judge: says((prompt) => `${prompt.length % 6}`), threshold: 3 }),
  () =>
    passRateFilter({
      generator: says((_, seed, i) => String((seed + i) % 2)),
      verifier: rates(Number),
      samples: 4,
      least: 0.5,
    }),
  () =>
    s1kSelect({
      count: 3,
      domain: (row: (typeof rows)[number]) => row.domain,
      length: (row: (typeof rows)[number]) => row.text.length,
    }),
  () => limoSelect({ count: 3 }),
  () => uncertaintySelect({ members: [firm], candidates: ['x', 'y'], count: 3 }),
  () => coreSetSelect({ embedder: bagEmbedder, count: 3 }),
  () => llmRankSelect({ generator: says((_, seed) => String((seed % 10) + 1)), count: 3 }),
  () => generateCandidates({ generator: says((_, seed) => `a new thing of kind ${seed % 1000}`), pool: ['red fox'] }),
];

describe('selection', () => {
  for (const make of steps) testDataStep(it, make, { rows });

  it('IFD is the ratio of losses, and Superfiltering that of perplexities, of a small model in torch', async () => {
    const { cases } = golden('features/difficulty') as {
      cases: { tokens: number; given: number; alone: number; loss: number; perplexity: number }[];
    };
    const scorer: Scorer = {
      name: 'torch',
      score: async (requests) =>
        requests.map(({ prompt, continuation }) => {
          const { tokens, given, alone } = cases[Number(continuation)]!;
          return { tokens, logProb: -tokens * (prompt === '' ? alone : given), isGreedy: false };
        }),
    };
    const pairs = cases.map((_, i) => ({ prompt: 'q', completion: String(i) }));
    for (const ratio of ['loss', 'perplexity'] as const) {
      const found = await instructionFollowingDifficulty(scorer, pairs, { ratio });
      cases.forEach((one, i) => {
        // torch's exponentials of losses are float32.
        expect(found[i]).toBeCloseTo(one[ratio], 6);
      });
    }
    const kept = await pipeline(pairs, [ifdSelect({ scorer, count: 3 })]).collect();
    const best = cases
      .map(({ loss }, i) => ({ loss, i }))
      .filter(({ loss }) => loss <= 1)
      .sort((a, b) => b.loss - a.loss);
    expect(kept.map(({ completion }) => Number(completion))).toEqual(
      best
        .slice(0, 3)
        .map(({ i }) => i)
        .sort(),
    );
    expect(await pipeline(pairs, [superfilter({ scorer, share: 1 })]).collect()).toEqual(
      pairs.filter((_, i) => cases[i]!.perplexity <= 1),
    );
    expect(await instructionFollowingDifficulty(wordScorer, [{ prompt: 'q', completion: '' }])).toEqual([null]);
  });

  it("DSIR's buckets, weights and lengths are those of its authors' package", async () => {
    const { dsir: known } = golden('selection/selection');
    const wide = new HashedNgrams(10_000, 1);
    for (const [text, bucket] of Object.entries<number>(known.buckets))
      if (!/\s/.test(text)) expect(wide.of(text)).toEqual([bucket]);
    const hashed = new HashedNgrams(64, 2);
    const features = (known.raw as string[]).map((text) => hashed.of(text));
    const ratios = logRatios(
      (known.target as string[]).map((text) => hashed.of(text)),
      features,
      64,
    );
    ratios.forEach((ratio, i) => {
      expect(ratio).toBeCloseTo(known.logDifference[i], 10);
    });
    features.forEach((own, i) => {
      expect(own.reduce((sum, bucket) => sum + ratios[bucket]!, 0)).toBeCloseTo(known.weights[i], 8);
      expect(Math.floor((own.length + 1) / 2)).toBe(known.lengths[i]);
    });
    const all = await pipeline(
      (known.raw as string[]).map((text) => ({ text })),
      [dsir({ target: known.target, count: 9, buckets: 64, minWords: 3 })],
    ).collect();
    expect(all.map(({ text }) => text)).toEqual((known.raw as string[]).filter((_, i) => known.longEnough[i]));
  });

  it('DSIR draws in proportion to the weights, without replacement', async () => {
    // Two kinds of texts, of which one weighs more: how often one is the only row drawn is its share of the weights.
    const some = ['x x', 'y y'].map((text) => ({ text }));
    const hashed = new HashedNgrams(32, 1);
    const target = ['x x x y y'];
    const ratios = logRatios(
      target.map((t) => hashed.of(t)),
      some.map(({ text }) => hashed.of(text)),
      32,
    );
    const weights = some.map(({ text }) => Math.exp(hashed.of(text).reduce((sum, bucket) => sum + ratios[bucket]!, 0)));
    let first = 0;
    for (let seed = 0; seed < 400; seed++) {
      const [only] = await chosenOf(
        dsir<(typeof some)[number]>({ target, count: 1, minWords: 0, ngrams: 1, buckets: 32, seed }),
        some,
      );
      first += Number(only!.text === 'x x');
    }
    const p = weights[0]! / (weights[0]! + weights[1]!);
    expect(Math.abs(first / 400 - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / 400));
  });

  it('DEITA takes the best that are not like one another, by hand; ratings are expectations', async () => {
    const some = ['a b c', 'a b c d', 'x y z', 'p q'].map((prompt, i) => ({
      prompt,
      completion: '',
      worth: [3, 4, 2, 1][i]!,
    }));
    const worth = rates((_, prompt) => some.find((row) => row.prompt === prompt)!.worth);
    const letters: Embedder = {
      name: 'letters',
      embed: async (texts) =>
        texts.map((text) => Float32Array.from([...'abcdxyzpq'].map((letter) => Number(text.includes(letter))))),
    };
    const step = (threshold: number) =>
      deitaSelect<(typeof some)[number]>({ complexity: worth, quality: worth, embedder: letters, count: 2, threshold });
    // a b c is at 3 / √12 = 0.87 from a b c d.
    expect((await pipeline(some, [step(0.86)]).collect()).map(({ worth }) => worth)).toEqual([4, 2]);
    expect((await pipeline(some, [step(0.87)]).collect()).map(({ worth }) => worth)).toEqual([3, 4]);
    const [rating] = await expectedRating({ scorer: firm, prompt: '{instruction}', highest: 3 }).verify([
      { prompt: 'abc', completion: '' },
    ]);
    expect(rating!.score).toBeCloseTo(0.65 + (2 + 3) * 0.175, 12);
  });

  it('pass rates have Wilson’s interval, and neither all nor none stays', async () => {
    const generator = says((prompt, _, i) => String(Number(i < Number(prompt))));
    const made = pipeline(
      [0, 1, 5, 10].map((n) => ({ prompt: String(n) })),
      [passRateFilter<{ prompt: string }>({ generator, verifier: rates(Number), samples: 10 })],
    );
    const kept = await made.collect();
    expect(kept.map(({ passRate }) => passRate.rate)).toEqual([0.1, 0.5]);
    // statsmodels' proportion_confint(5, 10, method="wilson").
    expect(kept[1]!.passRate.interval[0]).toBeCloseTo(0.2365930905, 9);
    expect(kept[1]!.passRate.interval[1]).toBeCloseTo(0.7634069095, 9);
    expect(made.report()[0]!.reasons).toEqual({ 'too hard': 1, 'too easy': 1 });
    expect(() => passRateFilter({ generator, verifier: rates(Number), samples: 1 })).toThrow(
      /no share is from least, 1, to/,
    );
  });

  it('s1K draws domains alike and long chains more, and LIMO ranks chains by its rules', async () => {
    const some = Array.from({ length: 60 }, (_, i) => ({ domain: i < 50 ? 'big' : 'small', length: i % 50 }));
    const counts = { small: 0, longest: 0 };
    for (let seed = 0; seed < 150; seed++) {
      const step = s1kSelect<(typeof some)[number]>({
        count: 1,
        seed,
        domain: (row: (typeof some)[number]) => row.domain,
        length: (row: (typeof some)[number]) => row.length,
      });
      const [row] = await chosenOf(step, some);
      counts.small += Number(row!.domain === 'small');
      counts.longest += Number(row!.domain === 'big' && row!.length === 49);
    }
    expect(Math.abs(counts.small / 150 - 0.5)).toBeLessThan(0.17);
    expect(Math.abs(counts.longest / (150 - counts.small) - 0.5)).toBeLessThan(0.2);
    expect(reasoningTraits('Perhaps it is 4. Check: therefore 4.')).toEqual({
      words: 7,
      exploration: 1 / 7,
      verification: 1 / 7,
      connection: 1 / 7,
    });
    const chains = ['It is 4.', 'Perhaps 4. Let me check it. Since 2 + 2 is 4, therefore yes.'].map((completion) => ({
      completion,
    }));
    expect(await pipeline(chains, [limoSelect({ count: 1 })]).collect()).toEqual([chains[1]]);
  });

  it('s1K draws a row of a domain with the weights of its authors’ notebook, by frequency', async () => {
    const times = 400;
    const draws: { left: number[]; weights: number[] }[] = golden('authors/s1').draws;
    for (const { left, weights } of [draws[0]!, draws[2]!]) {
      const rows = left.map((length) => ({ prompt: 'one domain', length }));
      const counts = new Map(left.map((length) => [length, 0]));
      for (let seed = 0; seed < times; seed++) {
        const step = s1kSelect<(typeof rows)[number]>({
          ...{ count: 1, seed, domain: () => 'one', length: (row: { length: number }) => row.length },
        });
        for (const { length } of await chosenOf(step, rows)) counts.set(length, counts.get(length)! + 1);
      }
      left.forEach((length, i) => {
        const p = weights[i]!;
        expect(Math.abs(counts.get(length)! - times * p)).toBeLessThan(4 * Math.sqrt(times * p * (1 - p)) + 1);
      });
    }
  });

  it('pools of difficulty draw by weight, what was not seen with 1, and go on from a state; gates reject what says nothing', () => {
    const pools = new DifficultyPools([
      { name: 'hard', upTo: 0.2, weight: 3 },
      { name: 'rest', upTo: 1, weight: 0 },
    ]);
    pools.observe('a', 0.2);
    pools.observe('b', 0.9);
    expect([pools.poolOf('a')!.name, pools.poolOf('b')!.name, pools.poolOf('c')]).toEqual(['hard', 'rest', null]);
    const again = new DifficultyPools(pools.pools, JSON.parse(JSON.stringify(pools.state())));
    const counts = { a: 0, b: 0, c: 0 };
    for (let seed = 0; seed < 400; seed++) counts[again.draw(['a', 'b', 'c'], 1, createRandom(seed))[0]! as 'a']++;
    expect(counts.b).toBe(0);
    expect(Math.abs(counts.a / 400 - 0.75)).toBeLessThan(0.09);
    expect(again.draw(['a', 'b', 'c'], 9, createRandom(0)).sort()).toEqual(['a', 'c']);
    expect(
      () =>
        new DifficultyPools([
          { name: 'x', upTo: 1, weight: 1 },
          { name: 'y', upTo: 0.5, weight: 1 },
        ]),
    ).toThrow(/upTo rise/);
    expect([advantageGate([0, 0]), advantageGate([0, 1]), advantageGate([-0.1, 0.1], [-0.2, 0.2])]).toEqual([
      false,
      true,
      false,
    ]);
  });

  it('curricula: starts go backwards to the question, and a flash shows the easy ones first', () => {
    expect(reverseStarts(5, 5)).toEqual([4, 3, 2, 1, 0]);
    expect(reverseStarts(9, 3)).toEqual([8, 4, 0]);
    expect(reverseStarts(1, 3)).toEqual([0, 0, 0]);
    for (const start of reverseStarts(4, 3)) {
      const { prefix, rest } = reversePrefix(['a', 'b', 'c', 'd'], start);
      expect(prefix + rest).toBe('a\nb\nc\nd\n');
      expect(prefix.split('\n').length - 1).toBe(start);
    }
    expect(flashOrder(4, 0.5, [3, 2, 1, 0])).toEqual([0, 1, 3, 2, 1, 0]);
    expect(() => flashOrder(4, 2, [])).toThrow(/share/);
  });
});

describe('mixtures', () => {
  it('a blend has the shares that it was asked for, by χ², at every temperature, and ends with its sources', async () => {
    for (const temperature of [1, 3]) {
      const p = blendProbabilities([1, 2, 7], temperature);
      const endless = (name: string) => ({
        *[Symbol.iterator]() {
          for (;;) yield { name };
        },
      });
      const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
      let read = 0;
      for await (const { name } of blend(
        {
          a: { rows: endless('a'), weight: 1 },
          b: { rows: endless('b'), weight: 2 },
          c: { rows: endless('c'), weight: 7 },
        },
        { temperature, seed: 2 },
      )) {
        counts[name]!++;
        if (++read === 3000) break;
      }
      const chi = ['a', 'b', 'c'].reduce(
        (sum, name, i) => sum + (counts[name]! - 3000 * p[i]!) ** 2 / (3000 * p[i]!),
        0,
      );
      // 99.9 % of χ² with two degrees of freedom.
      expect(chi).toBeLessThan(13.8);
    }
    expect(blendProbabilities([1, 4], 2)[1]).toBeCloseTo(2 / 3, 12);
    const list = (n: number, name: string) => Array.from({ length: n }, (_, i) => ({ name, i }));
    const collect = async (stop: 'first' | 'all') => {
      const all: { name: string; i: number }[] = [];
      for await (const row of blend(
        { a: { rows: list(3, 'a'), weight: 1 }, b: { rows: list(40, 'b'), weight: 1 } },
        { stop },
      ))
        all.push(row);
      return all;
    };
    const all = await collect('all');
    expect(all.filter(({ name }) => name === 'b').map(({ i }) => i)).toEqual(list(40, 'b').map(({ i }) => i));
    expect([all.length, (await collect('first')).length < 43]).toEqual([43, true]);
    expect(await collect('all')).toEqual(all);
    expect(() => blendProbabilities([1, 0])).toThrow(/above 0/);
  });

  it('a blend for training goes on from its state in the middle of each list, and has its shares', () => {
    const lists = {
      a: { rows: Array.from({ length: 7 }, (_, i) => ({ name: 'a', i })), weight: 1 },
      b: { rows: Array.from({ length: 40 }, (_, i) => ({ name: 'b', i })), weight: 3 },
    };
    const make = () => blendedSource<{ name: string; i: number }>(lists, { seed: 5 });
    const whole = make()
      .next({ count: 800 })
      .map(({ row }) => row);
    const first = make();
    const begun = first.next({ count: 333 }).map(({ row }) => row);
    const second = make();
    second.load(JSON.parse(JSON.stringify(first.state())));
    expect([...begun, ...second.next({ count: 467 }).map(({ row }) => row)]).toEqual(whole);
    for (const [name, { rows }] of Object.entries(lists)) {
      const own = whole.filter((row) => row.name === name).map(({ i }) => i);
      // Every round has each row once, and two rounds are not in one order.
      const rounds = [0, 1].map((round) => own.slice(round * rows.length, (round + 1) * rows.length));
      for (const round of rounds) expect(round.toSorted((x, y) => x - y)).toEqual([...rows.keys()]);
      expect(rounds[0]).not.toEqual(rounds[1]);
    }
    // 200 of a are wanted of 800: within four standard errors.
    expect(Math.abs(whole.filter(({ name }) => name === 'a').length - 200)).toBeLessThan(4 * Math.sqrt(150));
    expect(make().settings.rows).not.toBe(
      blendedSource({ a: lists.a, b: { ...lists.b, rows: lists.a.rows } }).settings.rows,
    );
    for (const wrong of [null, {}, { drawn: { a: 1 } }, { drawn: { a: 1, b: -1 } }, { drawn: { a: 1, b: 1, c: 1 } }])
      expect(() => make().load(wrong)).toThrow(/numbers of the lists a, b/);
    expect(() => blendedSource({ a: { rows: [], weight: 1 } })).toThrow(/"a" has no rows/);
    expect(() => blendedSource(lists, { temprature: 2 } as never)).toThrow(/temprature/);
  });

  it('DoReMi: the update of numpy; on the simplex; equal losses are a fixed point of uniform weights; a hard domain rises', async () => {
    const { mixtures } = golden('selection/selection');
    let weights: readonly number[] = mixtures.start;
    for (const { excess, weights: known } of mixtures.updates as { excess: number[]; weights: number[] }[]) {
      weights = doReMiUpdate(weights, excess, 0.8, 1e-2);
      weights.forEach((one, i) => {
        expect(one).toBeCloseTo(known[i]!, 12);
      });
      expect(weights.reduce((sum, one) => sum + one, 0)).toBeCloseTo(1, 12);
    }
    const third = doReMiUpdate([1 / 3, 1 / 3, 1 / 3], [0.7, 0.7, 0.7]);
    for (const one of third) expect(one).toBeCloseTo(1 / 3, 12);
    const found = await doReMi(['easy', 'hard'], () => [0, 0.1], { steps: 30 });
    expect(found.weights.hard).toBeGreaterThan(0.7);
    // The average, not the last.
    expect(found.weights.hard).toBeLessThan(found.steps.at(-1)!.weights[1]!);
    await expect(doReMi(['a', 'b'], () => [1], { steps: 1 })).rejects.toThrow(/2 weights and 1 losses/);
    await expect(doReMi(['a', 'b'], () => [1, Number.NaN], { steps: 1 })).rejects.toThrow(/no number: 1,NaN/);
    await expect(doReMi(['a', 'a'], () => [1, 1], { steps: 1 })).rejects.toThrow(/different names/);
  });

  it('RegMix: the ridge is scikit-learn’s, mixtures are Dirichlet’s, and a planted best domain is found', () => {
    const { mixtures } = golden('selection/selection');
    const fitted = fitMixtureLoss(mixtures.runs, 1e-3);
    fitted.slopes.forEach((slope, i) => {
      expect(slope).toBeCloseTo(mixtures.slopes[i], 8);
    });
    expect(fitted.intercept).toBeCloseTo(mixtures.intercept, 8);
    const prior = [0.6, 0.3, 0.1];
    const drawn = randomMixtures(prior, 4000);
    for (const weights of drawn.slice(0, 50)) expect(weights.reduce((sum, one) => sum + one, 0)).toBeCloseTo(1, 12);
    prior.forEach((share, i) => {
      const mean = drawn.reduce((sum, weights) => sum + weights[i]!, 0) / drawn.length;
      const variance = drawn.reduce((sum, weights) => sum + (weights[i]! - mean) ** 2, 0) / drawn.length;
      expect(Math.abs(mean - share)).toBeLessThan(0.02);
      // α₀ = 3: p (1 − p) / (α₀ + 1).
      expect(Math.abs(variance - (share * (1 - share)) / 4)).toBeLessThan(0.01);
    });
    const runs = randomMixtures(prior, 30, { seed: 4 }).map((weights) => ({
      weights,
      loss: 3 - 2 * weights[2]! + weights[0]!,
    }));
    const best = regMix(runs, prior);
    expect(best[2]).toBeGreaterThan(0.75);
    expect(() => fitMixtureLoss([])).toThrow(/two runs/);
    expect(() => regMix(runs, [0.5, 0.5])).toThrow(/prior has 2 domains/);
    expect(() => regMix([...runs, { weights: prior, loss: Number.NaN }], prior)).toThrow(/all numbers/);
    // Would never end.
    expect(() => randomMixtures([Number.NaN, 1], 1)).toThrow(/prior must be shares/);
  });

  it('versions: the same rows have the same hash in any format, and an edit changes everything below', async () => {
    const some = [
      { a: 1, b: ['x'] },
      { a: 2, b: [] },
    ];
    const version = await dataVersion(some);
    expect(version.rows).toBe(2);
    await writeRows(path('rows.jsonl'), some);
    expect(await dataVersion(readRows(path('rows.jsonl')))).toEqual(version);
    expect(
      (
        await dataVersion([
          { b: ['x'], a: 1 },
          { a: 2, b: [] },
        ])
      ).hash,
    ).toBe(version.hash);
    for (const other of [[{ a: 1, b: ['y'] }, some[1]!], some.toReversed(), some.slice(1)])
      expect((await dataVersion(other)).hash).not.toBe(version.hash);
    const edited = await dataVersion([{ a: 1, b: ['x '] }, some[1]!]);
    const step = superfilter({ scorer: wordScorer });
    const below = async (parent: typeof version) => (await dataVersion([some[1]!], { parent, steps: [step] })).hash;
    expect(await below(version)).toBe(await below(version));
    expect(await below(version)).not.toBe(await below(edited));
    expect((await dataVersion([some[1]!], { parent: version })).hash).not.toBe(await below(version));
    await writeFile(path('file.txt'), 'hello');
    expect(await fileVersion(path('file.txt'))).toBe('5d41402abc4b2a76b9719d911017c592');
    await expect(fileVersion(path('none.txt'))).rejects.toThrow(/cannot be read/);
  });
});

describe('active learning', () => {
  it('measures are modAL’s, BALD is H − E[H], and all are 0 where nothing is uncertain', () => {
    const { uncertainty } = golden('selection/selection') as {
      uncertainty: Record<string, number[]> & { members: number[][][] };
    };
    const { members } = uncertainty;
    const of = (i: number) => members.map((own) => own[i]!);
    for (let i = 0; i < 5; i++) {
      expect(uncertaintyMeasures.leastConfidence([members[0]![i]!])).toBeCloseTo(uncertainty.leastConfidence![i]!, 12);
      // modAL's margin is small where two are as likely.
      expect(1 - uncertaintyMeasures.margin([members[0]![i]!])).toBeCloseTo(uncertainty.margin![i]!, 12);
      expect(uncertaintyMeasures.entropy([members[0]![i]!])).toBeCloseTo(uncertainty.entropy![i]!, 12);
      for (const name of ['voteEntropy', 'consensusEntropy', 'maxDisagreement'] as const)
        expect(uncertaintyMeasures[name](of(i))).toBeCloseTo(uncertainty[name]![i]!, 12);
      const entropy = (p: number[]) => -p.reduce((sum, one) => sum + one * Math.log(one), 0);
      const mean = of(i)[0]!.map((_, j) => of(i).reduce((sum, p) => sum + p[j]!, 0) / 3);
      // The information is also the mean divergence from the mean.
      const divergence =
        of(i).reduce((sum, p) => sum + p.reduce((own, one, j) => own + one * Math.log(one / mean[j]!), 0), 0) / 3;
      expect(uncertaintyMeasures.bald(of(i))).toBeCloseTo(divergence, 12);
      expect(uncertaintyMeasures.bald(of(i))).toBeCloseTo(
        entropy(mean) - of(i).reduce((sum, p) => sum + entropy(p), 0) / 3,
        12,
      );
    }
    for (const measure of Object.values(uncertaintyMeasures))
      expect(
        measure([
          [1, 0],
          [1, 0],
        ]),
      ).toBeCloseTo(0, 12);
    expect(
      uncertaintyMeasures.bald([
        [0.5, 0.5],
        [0.5, 0.5],
      ]),
    ).toBeCloseTo(0, 12);
    expect(() => uncertaintyMeasures.bald([[1, 0], [1]])).toThrow(/as many labels/);
  });

  it('k-center greedy is farthest first, and within twice the best radius of any choice', () => {
    const random = createRandom(2);
    for (let round = 0; round < 15; round++) {
      const points = Array.from({ length: 8 }, () => [random.float(), random.float()]);
      const radius = (centres: number[]) =>
        Math.max(
          ...points.map((p) =>
            Math.min(...centres.map((c) => Math.hypot(p[0]! - points[c]![0]!, p[1]! - points[c]![1]!))),
          ),
        );
      let best = Number.POSITIVE_INFINITY;
      for (let a = 0; a < 8; a++)
        for (let b = a + 1; b < 8; b++) for (let c = b + 1; c < 8; c++) best = Math.min(best, radius([a, b, c]));
      const chosen = kCenterGreedy(points, 3);
      expect(new Set(chosen).size).toBe(3);
      expect(radius(chosen)).toBeLessThanOrEqual(2 * best);
    }
    expect(kCenterGreedy([[0], [1], [10]], 2, [[0]])).toEqual([2, 1]);
    expect(kCenterGreedy([[0], [0]], 5)).toHaveLength(2);
  });

  it('candidates are new to the pool and to each other, and acceptable', async () => {
    const generator = says(
      (_, __, i) =>
        ['red fox', 'name five rare birds of prey', 'name five rare birds', 'count every third odd number', ''][i]!,
    );
    const run = pipeline(
      [{ prompt: 'say what bees eat' }],
      [
        generateCandidates({
          generator,
          samples: 5,
          pool: ['red fox'],
          acceptable: rates((c) => Number(!c.startsWith('count'))),
        }),
      ],
    );
    expect((await run.collect()).map(({ prompt, from }) => [prompt, from])).toEqual([
      ['name five rare birds of prey', 'say what bees eat'],
    ]);
    expect(run.report()[0]!.warnings).toEqual({ 'a candidate is not new': 3, 'a candidate cannot be used': 1 });
  });

  it('annotation: the least sure go to people as far as the budget goes, and the ledger is exact', async () => {
    const some = [0.9, 0.5, 0.7, 0.2, 0.95];
    const model = async (all: readonly number[]) => all.map((confidence) => ({ label: 'm', confidence, tokens: 3 }));
    const human = async (all: readonly number[]) => all.map(() => 'h');
    const made = await annotate(some, { model, human, budget: 2, prices: { human: 10, token: 0.5 } });
    expect(made.rows.map(({ label }) => label).join('')).toBe('mhmhm');
    expect(made.ledger).toEqual({ human: 2, model: 3, tokens: 15, cost: 27.5 });
    expect((await annotate(some, { human })).ledger).toEqual({ human: 5, model: 0, tokens: 0, cost: 0 });
    expect((await annotate(some, { model })).rows.every(({ by }) => by === 'model')).toBe(true);
    const unsure = async (all: readonly number[]) => all.map(() => ({ label: 'm', confidence: Number.NaN }));
    expect((await annotate(some, { model: unsure, human })).ledger).toMatchObject({ human: 5, model: 0 });
    await expect(annotate(some, {})).rejects.toThrow(/nobody who labels/);
    await expect(annotate(some, { human: async () => ['h'] })).rejects.toThrow(/human returned 1 labels for 5 rows/);
    await expect(annotate(some, { human, budget: 2 })).rejects.toThrow(/more than the budget/);
    // Planted: the model is right as often as it says, people 95 % of the time, at ten times the price. By right labels less costs, routing beats either.
    const random = createRandom(1);
    const pool = Array.from({ length: 2000 }, () => ({
      truth: random.integer(0, 1),
      sure: random.float() < 0.5 ? 0.98 : 0.55,
      noise: random.float(),
      slip: random.float(),
    }));
    const guess = async (all: readonly (typeof pool)[number][]) =>
      all.map(({ truth, sure, noise }) => ({ label: noise < sure ? truth : 1 - truth, confidence: sure, tokens: 1 }));
    const people = async (all: readonly (typeof pool)[number][]) =>
      all.map(({ truth, slip }) => (slip < 0.95 ? truth : 1 - truth));
    const worth = async (options: object) => {
      const { rows: labelled, ledger } = await annotate<(typeof pool)[number], number>(pool, {
        ...options,
        prices: { human: 0.2, token: 0.01 },
      });
      return labelled.filter(({ row, label }) => label === row.truth).length - ledger.cost;
    };
    const [both, alone, all] = [
      await worth({ model: guess, human: people }),
      await worth({ model: guess }),
      await worth({ human: people }),
    ];
    expect(Math.min(both - alone, both - all)).toBeGreaterThan(50);
  });

  it('a loop labels what it does not know, beats chance on its label curve, and stops by its rules', async () => {
    // Labels by a threshold on a line: a model is the middle of the gap that is left.
    const run = (seed: number, isActive: boolean) => {
      const random = createRandom(seed, 'line');
      const border = 0.2 + 0.6 * random.float();
      return activeLearning<number, boolean, number>({
        pool: Array.from({ length: 400 }, () => random.float()),
        train: (labelled) => {
          const low = Math.max(0, ...labelled.filter(({ label }) => !label).map(({ row }) => row));
          const high = Math.min(1, ...labelled.filter(({ label }) => label).map(({ row }) => row));
          return (low + high) / 2;
        },
        select: (model, left, count) => {
          const order = [...left.keys()];
          return (
            isActive
              ? order.sort((a, b) => Math.abs(left[a]! - model) - Math.abs(left[b]! - model))
              : random.shuffled(order)
          ).slice(0, count);
        },
        annotate: { human: async (all) => all.map((x) => x >= border) },
        batch: 2,
        stop: [stoppingRules.budget({ labels: 16 })],
        evaluate: (model) => -Math.abs(model - border),
        seed,
      });
    };
    const gains: number[] = [];
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const [active, chance] = [await run(seed, true), await run(seed, false)];
      expect([active.labelled.length, active.stopped]).toEqual([16, 'the labels are spent']);
      gains.push(active.rounds.at(-1)!.value! - chance.rounds.at(-1)!.value!);
    }
    const mean = gains.reduce((a, b) => a + b, 0) / 8;
    const error = Math.sqrt(gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 7 / 8);
    // 95 %, Student with 7 degrees of freedom.
    expect(mean - 2.365 * error).toBeGreaterThan(0);
  });

  it('rules: a plateau, stable predictions by κ, costs; a selection of others is refused', async () => {
    const round = (value: number, answers: string[] = []) => ({
      round: 0,
      model: 0,
      labelled: 1,
      ledger: { human: 1, model: 0, tokens: 0, cost: 5 },
      value,
      answers,
    });
    const plateau = stoppingRules.plateau({ patience: 2 });
    expect(plateau([1, 2, 3].map((v) => round(v)))).toBeNull();
    expect(plateau([1, 3, 3, 2].map((v) => round(v)))).toBe('the value does not rise');
    const stable = stoppingRules.stable({ patience: 2 });
    expect(
      stable(
        [
          ['a', 'b'],
          ['a', 'b'],
          ['a', 'b'],
        ].map((a) => round(0, a)),
      ),
    ).toBe('the predictions are stable');
    expect(
      stable(
        [
          ['a', 'b'],
          ['b', 'b'],
          ['b', 'b'],
        ].map((a) => round(0, a)),
      ),
    ).toBeNull();
    expect(stoppingRules.budget({ cost: 5 })([round(0)])).toBe('the money is spent');
    // scikit-learn's cohen_kappa_score.
    expect(agreement(['a', 'a', 'b', 'b', 'c'], ['a', 'b', 'b', 'b', 'c'])).toBeCloseTo(0.6875, 12);
    const bad = activeLearning({
      pool: [1, 2, 3],
      train: () => 0,
      select: () => [5],
      annotate: { human: async (all) => all },
      batch: 1,
      stop: [],
    });
    await expect(bad).rejects.toThrow(/select must return 1 different indices below 2, got 5/);
    // Would never end.
    const none = activeLearning({
      ...{ pool: [1, 2], train: () => 0, select: () => [], annotate: { human: async (all: readonly number[]) => all } },
      ...{ batch: 0, start: 1, stop: [] },
    });
    await expect(none).rejects.toThrow(/batch must be at least 1/);
  });
});

describe('loops over training', () => {
  /** A tabular policy: for each prompt a weight of each of four answers, trained by adding what it is shown. */
  const policy = (weights: Readonly<Record<string, readonly number[]>>): Generator & { weights: typeof weights } => ({
    name: 'table',
    weights,
    generate: async (requests) =>
      requests.map(({ prompt, n = 1, seed }) => {
        const random = createRandom(seed!, 'policy');
        const own = weights[String(prompt)]!;
        const total = own.reduce((a, b) => a + b, 0);
        return Array.from({ length: n }, () => {
          let left = random.float() * total;
          let at = 0;
          while (at < own.length - 1 && left >= own[at]!) left -= own[at++]!;
          return { text: String(at), finishReason: 'stop' as const, usage };
        });
      }),
  });
  const prompts = ['p', 'q', 'r'].map((prompt, i) => ({ prompt, answer: i }));
  const base = policy({ p: [1, 3, 3, 3], q: [4, 1, 4, 1], r: [2, 2, 1, 5] });
  const verifier: Verifier = {
    name: 'table',
    verify: async (requests) =>
      requests.map(({ completion, row }) => ({ score: Number(Number(completion) === row!.answer) })),
  };
  type Policy = typeof base;
  const train = async (rows: readonly { prompt: unknown; completion: string }[], from: Policy): Promise<Policy> => {
    const next = Object.fromEntries(Object.entries(from.weights).map(([prompt, own]) => [prompt, [...own]]));
    for (const { prompt, completion } of rows) next[String(prompt)]![Number(completion)]! += 2;
    return policy(next);
  };
  const chance = ({ weights }: Policy) =>
    prompts.reduce(
      (sum, { prompt, answer }) =>
        sum + Math.log(weights[prompt]![answer]! / weights[prompt]!.reduce((a, b) => a + b, 0)),
      0,
    );

  it.each(['rft', 'star', 'rest', 'restEm'] as const)(
    '%s keeps what is verified only, and the bound of EM does not fall',
    async (name) => {
      const { rounds, model } = await selfTraining({
        method: selfTrainingMethods[name],
        base,
        rows: prompts,
        verifier,
        train,
        samples: 16,
        rounds: 3,
      });
      for (const { rows: kept } of rounds)
        for (const { prompt, completion } of kept)
          expect(prompts.find((one) => one.prompt === prompt)!.answer).toBe(Number(completion));
      let before = chance(base);
      for (const round of rounds) {
        expect(chance(round.model)).toBeGreaterThanOrEqual(
          selfTrainingMethods[name].from === 'last' ? before : chance(base),
        );
        before = chance(round.model);
      }
      expect(chance(model)).toBeGreaterThan(chance(base));
    },
  );

  it('methods differ as they say: STaR keeps one, RAFT the best, ReST draws once with rising thresholds', async () => {
    const run = (name: keyof typeof selfTrainingMethods, thresholds = [1]) =>
      selfTraining({
        method: selfTrainingMethods[name],
        base,
        rows: prompts,
        verifier,
        train,
        samples: 16,
        rounds: 2,
        thresholds,
      });
    const star = await run('star');
    for (const { rows: kept } of star.rounds) expect(new Set(kept.map(({ prompt }) => prompt)).size).toBe(kept.length);
    for (const { rows: kept } of (await run('raft')).rounds) expect(kept).toHaveLength(3);
    const rest = await run('rest', [0, 1]);
    expect(rest.rounds[0]!.rows.length).toBeGreaterThan(rest.rounds[1]!.rows.length);
    expect(rest.rounds[0]!.meanScore).toBe(rest.rounds[1]!.meanScore);
    await expect(
      selfTraining({
        method: selfTrainingMethods.rft,
        base,
        rows: prompts,
        verifier: { name: 'no', verify: async (all) => all.map(() => ({ score: null })) },
        train,
        samples: 2,
        rounds: 1,
      }),
    ).rejects.toThrow(/nothing that was drawn in round 0 is kept/);
  });

  it('boosting on weak labels: unsolved items fall as (1 − β)^t with a learner that memorises; without focus or filter it is worse', async () => {
    const items = Array.from({ length: 800 }, (_, i) => i);
    const beta = 0.1;
    const run = (more: { focus?: boolean; filter?: null }, perRound = items.length) =>
      weakBoosting<Map<number, boolean>, number, boolean>({
        items,
        // The last that was said of an item is what is remembered.
        train: (kept) => new Map(kept.map(({ item, answer }) => [item, answer])),
        generate: (model, all) => all.map((item) => model.get(item) ?? false),
        weak: (all, random) => all.map(() => random.float() < beta),
        filter: 'filter' in more ? null : (_, answer) => answer,
        ...(more.focus !== undefined && { focus: more.focus }),
        ...{
          perRound,
          rounds: 20,
          seed: 3,
          evaluate: (model) => items.filter((item) => model.get(item)).length / items.length,
        },
      });
    const short = { train: () => 0, generate: () => [], filter: null, perRound: 1, rounds: 2 };
    await expect(weakBoosting({ ...short, items, weak: () => [true] })).rejects.toThrow(
      /generate returned 0 answers for 800/,
    );
    await expect(weakBoosting({ ...short, items, weak: () => [] })).rejects.toThrow(/weak returned 0 answers for 1/);
    const boosted = await run({});
    boosted.forEach(({ value }, t) => {
      const unsolved = (1 - beta) ** (t + 1);
      expect(Math.abs(1 - value! - unsolved)).toBeLessThan(4 * Math.sqrt((unsolved * (1 - unsolved)) / items.length));
    });
    const [few, unfocused, unfiltered] = [
      await run({}, 300),
      await run({ focus: false }, 300),
      await run({ filter: null }, 300),
    ];
    expect(few.at(-1)!.value! - unfocused.at(-1)!.value!).toBeGreaterThan(0.03);
    expect(unfocused.at(-1)!.value! - unfiltered.at(-1)!.value!).toBeGreaterThan(0.05);
  });

  it('a Gaussian refitted to its own samples loses its variance when it replaces, and keeps it when it accumulates', async () => {
    const normal = (random: { float(): number }) =>
      Math.sqrt(-2 * Math.log(random.float() || 1e-12)) * Math.cos(2 * Math.PI * random.float());
    const fit = (all: readonly number[]) => {
      const mean = all.reduce((a, b) => a + b, 0) / all.length;
      return { mean, variance: all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / all.length };
    };
    const after = async (mode: 'replace' | 'accumulate' | 'accumulate-subsample') => {
      let sum = 0;
      for (let seed = 0; seed < 40; seed++) {
        const real = createRandom(seed, 'real');
        const chain = await generations({
          ...{ real: Array.from({ length: 20 }, () => normal(real)), train: fit, mode, generations: 30, seed },
          sample: ({ mean, variance }, count, random) =>
            Array.from({ length: count }, () => mean + Math.sqrt(variance) * normal(random)),
        });
        sum += chain.at(-1)!.model.variance / chain[0]!.model.variance;
      }
      return sum / 40;
    };
    // E of the ratio is (1 − 1/n)^g.
    expect(Math.abs((await after('replace')) - 0.95 ** 30)).toBeLessThan(0.12);
    expect(await after('accumulate')).toBeGreaterThan(0.75);
    expect(await after('accumulate-subsample')).toBeGreaterThan(0.4);
    await expect(
      generations({ real: [1], train: fit, sample: () => [1], mode: 'keep' as never, generations: 1 }),
    ).rejects.toThrow(/mode must be one of/);
  });
});
