import type { Completion, Generator } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  alphaLlm,
  annealingTemperature,
  bestOfN,
  diverseVerifierTreeSearch,
  effectiveSampleSize,
  explorationQ,
  importanceWidth,
  jensenShannon,
  lats,
  liteSearch,
  liteSearchBudget,
  mctSelfRefine,
  mcts,
  particleFiltering,
  particleLogWeight,
  qGuided,
  type RStarPrompts,
  restMcts,
  restStepValue,
  rStar,
  scMcts,
  selfRewardQ,
  stepBeamSearch,
  treeBon,
  treeBonReward,
} from '../src/index.js';
import { consistencyScores, type Trajectory } from '../src/mutual-consistency.js';
import {
  completion,
  enumerating,
  goldenOf,
  hash32,
  lettered,
  lettersIn,
  lettersOf,
  scoring,
  seededUniform,
  stepper,
  table,
  values,
} from './doubles.js';

const problem = { prompt: 'q' };
const STEP = { stop: ['\n'], sampling: { maxTokens: 8 } };
const score = (scores: Record<string, number>, otherwise = 0) => table((text) => scores[text.trimEnd()] ?? otherwise);
/** Answers each prompt, in the order of asking, with what `say` makes of it; nothing of it is a step. */
const speaking = (say: (prompt: string) => string): Generator => ({
  name: 'speaking',
  generate: async (requests) =>
    requests.map(({ prompt, n = 1 }) =>
      Array.from({ length: n }, () => ({ ...completion(say(String(prompt))), stop: null })),
    ),
});

describe('mctSelfRefine', () => {
  const prompts = {
    feedbackPrompt: (answer: string) => `faults of ${answer}`,
    refinePrompt: (answer: string) => `refine ${answer}`,
  };
  const run = (n: number, rest = {}) => {
    let refined = 0;
    const generator = speaking((prompt) => {
      if (prompt === 'refine first') return ['worse', 'great'][refined++ % 2]!;
      return prompt === 'q' ? 'first' : prompt.startsWith('faults') ? 'it is bad' : 'worst';
    });
    const verifier = score({ first: 40, worse: -60, great: 90, worst: -100 });
    return mctSelfRefine(problem, { generator, verifier, n, ...prompts, ...rest });
  };

  it('has a Q between the least and the mean reward', () => {
    expect(selfRewardQ([10, 30])).toBe(15);
    expect(selfRewardQ([-20])).toBe(-20);
  });

  it('goes back to an answer whose refinement was worse, where Self-Refine goes on from that', async () => {
    const found = await run(2);
    expect(found).toMatchObject({ text: 'great' });
    const asked = found.trace.nodes
      .filter(({ text }) => text === 'it is bad')
      .map(({ parent }) => found.trace.nodes[parent!]!.text);
    expect(asked).toEqual(['first', 'first']);
    // Q' of the first answer: half of its own 40, half of its best child's 90.
    const [, first] = found.trace.nodes;
    expect(first).toMatchObject({ text: 'first', payload: { q: 65, visits: 3 } });
  });

  it('goes on from the refinement once its father is fully expanded, and does not believe full scores', async () => {
    const found = await run(3, { maxChildren: 2, exploration: 0 });
    const refined = found.trace.nodes.filter(({ text }) => text === 'worst');
    expect(refined).toHaveLength(1);
    const perfect = await run(2, { verifier: score({ first: 60, worse: 0, great: 100 }) });
    expect(perfect.text).toBe('first');
    expect((await run(2, { verifier: score({ first: 60, worse: 0, great: 100 }), fullScore: 101 })).text).toBe('great');
    await expect(run(2, { verifier: table(() => null) })).rejects.toThrow(/no answer was given a reward/);
  });
});

