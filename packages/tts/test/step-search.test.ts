import type { Completion, Generator } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import {
  annealingTemperature,
  bestOfN,
  diverseVerifierTreeSearch,
  effectiveSampleSize,
  particleFiltering,
  particleLogWeight,
  stepBeamSearch,
} from '../src/index.js';
import { completion, enumerating, seededUniform, stepper, table, values } from './doubles.js';

const problem = { prompt: 'q' };
const STEP = { stop: ['\n'], sampling: { maxTokens: 8 } };

describe('lookahead', () => {
  const worth = (text: string) => ({ a: 0.9, b: 0.5, 'a\na': 0.1, 'b\na': 0.8 })[text.trimEnd()] ?? 0.2;
  const run = (lookahead: number, rest = {}) =>
    stepBeamSearch(problem, {
      ...{ generator: enumerating(3), verifier: table(worth), n: 3, beamWidth: 3, lookahead, ...STEP },
      ...rest,
    });

  it('keeps the step whose greedy continuation scores high, where beams keep the step that does itself', async () => {
    const firsts = async (k: number) =>
      (await run(k)).trace.nodes.filter(({ parent, status }) => parent === 0 && status !== 'dropped');
    expect((await firsts(0)).map(({ text, score }) => [text, score])).toEqual([['a\n', 0.9]]);
    const [ahead] = await firsts(1);
    expect(ahead).toMatchObject({ text: 'b\n', score: 0.8 });
    const { nodes } = (await run(1)).trace;
    const { lookahead } = ahead!.payload as { lookahead: number };
    expect(nodes[lookahead]).toMatchObject({
      parent: ahead!.id,
      text: 'a\n',
      status: 'dropped',
      reason: 'looked ahead',
    });
  });

  it('asks for greedy steps, no more than there are, and scores each step once', async () => {
    const generator = stepper(['a', 'b', 'c'], 3);
    const result = await run(5, { generator });
    const greedy = generator.requests.filter(({ temperature }) => temperature === 0);
    // Steps 1 and 2 of 3 can be looked ahead from: by two further steps, and by one.
    expect(greedy).toHaveLength(3 * 2 + 3 * 1);
    expect(result.trace.spent.verifierCalls).toBe(9);
  });
});

describe('diverseVerifierTreeSearch', () => {
  const run = (n: number, beamWidth: number, worth: (text: string) => number, rest = {}) =>
    diverseVerifierTreeSearch(problem, {
      generator: enumerating(3),
      verifier: table(worth),
      n,
      beamWidth,
      ...STEP,
      ...rest,
    });

  it('keeps the best of every subtree, where a beam gives the worse one up', async () => {
    // All that the first subtree meets scores above all of the second's until the end.
    let roots = 0;
    const tree = enumerating(2);
    const generator: Generator = {
      name: 'two subtrees',
      generate: async (requests) => {
        const found = await tree.generate(requests);
        return found.map((list, i) =>
          requests[i]!.prefix ? list : list.map((it) => ({ ...it, text: 'ab'[roots++ < 2 ? 0 : 1]! })),
        );
      },
    };
    const worth = (text: string) => ({ 'a\n': 0.9, 'b\n': 0.2, 'b\nb': 1 })[text] ?? 0.3;
    const wide = await run(4, 2, worth, { generator });
    expect(wide).toMatchObject({ text: 'b\nb', score: 1 });
    roots = 0;
    const beam = await stepBeamSearch(problem, { generator, verifier: table(worth), n: 4, beamWidth: 2, ...STEP });
    expect(beam).toMatchObject({ score: 0.3 });
  });

  it.each([1, 2, 3])('is one greedy beam where N = M, and N samples where M = 1 (values %i)', async (seed) => {
    const worth = values(seed);
    const beam = await stepBeamSearch(problem, {
      generator: enumerating(3),
      verifier: table(worth),
      n: 3,
      beamWidth: 3,
      ...STEP,
    });
    const { text, trace } = await run(3, 3, worth);
    expect(text).toBe(beam.text);
    expect(trace.spent.completions).toBe(beam.trace.spent.completions);
    const samples = await run(6, 1, worth, { generator: stepper(['a', 'b', 'c'], 3) });
    const leaves = samples.trace.nodes.slice(1).filter(({ stop }) => stop === undefined);
    expect(leaves).toHaveLength(6);
    expect(samples.score).toBe(Math.max(...leaves.map(({ score }) => score!)));
  });

  it('votes over the last texts of all subtrees, and refuses widths that do not fit', async () => {
    const worth = (text: string) => (text.endsWith('c') ? 0.5 : 0.4);
    const rest = { generator: enumerating(1), extractAnswer: (text: string) => (text === 'c' ? 'c' : 'ab') };
    expect(await run(6, 3, worth, { ...rest, selection: 'weighted-vote' })).toMatchObject({ answer: 'ab' });
    expect(await run(6, 3, worth, rest)).toMatchObject({ answer: 'c' });
    await expect(run(5, 3, worth)).rejects.toThrow(/n must be a multiple of beamWidth \(3\), got 5/);
  });
});