describe('restMcts', () => {
  interface Run {
    readonly iterations: number;
    readonly alpha: number;
    readonly exploration: number;
    readonly roll_branch: number;
    readonly roll_steps: number;
    readonly values: Record<string, number>;
    readonly nodes: readonly { readonly text: string; readonly visits: number; readonly value: number }[];
  }
  it.each(goldenOf<{ runs: Run[] }>('rest-mcts').runs)(
    'visits and values the nodes that the authors’ code does: $iterations iterations, α = $alpha',
    async ({ iterations, alpha, exploration, roll_branch, roll_steps, values: known, nodes }) => {
      const { trace } = await restMcts(problem, {
        ...{
          generator: enumerating(3),
          verifier: table((text) => known[text.replaceAll('\n', '')]!),
          n: iterations,
          width: 3,
        },
        ...{ alpha, exploration, rolloutWidth: roll_branch, rolloutSteps: roll_steps, endValue: 2, ...STEP },
      });
      const texts = new Map<number, string>();
      const found = trace.nodes.flatMap(({ id, parent, text, payload }) => {
        texts.set(id, parent === null ? '' : texts.get(parent) + text.replaceAll('\n', ''));
        return payload === undefined
          ? []
          : [{ text: texts.get(id)!, ...(payload as { visits: number; value: number }) }];
      });
      const order = (a: { text: string }, b: { text: string }) => (a.text < b.text ? -1 : 1);
      expect(found.sort(order)).toEqual(
        [...nodes].sort(order).map((node) => ({ ...node, value: expect.closeTo(node.value, 9) })),
      );
    },
  );

  it('values the steps of a right solution k / K, and takes back what a wrong step costs', () => {
    for (const steps of [1, 3, 7]) {
      let value = 0;
      for (let k = 1; k <= steps; k++) {
        value = restStepValue(value, steps - k, false);
        expect(value).toBeCloseTo(k / steps, 12);
      }
    }
    expect(restStepValue(0.5, 0, true)).toBe(0);
    expect(restStepValue(0.5, 4, true)).toBeCloseTo(0.4, 12);
  });

  it('ends with a text of enough value, and finds what MCTS with values does not yet, by its rollouts', async () => {
    const known: Record<string, number> = { a: 0.6, b: 0.5, 'b\na\na': 1 };
    const rest = { generator: enumerating(3), verifier: score(known, 0.3), n: 3, width: 3, ...STEP };
    expect(await restMcts(problem, { ...rest, exploration: 0.5, alpha: 1 })).toMatchObject({
      text: 'b\na\na',
      score: 1,
    });
    await expect(mcts(problem, { ...rest, exploration: 0.5, simulation: 'value' })).rejects.toThrow(
      /no text has ended/,
    );
    const long = await restMcts(problem, { ...rest, n: 100, alpha: 1, endValue: 1, exploration: 1 });
    expect(long.trace.spent.completions).toBeLessThan(60);
  });
});

describe('liteSearch', () => {
  interface Case {
    readonly greedy: number | null;
    readonly most: number;
    readonly expected: number;
    readonly budgets: readonly (readonly [value: number, depth: number, budget: number])[];
  }
  it.each(goldenOf<{ cases: Case[] }>('lite-search').cases)(
    'gives nodes the budgets of the authors’ code: greedy $greedy, at most $most, for $expected',
    ({ greedy: progress, most, expected, budgets }) => {
      for (const [value, depth, budget] of budgets) {
        expect([value, depth, liteSearchBudget(value, { depth, expected, most, progress })]).toEqual([
          value,
          depth,
          budget,
        ]);
      }
    },
  );

  it('draws as often as one draw comes out right with the probability asked for', () => {
    const node = { depth: 1, most: 100, expected: 0.9, progress: null };
    for (const value of [0.05, 0.2, 0.4, 0.6]) {
      const draws = liteSearchBudget(value, node);
      expect(1 - (1 - value) ** draws).toBeGreaterThan(0.9);
      expect(1 - (1 - value) ** (draws - 1)).toBeLessThanOrEqual(0.9);
    }
  });

  it('goes where the value is highest with fewer draws than a beam of its width, and ends with a good solution', async () => {
    const verifier = table((text) =>
      text.startsWith('a\na') ? 0.95 : text.startsWith('a') || text === '' ? 0.9 : 0.1,
    );
    const rest = { generator: enumerating(3), verifier, n: 9, ...STEP };
    const found = await liteSearch(problem, rest);
    expect(found).toMatchObject({ text: 'a\na\na', score: 0.95 });
    const beam = await stepBeamSearch(problem, { ...rest, beamWidth: 3 });
    expect(beam.score).toBe(0.95);
    expect(found.trace.spent.completions).toBeLessThan(beam.trace.spent.completions / 2);
  });

  it('gives the greedy answer where no solution is better, and refuses nothing silently', async () => {
    const verifier = table((text) => (text === 'a\na\na' ? 0.7 : 0.05));
    const found = await liteSearch(problem, { generator: enumerating(3), verifier, n: 3, iterations: 2, ...STEP });
    expect(found).toMatchObject({ text: 'a\na\na', score: 0.7 });
    await expect(
      liteSearch(problem, { generator: enumerating(3), verifier: table(() => null), n: 3, ...STEP }),
    ).rejects.toThrow(/no text has ended with a score/);
  });
});