describe('particleFiltering', () => {
  /** Two hidden states; the score p of a text has p / (1 − p) = P(observation | state), which is the weight. */
  const start = [0.6, 0.4];
  const transition = [
    [0.7, 0.3],
    [0.2, 0.8],
  ];
  const emission = [
    [0.9, 0.5],
    [0.1, 0.7],
  ];
  const observations = [0, 1, 1, 0];
  const likelihood = (path: string[]) => emission[Number(path.at(-1))]![observations[path.length - 1]!]!;
  const chain: Generator = {
    name: 'hmm',
    generate: async (requests) =>
      requests.map(({ prefix = '', seed = 0, n = 1, stop = [] }) =>
        Array.from({ length: n }, (_, i): Completion => {
          const path = prefix.split('\n').slice(0, -1);
          const row = path.length === 0 ? start : transition[Number(path.at(-1))]!;
          const state = seededUniform(seed + i)() < row[0]! ? '0' : '1';
          return { ...completion(state), stop: path.length + 1 < observations.length ? (stop[0] ?? null) : null };
        }),
      ),
  };
  const verifier = table((text) => {
    const b = likelihood(text.trimEnd().split('\n'));
    return b / (1 + b);
  });
  const run = (n: number, seed: number, rest = {}) =>
    particleFiltering(problem, { generator: chain, verifier, n, ...STEP, sampling: { maxTokens: 8, seed }, ...rest });
  /** The forward algorithm. */
  const evidence = observations
    .slice(1)
    .reduce(
      (alpha, observation) =>
        [0, 1].map(
          (to) => emission[to]![observation]! * alpha.reduce((sum, a, from) => sum + a * transition[from]![to]!, 0),
        ),
      start.map((p, i) => p * emission[i]![observations[0]!]!),
    )
    .reduce((a, b) => a + b, 0);

  it.each([
    ['multinomial', 1],
    ['systematic', 1],
    ['multinomial', 0.8],
  ])('estimates the evidence of an HMM without bias (%s, ESS at most %f n)', async (resampling, essThreshold) => {
    const estimates: number[] = [];
    for (let seed = 0; seed < 100; seed++) {
      const { trace } = await run(6, seed, { resampling, essThreshold });
      estimates.push(Math.exp((trace.nodes[0]!.payload as { logEvidence: number }).logEvidence));
    }
    const mean = estimates.reduce((a, b) => a + b, 0) / estimates.length;
    const variance = estimates.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (estimates.length - 1);
    const error = Math.sqrt(variance / estimates.length);
    expect(Math.abs(mean - evidence)).toBeLessThan(4 * error);
    expect(error).toBeLessThan(evidence / 10);
  });

  it('is a sample of the model with one particle, and best-of-n where nothing is drawn', async () => {
    const one = await run(1, 3);
    expect(one.trace.nodes.slice(1).map(({ parent }) => parent)).toEqual([0, 1, 2, 3]);
    const none = await run(8, 3, { essThreshold: 0 });
    const best = await bestOfN(problem, { generator: stepper(['0'], 1), verifier, n: 1 });
    expect(none.trace.nodes.filter(({ stop, id }) => id > 0 && stop === undefined)).toHaveLength(8);
    expect([none.score, best.score].every((score) => score! > 0)).toBe(true);
  });

  it('weighs by the odds, and has the ESS and temperatures of the closed forms', () => {
    const weights = [0.9, 0.5, 0.2].map((p) => Math.exp(particleLogWeight(p)));
    const total = weights.reduce((a, b) => a + b, 0);
    const shares = weights.map((w) => w / total);
    for (const [i, odds] of [9, 1, 0.25].entries()) expect(shares[i]).toBeCloseTo(odds / 10.25, 12);
    expect(effectiveSampleSize(shares)).toBeCloseTo(10.25 ** 2 / (81 + 1 + 0.0625), 12);
    expect(effectiveSampleSize([0.25, 0.25, 0.25, 0.25])).toBe(4);
    expect(annealingTemperature('ess', [1, 0, 0, 0], 0.25)).toBe(3);
    expect(annealingTemperature('ess', [1, 0, 0, 0], 0.5)).toBe(1);
    expect(annealingTemperature('ess', [0.25, 0.25, 0.25, 0.25], 0)).toBe(1);
    expect(annealingTemperature('entropy', [0.5, 0.5, 0, 0], 0.5)).toBeCloseTo(1 / 0.75, 12);
    expect(annealingTemperature('entropy', [0.7, 0.3], 1)).toBe(1);
    expect(annealingTemperature('none', [1, 0], 0)).toBe(1);
  });

  it('keeps more distinct particles with annealing, and chooses by verifiers.outcome', async () => {
    const letters = [...'abcdefghij'];
    // Odds of 1, 1/10, 1/100 …: the first letter there is takes nearly all weight.
    const graded = table((text) => 1 / (1 + 10 ** letters.indexOf(text[0]!)));
    const distinct = async (annealing: string) => {
      const rest = { generator: stepper(letters, 12), verifier: graded, annealing, maxSteps: 12 };
      const { nodes } = (await run(12, 5, rest)).trace;
      return nodes.filter(({ parent, id }) => parent === 0 && nodes.some((it) => it.parent === id)).length;
    };
    const without = await distinct('none');
    for (const annealing of ['entropy', 'ess']) expect(await distinct(annealing)).toBeGreaterThan(without);
    const outcome = table((text) => (text.endsWith('1') ? 1 : 0));
    expect((await run(12, 5, { verifiers: { outcome } })).text).toMatch(/1$/);
    await expect(run(3, 1, { budget: { maxCompletions: 2 } })).rejects.toThrow(/no particle has ended with a score/);
  });

  it('samples the returned particle by weight', async () => {
    const answers = new Set<string>();
    for (let seed = 0; seed < 8; seed++) answers.add((await run(4, seed, { selection: 'sample' })).text);
    expect(answers.size).toBeGreaterThan(1);
  });
});