describe('treeBon', () => {
  /** Writes letters, as many as it may; which is a function of prefix and seed. */
  const writer: Generator = {
    name: 'writer',
    generate: async (requests) =>
      requests.map(({ prefix = '', seed = 0, n = 1, maxTokens = 6 }) =>
        Array.from({ length: n }, (_, i) => {
          let text = '';
          const length = Math.min(maxTokens, 6 - prefix.length);
          for (let k = 0; k < length; k++) text += hash32(`${prefix}${text}/${seed + i}`) % 2 ? 'a' : 'b';
          const isWhole = prefix.length + length === 6;
          return {
            ...completion(text, length),
            finishReason: isWhole ? ('stop' as const) : ('length' as const),
            stop: null,
          };
        }),
      ),
  };
  const count = table((text) => [...text].filter((letter) => letter === 'a').length);
  const run = (n: number, rest = {}) =>
    treeBon(problem, {
      generator: writer,
      verifier: count,
      n,
      segmentTokens: 2,
      layers: 3,
      sampling: { maxTokens: 6, seed: 3 },
      ...rest,
    });

  it('weighs tokens by 1/k', () => {
    expect(treeBonReward([1, 1, 1])).toBeCloseTo(1 + 1 / 2 + 1 / 3, 12);
    expect(treeBonReward([])).toBe(0);
  });

  it('is best-of-n with one child a parent, and finds more with the same candidates where early tokens tell', async () => {
    const one = await run(8, { children: 1 });
    const leaves = one.trace.nodes.filter(({ id }) => !one.trace.nodes.some(({ parent }) => parent === id));
    expect(leaves).toHaveLength(8);
    expect(one.score).toBe(Math.max(...leaves.map(({ score }) => score!)));
    let [tree, flat] = [0, 0];
    for (let seed = 0; seed < 12; seed++) {
      const sampling = { maxTokens: 6, seed };
      tree += (await run(8, { children: 4, sampling })).score!;
      flat += (await bestOfN(problem, { generator: writer, verifier: count, n: 8, sampling })).score!;
    }
    expect(tree).toBeGreaterThan(flat);
  });

  it('goes on from N/C parents a layer, and chooses by verifiers.outcome', async () => {
    const { trace } = await run(8, { children: 4 });
    const parents = new Set(trace.nodes.map(({ parent }) => parent));
    // The root, two of the first layer, two of the second.
    expect(parents.size - 1).toBe(1 + 2 + 2);
    expect(trace.nodes.filter(({ reason }) => reason === 'not among the 2 best of layer 1')).toHaveLength(6);
    const outcome = table((text) => (text.endsWith('b') ? 1 : 0));
    expect((await run(8, { children: 4, verifiers: { outcome } })).text).toMatch(/b$/);
    await expect(run(6, { children: 4 })).rejects.toThrow(/n must be a multiple of children \(4\), got 6/);
  });
});

describe('lats', () => {
  const prompts = {
    reflectPrompt: (failed: string) => `why not ${failed.replaceAll('\n', '')}`,
    memoryPrompt: (reflections: readonly string[]) => `q, not ${reflections.join(', ')}`,
  };
  /** Writes a, until it is told why not. */
  const learner = (asked: string[] = []): Generator => ({
    name: 'learner',
    generate: async (requests) =>
      requests.map(({ prompt, prefix = '', n = 1, stop = [] }) =>
        Array.from({ length: n }, (_, i) => {
          asked.push(String(prompt));
          if (String(prompt).startsWith('why')) return { ...completion(String(prompt).slice(8)), stop: null };
          const taught = String(prompt).includes('not');
          const letter = taught ? 'z' : 'abc'[i]!;
          return { ...completion(letter), stop: prefix.length < 2 ? stop[0]! : null };
        }),
      ),
  });
  const verifier = table((text) => (text.endsWith('z') ? 1 : 0));
  const run = (rest = {}) =>
    lats(problem, { generator: learner(), verifier, n: 3, width: 3, ...prompts, ...STEP, ...rest });

  it('does on another branch what a failure has taught, where a search without memory fails on', async () => {
    expect(await run()).toMatchObject({ score: 1 });
    const forgetful = await run({ maxReflections: 0 });
    expect(forgetful.score).toBe(0);
    const asked: string[] = [];
    await run({ generator: learner(asked) });
    expect(asked.filter((it) => it.startsWith('why'))).toEqual(['why not aa']);
    expect(asked.at(-1)).toBe('q, not aa');
  });

  it('goes by verifiers.value and by how many siblings agree, and never into a failed state again', async () => {
    const value = table((text) => (text.startsWith('c') ? 0.9 : 0.1));
    const first = async (rest: object) => (await run({ maxReflections: 0, n: 1, ...rest })).text;
    expect(await first({ verifiers: { value }, valueWeight: 1 })).toMatch(/^c/);
    const agreeing: Generator = {
      name: 'agreeing',
      generate: async (requests) =>
        requests.map(({ prefix = '', n = 1, stop = [] }) =>
          Array.from({ length: n }, (_, i) => ({
            ...completion('abb'[i]!),
            stop: prefix.length < 2 ? stop[0]! : null,
          })),
        ),
    };
    expect(await first({ generator: agreeing })).toMatch(/^b/);
    const all = await run({ maxReflections: 0, n: 100 });
    const leaves = all.trace.nodes.filter(({ finishReason, stop }) => finishReason === 'stop' && stop === undefined);
    // Nine leaves, each judged once, and then the search is over.
    expect(leaves.map(({ score }) => score)).toEqual(new Array(9).fill(0));
    expect(all.trace.spent.verifierCalls).toBe(9);
  });
});

describe('alphaLlm', () => {
  const critics = (known: Record<string, number>, otherwise: number) => ({
    ...{
      generator: enumerating(2, [...'abcdefgh']),
      verifier: score(known, otherwise),
      n: 6,
      minChildren: 2,
      maxChildren: 5,
      ...STEP,
    },
  });

  it('has the width of the closed form', () => {
    const width = { scale: 10, least: 2, most: 8 };
    expect([0, 0.05, 0.25, 0.7, 5].map((it) => importanceWidth(it, width))).toEqual([2, 2, 3, 8, 8]);
  });

  it('draws more options where the critic expects them to differ, and few where they are alike', async () => {
    const { trace } = await alphaLlm(problem, { ...critics({ '': 0.5, a: 0.9, b: 0.5 }, 0.5), exploration: 5 });
    const widthOf = (text: string) => trace.nodes.find((node) => node.text === text)!.payload as { width: number };
    // I(root) = 0.4; below a all options are worth 0.5, 0.4 less than a; below b as much as b.
    expect([widthOf(''), widthOf('a\n'), widthOf('b\n')].map(({ width }) => width)).toEqual([5, 5, 2]);
    expect(trace.nodes.filter(({ parent }) => parent === 0)).toHaveLength(5);
  });

  it('merges options that are the same, and weighs its critics', async () => {
    const twins = enumerating(2, ['a', 'a']);
    const merged = await alphaLlm(problem, { ...critics({}, 0.5), generator: twins });
    expect(
      merged.trace.nodes.filter(({ reason }) => reason === 'merged: the same option was there').length,
    ).toBeGreaterThan(0);
    // The value critic likes a, the others b: by three critics b is gone into more.
    const two = { ...critics({ a: 0.9, b: 0.4 }, 0.5), n: 12, maxChildren: 2 };
    const other = table((text) => (text.startsWith('b') ? 1 : 0));
    const visits = async (rest: object) => {
      const { trace } = await alphaLlm(problem, { ...two, ...rest });
      return ['a\n', 'b\n'].map(
        (text) => (trace.nodes.find((node) => node.text === text)!.payload as { visits: number })?.visits ?? 0,
      );
    };
    const [a, b] = await visits({});
    expect(a).toBeGreaterThan(b!);
    const [a3, b3] = await visits({ verifiers: { process: other, outcome: other } });
    expect(b3).toBeGreaterThan(a3!);
    await expect(alphaLlm(problem, { ...two, maxChildren: 1 })).rejects.toThrow(/at least minChildren \(2\)/);
    await expect(alphaLlm(problem, { ...two, valueWeight: 0 })).rejects.toThrow(/where no other critic counts/);
  });

  it('chooses by the outcome critic among the ended texts of tree and rollouts', async () => {
    const outcome = table((text) => (text === 'b\na' ? 1 : 0.2));
    const found = await alphaLlm(problem, { ...critics({}, 0.5), n: 12, verifiers: { outcome } });
    expect(found).toMatchObject({ text: 'b\na', score: 1 });
  });
});

describe('scMcts', () => {
  it('has a divergence of 0 of what is the same, of ln 2 of what shares nothing, and the same both ways', () => {
    expect(jensenShannon([0.2, 0.8], [0.2, 0.8])).toBe(0);
    expect(jensenShannon([1, 0], [0, 1])).toBeCloseTo(Math.LN2, 12);
    expect(jensenShannon([0.1, 0.9], [0.6, 0.4])).toBeCloseTo(jensenShannon([0.6, 0.4], [0.1, 0.9]), 12);
    expect(() => jensenShannon([1], [0.5, 0.5])).toThrow(/as long as p/);
  });

  const [one, two] = [values(5), values(6)];
  const run = (scale: number, shift: number, rest = {}) =>
    scMcts(problem, {
      ...{ generator: enumerating(3), verifier: table(one), n: 8, width: 3, rewards: { a: 1, b: 1 }, ...STEP },
      ...{ verifiers: { a: table(one), b: table((text) => scale * two(text) + shift) }, ...rest },
    });

  it('grows the same tree whatever the scale of a reward, where a plain sum would hear only the largest', async () => {
    const texts = ({ trace }: Awaited<ReturnType<typeof run>>) =>
      trace.nodes.map(({ parent, text }) => `${parent} ${text}`);
    const wanted = texts(await run(1, 0));
    expect(texts(await run(1024, -512))).toEqual(wanted);
    expect(texts(await run(1, 0, { rewards: { b: 1 } }))).not.toEqual(wanted);
    expect(texts(await run(-1, 0))).not.toEqual(wanted);
  });

  interface Run {
    readonly iterations: number;
    readonly depth: number;
    readonly exploration: number;
    readonly weights: Record<string, number>;
    readonly ends: string[];
    readonly rewards: Record<string, number[]>;
    readonly nodes: [text: string, visits: number, q: number][];
  }
  it.each(goldenOf<{ runs: Run[] }>('sc-mcts').runs)(
    'visits and values the nodes that the authors’ code does: $iterations iterations, C = $exploration',
    async ({ iterations, depth, exploration, weights, ends, rewards, nodes }) => {
      // Of two siblings one has each reward 1 and the other −1, so that standardizing changes nothing.
      const of = (i: number) => table((text) => rewards[lettersOf(text)]![i]!);
      const verifiers = Object.fromEntries(Object.keys(weights).map((role, i) => [role, of(i)]));
      const found = await scMcts(problem, {
        ...{ generator: lettered(ends), verifier: table(() => 1), n: iterations, width: 2, ...STEP },
        ...{ maxDepth: depth, exploration, rewards: weights, verifiers },
      });
      const visited = lettersIn(found.trace).flatMap(({ text, node }) => {
        const { visits, q } = (node.payload ?? {}) as { visits?: number; q?: number };
        return visits === undefined ? [] : [[text, visits, expect.closeTo(q!, 9)]];
      });
      expect(nodes.sort()).toEqual(visited.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1)));
    },
  );

  it('enumerates a small tree, and says which reward has no verifier', async () => {
    const leaves = 'abc'.split('').flatMap((a) => 'abc'.split('').map((b) => one(`${a}\n${b}`)));
    const found = await run(1, 0, { generator: enumerating(2), n: 200, exploration: 5 });
    expect(found.score).toBe(Math.max(...leaves));
    await expect(run(1, 0, { rewards: { c: 1 } })).rejects.toThrow(/verifiers with the reward c/);
    await expect(run(1, 0, { rewards: {} })).rejects.toThrow(/weights by role/);
  });
});

describe('qGuided', () => {
  // A step that looks best by itself leads nowhere.
  const known = { a: 0.9, b: 0.4, 'a\na': 0.2, 'a\nb': 0.1, 'b\na': 0.3, 'b\nb': 1 };
  const rest = { generator: enumerating(2, ['a', 'b']), verifier: score(known), n: 2, ...STEP };

  it('takes the best that was found behind a step as its Q, discounted by steps', async () => {
    const { trace } = await stepBeamSearch(problem, { ...rest, n: 4, beamWidth: 2 });
    const q = (discount: number) =>
      Object.fromEntries(explorationQ(trace, { discount }).map((it) => [it.state + it.action, it.q]));
    expect(q(1)).toMatchObject({ 'a\n': 0.2, 'a\na': 0.2, 'a\nb': 0.1 });
    expect(q(0.5)['a\n']).toBe(0.1);
    // A step that was drawn, and behind which nothing has ended, has none.
    expect(q(1)).not.toHaveProperty('b\n');
  });

  interface Explored {
    readonly nodes: [parent: number | null, reward: number | null][];
    readonly discount: number;
    readonly q: number[];
  }
  it.each(goldenOf<{ runs: Explored[] }>('q-values', 'authors').runs)(
    'gives the steps of a tree the Q of the authors’ code, γ = $discount: $nodes',
    async ({ nodes, discount, q }) => {
      const { trace } = await stepBeamSearch(problem, { ...rest, n: 2, beamWidth: 1 });
      const made = nodes.map(([parent, reward], id) => ({
        ...trace.nodes[0]!,
        ...{
          id,
          parent,
          text: `${id} `,
          finishReason: 'stop' as const,
          ...(reward === null ? { stop: ' ' } : { score: reward }),
        },
      }));
      const found = explorationQ({ ...trace, nodes: made }, { discount });
      expect(found.map(({ action, q: own }) => [Number(action), own])).toEqual(
        q.slice(1).map((value, i) => [i + 1, expect.closeTo(value, 12)]),
      );
    },
  );

  it('finds with the Q of an exploration what a greedy process verifier does not', async () => {
    expect((await qGuided(problem, rest)).score).toBe(0.2);
    const { trace } = await mcts(problem, { ...rest, n: 30, width: 2 });
    const q = new Map(explorationQ(trace).map(({ state, action, q }) => [state + action, q]));
    const found = await qGuided(problem, { ...rest, verifier: table((text) => q.get(text) ?? null) });
    expect(found).toMatchObject({ text: 'b\nb', score: 1 });
    expect(found.trace.spent.completions).toBe(4);
    await expect(qGuided(problem, { ...rest, verifier: table(() => null) })).rejects.toThrow(
      /no action of step 1 has a Q/,
    );
  });
});

describe('rStar', () => {
  const prompts: RStarPrompts = {
    'one-step': ({ steps }) => `step ${steps.length}`,
    remaining: ({ question }) => `solve ${question}`,
    'sub-question': ({ steps }) => `ask ${steps.map(({ action }) => action).join()}`,
    'answer-again': ({ steps }) => `again ${steps.length}`,
    rephrase: ({ question }) => `say ${question}`,
  };
  const say = (votes: readonly string[], asked: string[] = []) => {
    let vote = 0;
    return speaking((prompt) => {
      asked.push(prompt);
      if (prompt.startsWith('solve')) return `so it is ${votes[vote++ % votes.length]}`;
      return prompt.startsWith('say') ? 'the question' : 'a step';
    });
  };
  const discriminator = (answer: (text: string) => string) => ({
    name: 'discriminator',
    generate: async (requests: Parameters<Generator['generate']>[0]) =>
      requests.map(({ prefix = '' }) => [{ ...completion(` … it is ${answer(prefix)}`), stop: null }]),
  });
  const run = (votes: readonly string[], second: Generator, rest = {}) =>
    rStar(problem, {
      ...{
        generator: say(votes),
        generators: { discriminator: second },
        prompts,
        n: 4,
        width: 1,
        votes: 4,
        maxDepth: 3,
      },
      ...{ extractAnswer: (text: string) => /it is (\d)(?!.*it is)/s.exec(text)?.[1] ?? null, ...rest },
    });

  interface Run {
    readonly rollouts: number;
    readonly depth: number;
    readonly exploration: number;
    readonly schedule: 'const' | 'lin' | 'exp';
    readonly votes: Record<string, string[]>;
    readonly nodes: [path: string, visits: number, q: number][];
  }
  const golden = goldenOf<{
    draws: number[];
    runs: Run[];
    scores: { trajectories: [string, number, boolean][]; scores: Record<string, number> }[];
  }>('r-star');
  it.each(golden.runs)(
    'visits and values the nodes that the authors’ code does: $rollouts rollouts, w = $exploration, $schedule',
    async ({ rollouts, depth, exploration, schedule, votes, nodes }) => {
      const random = createRandom(0, 'r-star');
      expect(golden.draws.map(() => random.uint32())).toEqual(golden.draws);
      const path = ({ steps }: Parameters<RStarPrompts['remaining']>[0]) => steps.map(({ text }) => text).join('');
      const asked = new Map<string, number>();
      // Each prompt is an action with the path so far.
      const ask = (action: string) => (state: Parameters<RStarPrompts['remaining']>[0]) => `${action} ${path(state)}`;
      const generator = speaking((prompt) => {
        const [action, so = ''] = prompt.split(' ');
        const i = asked.get(prompt) ?? 0;
        asked.set(prompt, i + 1);
        return action === 'r' ? `/r${votes[so]![i]}` : `/${action}${i}`;
      });
      const found = await rStar(problem, {
        ...{ generator, n: rollouts, width: 2, votes: 5, maxDepth: depth, exploration, schedule },
        generators: { discriminator: discriminator(() => '1') },
        prompts: { 'one-step': ask('s'), remaining: ask('r'), 'sub-question': ask('q') },
        ...{ masks: 1, extractAnswer: (text: string) => /r(\d)$/.exec(text)?.[1] ?? null },
      });
      const visited = lettersIn(found.trace).flatMap(({ text, node }) => {
        const { visits, q } = (node.payload ?? {}) as { visits?: number; q?: number };
        return visits === undefined ? [] : [[text, visits, expect.closeTo(q!, 9)]];
      });
      expect(nodes.sort()).toEqual(visited.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1)));
    },
  );

  it.each(golden.scores)('scores answers as the authors’ code does', ({ trajectories, scores }) => {
    const all = trajectories.map(([answer, reward]) => ({ answer, reward }) as Trajectory);
    const found = consistencyScores(
      all,
      all.filter((_, i) => trajectories[i]![2]),
    );
    expect(Object.fromEntries(found)).toEqual(
      Object.fromEntries(Object.entries(scores).map(([answer, it]) => [answer, expect.closeTo(it, 12)])),
    );
  });

  it('answers what the second model agrees with, though the first votes for another', async () => {
    // Three of four draws are 1; from the same beginnings the second model only comes to 2.
    const found = await run(
      ['1', '1', '1', '2'],
      discriminator(() => '2'),
    );
    expect(found.answer).toBe('2');
    expect(found.trace.nodes.some(({ reason }) => reason === 'not consistent')).toBe(true);
    expect(
      (
        await run(
          ['1', '1', '1', '2'],
          discriminator((text) => (text.includes('it is 2') ? '2' : '1')),
        )
      ).answer,
    ).toBe('1');
    // Where nothing is consistent the first model's rewards decide.
    expect(
      (
        await run(
          ['1', '1', '1', '2'],
          discriminator(() => '7'),
        )
      ).answer,
    ).toBe('1');
  });

  it('takes each action only where the paper has it, and votes for the value of a solution', async () => {
    const asked: string[] = [];
    const found = await run(
      ['1', '1', '1', '2'],
      discriminator(() => '1'),
      { generator: say(['1', '1', '1', '2'], asked), n: 30 },
    );
    // A5 of the question only; A4 after a sub-question only, which it replaces; A3 not after a step of thought.
    expect(asked.filter((it) => it.startsWith('say'))).toEqual(['say q']);
    expect(asked).toContain('solve the question');
    expect(asked.filter((it) => it.startsWith('ask')).every((it) => !it.includes('one-step'))).toBe(true);
    const action = (id: number) => (found.trace.nodes[id]!.payload as { action?: string } | undefined)?.action;
    for (const node of found.trace.nodes) {
      if (action(node.id) === 'answer-again') expect(action(node.parent!)).toBe('sub-question');
    }
    const solution = found.trace.nodes.find(
      ({ text, payload }) => text === 'so it is 1' && (payload as { q?: number })?.q,
    )!;
    expect(solution.payload).toMatchObject({ action: 'remaining', q: 0.75 });
    expect(found.trace.nodes[0]!.payload).toMatchObject({ visits: 30 });
  });

  it('ends with a step that is the last one, and says what it needs', async () => {
    const last = {
      prompts: { ...prompts, 'sub-question': () => 'ask' },
      isFinal: (text: string) => text === 'it is 3',
    };
    const generator = speaking((prompt) => (prompt === 'ask' ? 'it is 3' : 'it is 1'));
    const found = await run(
      [],
      discriminator(() => '3'),
      { ...last, generator, n: 12 },
    );
    expect(found.answer).toBe('3');
    await expect(
      run(
        [],
        discriminator(() => '3'),
        { generators: {} },
      ),
    ).rejects.toThrow(/the second model/);
    await expect(
      run(
        [],
        discriminator(() => '3'),
        { prompts: {} },
      ),
    ).rejects.toThrow(/remaining among them/);
    await expect(
      run(
        ['none'],
        discriminator(() => '3'),
      ),
    ).rejects.toThrow(/no solution has an answer/);
  });
});

describe('beams and subtrees over steps', () => {
  interface Run {
    readonly kind: 'beams' | 'dvts';
    readonly n: number;
    readonly width: number;
    readonly aggregation: 'last' | 'min' | 'prod';
    readonly lookahead: number;
    readonly ends: string[];
    readonly scores: Record<string, number>;
    readonly completions: string[];
    readonly prediction: string;
  }
  it.each(goldenOf<{ runs: Run[] }>('search-and-learn').runs)(
    'end and choose as search-and-learn does: $kind, n = $n, M = $width, $aggregation, lookahead $lookahead',
    async ({ kind, n, width, aggregation, lookahead, ends, scores, completions, prediction }) => {
      const search = kind === 'beams' ? stepBeamSearch : diverseVerifierTreeSearch;
      const options = { n, beamWidth: width, aggregation, lookahead, ...STEP };
      const found = await search(problem, { generator: lettered(ends), verifier: scoring(scores), ...options });
      expect(lettersOf(found.text)).toBe(prediction);
      const known = lettersIn(found.trace);
      const looked = new Set(known.filter(({ node }) => node.reason === 'looked ahead').map(({ text }) => text));
      const drawn = known.slice(1).filter(({ text }) => !looked.has(text));
      // All that was scored, and what ended.
      if (lookahead === 0) expect(drawn.map(({ text }) => text).sort()).toEqual(Object.keys(scores).sort());
      const ended = drawn.filter(({ text }) => ends.includes(text)).map(({ text }) => text);
      expect(ended).toEqual(expect.arrayContaining(completions));
    },
  );
});

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

  interface Golden {
    readonly starts: number[];
    readonly odds: [score: number, logWeight: number][];
    readonly temperatures: {
      weights: number[];
      progress: number;
      ess: number;
      essTemperature: number;
      entropyTemperature: number;
    }[];
    readonly runs: {
      n: number;
      annealing: 'none' | 'ess';
      ends: string[];
      scores: Record<string, number>;
      particles: string[];
      chosen: string;
    }[];
  }
  const golden = goldenOf<Golden>('particles', 'test-time');
  it.each(golden.runs)('ends with the particles of its_hub: $n, annealing $annealing', async (run) => {
    const { n, annealing, ends, scores, particles, chosen } = run;
    const random = createRandom(0, 'particle-filtering');
    expect(golden.starts.map(() => random.float())).toEqual(golden.starts);
    const found = await particleFiltering(problem, {
      ...{ generator: lettered(ends), verifier: scoring(scores), n, annealing, ...STEP },
      ...{ maxSteps: 10, resampling: 'systematic' },
    });
    expect(lettersOf(found.text)).toBe(chosen);
    const known = lettersIn(found.trace).slice(1);
    expect(known.map(({ text }) => text).sort()).toEqual(Object.keys(scores).sort());
    // All but the best are dropped: particles that were alive to the end for their score only.
    const alive = known.filter(({ node }) => node.status === 'chosen' || node.reason === 'lower score');
    expect(new Set(alive.map(({ text }) => text).filter((text) => ends.includes(text)))).toEqual(new Set(particles));
  });

  it('has the weights, ESS and temperatures of its_hub', () => {
    for (const [p, logWeight] of golden.odds) expect(particleLogWeight(p)).toBeCloseTo(logWeight, 8);
    for (const { weights, progress, ess, essTemperature, entropyTemperature } of golden.temperatures) {
      // To three places, as its_hub keeps weights 1e-7 away from 0 and 1.
      expect(effectiveSampleSize(weights)).toBeCloseTo(ess, 3);
      expect(annealingTemperature('ess', weights, progress)).toBeCloseTo(essTemperature, 3);
      // Its entropy form has a temperature only where the ESS form has one; ours, as the formula, always.
      if (entropyTemperature > 1)
        expect(annealingTemperature('entropy', weights, progress)).toBeCloseTo(entropyTemperature, 3);
    }
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
