import type { Generator } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import {
  graphOfThoughts,
  mcts,
  NoCandidateError,
  puct,
  rebase,
  rebaseWidths,
  stepBeamSearch,
  type Trace,
  uct,
} from '../src/index.js';
import {
  completion,
  enumerating,
  goldenOf,
  LETTERS,
  lettered,
  lettersIn,
  lettersOf,
  scoring,
  seededUniform,
  table,
  values,
} from './doubles.js';

const problem = { prompt: 'q' };
const STEP = { stop: ['\n'], sampling: { maxTokens: 8 } };

describe('stepBeamSearch', () => {
  const beam = (n: number, beamWidth: number, worth: (text: string) => number, rest = {}) =>
    stepBeamSearch(problem, {
      ...{ generator: enumerating(3), verifier: table(worth), n, beamWidth, ...STEP },
      ...rest,
    });

  it.each([1, 2, 3, 4, 5])(
    'finds what the tree, enumerated, says that beams of that size find (values %i)',
    async (seed) => {
      const worth = values(seed);
      for (const [n, m] of [
        [3, 3],
        [6, 3],
        [12, 3],
        [12, 2],
        [4, 1],
      ] as const) {
        const draw = (path: readonly string[], count: number) =>
          Array.from({ length: count }, (_, i) => [...path, LETTERS[i % 3]!]);
        let level = draw([], n);
        for (let step = 1; step < 3; step++) {
          const rank = (path: readonly string[]) =>
            level.filter((it) => worth(it.join('\n')) > worth(path.join('\n'))).length;
          const order = level.map((path, i) => [rank(path), i] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
          level = order.slice(0, n / m).flatMap(([, i]) => draw(level[i]!, m));
        }
        const best = level.reduce((a, b) => (worth(b.join('\n')) > worth(a.join('\n')) ? b : a));
        expect((await beam(n, m, worth)).text).toBe(best.join('\n'));
      }
    },
  );

  it('keeps N/M beams, M continuations each, and sets aside what has ended', async () => {
    const scores: Record<string, number> = { a: 0.6, b: 0.5, c: 0.1, 'a\nc': 0.9, 'b\na': 0.7, 'a\nc\nb': 0.8 };
    const generator = enumerating(3);
    const result = await beam(6, 3, (text) => scores[text.trimEnd()] ?? 0.2, { generator });
    expect(result).toMatchObject({ text: 'a\nc\nb', score: 0.8 });
    // Two beams a step: the two a's at first (each letter is drawn twice), then the best of their children.
    expect(generator.prefixes.length).toBe(1 + 2 + 2);
    expect(result.trace.spent).toMatchObject({ completions: 6 + 6 + 6, verifierCalls: 18 });
    expect(result.trace.nodes[3]).toMatchObject({ reason: 'not among the 2 best of step 1' });
  });

  it('says where no step has ended at a stop, and nothing where one has', async () => {
    expect((await beam(6, 3, () => 1)).trace).not.toHaveProperty('notes');
    const whole: Generator = {
      name: 'whole',
      generate: async (batch) => batch.map(({ n = 1 }) => Array(n).fill({ ...completion('whole'), stop: null })),
    };
    const { notes } = (await beam(6, 3, () => 1, { generator: whole })).trace;
    expect(notes).toEqual([expect.stringMatching(/^none of 6 steps ended at "\\n": /)]);
  });

  it('ends at maxSteps with the model’s own end, and takes the aggregation of step scores', async () => {
    const verifier = (scores: Record<string, number[]>) => ({
      name: 'prm',
      verify: async (requests: readonly { completion: string }[]) =>
        requests.map((it) => ({ score: 0, stepScores: scores[it.completion] ?? [0] })),
    });
    const scores = { a: [0.9, 0.2], b: [0.3, 0.4], c: [0.5, 0.3] };
    const run = (aggregation: 'last' | 'min' | 'prod') =>
      beam(3, 3, () => 0, { generator: enumerating(1), verifier: verifier(scores), maxSteps: 1, aggregation });
    expect((await run('last')).text).toBe('b');
    expect((await run('min')).text).toBe('b');
    expect((await run('prod')).text).toBe('a');
    expect((await beam(3, 3, values(1), { maxSteps: 1 })).text).toMatch(/^[abc]\na\na$/);
  });

  it('refuses widths that do not fit, and throws with the trace when nothing has ended', async () => {
    await expect(beam(5, 3, () => 1)).rejects.toThrow(/n must be a multiple of beamWidth \(3\), got 5/);
    await expect(beam(3, 3, () => 1, { aggregation: 'mean' })).rejects.toThrow(/one of "last", "min", "prod"/);
    await expect(beam(3, 3, () => 1, { budget: { maxCompletions: 4 } })).rejects.toThrow(NoCandidateError);
  });
});

describe('mcts', () => {
  it('has the UCT of the closed form', () => {
    expect(uct(0.8, 3, 10, 1)).toBeCloseTo(1.6760869616261553, 12);
    expect(uct(0.8, 3, 10, 0)).toBe(0.8);
    expect(uct(0, 0, 10, 1)).toBe(Number.POSITIVE_INFINITY);
  });

  it('visits the arms of a known bandit as UCB1 does', async () => {
    const arms = [0.2, 0.7, 0.5];
    const n = 30;
    const result = await mcts(problem, {
      ...{ generator: enumerating(1), verifier: table((text) => arms[LETTERS.indexOf(text)]!), n, width: 3, ...STEP },
    });
    // UCB1 by hand: each arm once, then the best index.
    const visits = [1, 1, 1];
    for (let t = 3; t < n; t++) {
      const index = arms.map((arm, i) => arm + Math.sqrt(Math.log(t) / visits[i]!));
      visits[index.indexOf(Math.max(...index))]!++;
    }
    const traced = result.trace.nodes.slice(1).map(({ payload }) => payload as { visits: number; q: number });
    expect(traced.map((it) => it.visits)).toEqual(visits);
    for (const [i, { q }] of traced.entries()) expect(q).toBeCloseTo(arms[i]!, 12);
    expect(result).toMatchObject({ text: 'b', score: 0.7 });
    expect(result.trace.nodes[0]!.payload).toMatchObject({ visits: n });
    // Ended leaves are judged once.
    expect(result.trace.spent).toMatchObject({ completions: 3, verifierCalls: 3 });
  });

  it.each([50, 200, 800])(
    'has a regret that grows with ln n: no arm is visited more than ln n / Δ² + 1 times (n = %i)',
    async (n) => {
      const arms = [0.2, 0.9, 0.5];
      const result = await mcts(problem, {
        ...{ generator: enumerating(1), verifier: table((text) => arms[LETTERS.indexOf(text)]!), n, width: 3, ...STEP },
      });
      const visits = result.trace.nodes.slice(1).map(({ payload }) => (payload as { visits: number }).visits);
      expect(visits.reduce((a, b) => a + b, 0)).toBe(n);
      for (const i of [0, 2]) expect(visits[i]).toBeLessThanOrEqual(Math.log(n) / (0.9 - arms[i]!) ** 2 + 1);
    },
  );

  it('finds the best leaf of a small tree that it has time to enumerate, where values lead the wrong way at first', async () => {
    const leaf = (text: string) => (text === 'c\nb' ? 1 : text.startsWith('a') ? 0.4 : 0.1);
    const result = await mcts(problem, {
      ...{ generator: enumerating(2), verifier: table(leaf), n: 60, width: 3, ...STEP },
    });
    expect(result).toMatchObject({ text: 'c\nb', score: 1 });
    const first = result.trace.nodes.filter(({ parent, stop }) => parent === 0 && stop !== undefined);
    const visits = first.map(({ payload }) => (payload as { visits: number }).visits);
    expect(visits[2]).toBe(Math.max(...visits));
    expect(visits.reduce((a, b) => a + b, 0)).toBe(60);
  });

  it('values by the text so far, with a process verifier, and never rolls out then', async () => {
    const generator = enumerating(2);
    const verifier = table((text) => (text.startsWith('b') ? 0.9 : 0.1));
    const result = await mcts(problem, { generator, verifier, n: 12, width: 3, simulation: 'value', ...STEP });
    expect(result.text.startsWith('b\n')).toBe(true);
    expect(result.trace.nodes.slice(1).every(({ stop, text }) => stop !== undefined || text.length === 1)).toBe(true);
  });

  interface Run {
    readonly iterations: number;
    readonly exploration: number;
    readonly values: Record<string, number>;
    readonly nodes: readonly (readonly [text: string, visits: number, q: number])[];
    readonly chosen: string | null;
  }
  it.each(goldenOf<{ runs: Run[] }>('mcts').runs)(
    'visits and values the nodes that the MCTS of RAP’s authors does: $iterations iterations, w = $exploration',
    async ({ iterations: n, exploration, values: known, nodes, chosen }) => {
      const verifier = table((text) => known[lettersOf(text)]!);
      const options = { generator: enumerating(3), verifier, n, width: 3, exploration, ...STEP };
      const { trace, text } = await mcts(problem, { ...options, simulation: 'value' });
      const found = lettersIn(trace).flatMap(({ text, node: { payload } }) => {
        const { visits, q } = (payload ?? {}) as { visits?: number; q?: number };
        return visits === undefined ? [] : [[text, visits, expect.closeTo(q!, 8)]];
      });
      expect([...nodes].sort()).toEqual(found.sort());
      expect(lettersOf(text)).toBe(chosen);
    },
  );

  describe('with states', () => {
    // The order of the steps is of no matter: 3, 6 and 10 states where there are 3, 9 and 27 texts.
    const stateOf = (text: string) => [...lettersOf(text)].sort().join('');
    const run = (n: number, rest = {}) => {
      const worth = values(4);
      const asked: string[] = [];
      const verifier = table((text) => {
        asked.push(stateOf(text));
        return worth(stateOf(text));
      });
      const options = { generator: enumerating(3), verifier, n, width: 3, exploration: 9, ...STEP, ...rest };
      return mcts(problem, { ...options, simulation: 'value' }).then((result) => ({ ...result, asked }));
    };
    const payloads = ({ nodes }: Trace, depth: number) =>
      lettersIn({ nodes } as Trace).flatMap(({ text, node }) =>
        text.length === depth && node.payload !== undefined ? [node.payload as { visits: number; q: number }] : [],
      );

    it('has one node of each, whose visits are those of all paths, and asks about it once', async () => {
      const n = 200;
      const { trace, asked, score } = await run(n, { stateOf });
      expect([1, 2, 3].map((depth) => payloads(trace, depth).length)).toEqual([3, 6, 10]);
      expect(new Set(asked).size).toBe(asked.length);
      // Only the first simulation ends at a first step.
      const visits = [1, 2].map((depth) => payloads(trace, depth).reduce((sum, it) => sum + it.visits, 0));
      expect(visits).toEqual([n, n - 1]);
      expect(trace.nodes.some(({ reason }) => /^merged: the state of node \d+$/.test(reason ?? ''))).toBe(true);
      const worth = values(4);
      const ends = [...new Set(['aaa', 'aab', 'aac', 'abb', 'abc', 'acc', 'bbb', 'bbc', 'bcc', 'ccc'].map(worth))];
      expect(score).toBe(Math.max(...ends));
    });

    it('is plain search where no two texts are of one state, knows more ends as soon, and is for UCT only', async () => {
      const whole = (text: string) => text;
      expect((await run(40, { stateOf: whole })).trace.nodes).toEqual((await run(40)).trace.nodes);
      const ends = async (rest: object) => payloads((await run(14, rest)).trace, 3).length;
      const texts = await run(14);
      const known = lettersIn(texts.trace).filter(({ text, node }) => text.length === 3 && node.payload !== undefined);
      expect(await ends({ stateOf })).toBeGreaterThan(new Set(known.map(({ text }) => stateOf(text))).size);
      await expect(run(3, { stateOf, policy: 'puct' })).rejects.toThrow(/stateOf .*left out with policy 'puct'/);
    });
  });

  it('stops with the budget, and returns the best so far', async () => {
    const options = { generator: enumerating(2), verifier: table(values(7)), n: 50, width: 3, ...STEP };
    const result = await mcts(problem, { ...options, budget: { maxCompletions: 9 } });
    expect(result.exhausted).toBe('maxCompletions');
    expect(result.trace.spent.completions).toBeLessThanOrEqual(9);
    await expect(mcts(problem, { ...options, simulation: 'guess' as never })).rejects.toThrow(
      /one of "rollout", "value"/,
    );
  });
});

describe('mcts with priors', () => {
  it('has the PUCT of the closed form, and of AlphaZero’s constants', () => {
    expect(puct(0.8, 0.4, 3, 10)).toBeCloseTo(1.1954616631622508, 12);
    expect(puct(0.5, 0.2, 0, 4, { base: Number.POSITIVE_INFINITY, init: 2 })).toBe(0.5 + 2 * 0.2 * 2);
  });

  const priors: Record<string, number> = { a: 0.1, b: 0.1, c: 0.8 };
  const prior = table((text) => priors[text.trimEnd().at(-1)!]!);
  const run = (n: number, rest = {}) => {
    const verifier = table((text) => (text.startsWith('c\na') ? 1 : 0.5));
    const generator = enumerating(3);
    return mcts(problem, { generator, verifier, n, width: 3, verifiers: { prior }, policy: 'puct', ...STEP, ...rest });
  };

  it('goes first where the prior points, and visits each arm of a bandit as PUCT by hand does', async () => {
    const { trace } = await run(1);
    expect(trace.nodes.filter(({ payload }) => payload !== undefined).map(({ text }) => text)).toEqual(['', 'c\n']);

    const arms = [0.2, 0.7, 0.5];
    const n = 40;
    const verifier = table((text) => arms[LETTERS.indexOf(text)]!);
    const result = await run(n, { generator: enumerating(1), verifier });
    const visits = [0, 0, 1];
    for (let t = 1; t < n; t++) {
      const index = arms.map((arm, i) => {
        const share = [0.1, 0.1, 0.8][i]!;
        const rate = Math.log((t + 19653) / 19652) + 1.25;
        return (visits[i] === 0 ? 0 : arm) + (rate * share * Math.sqrt(t)) / (1 + visits[i]!);
      });
      visits[index.indexOf(Math.max(...index))]!++;
    }
    const traced = result.trace.nodes.slice(1).map(({ payload }) => (payload as { visits?: number })?.visits ?? 0);
    expect(traced).toEqual(visits);
  });

  it('finds what UCT does not yet at the same number of simulations, where the prior is right; and refuses priors without PUCT', async () => {
    expect((await run(2)).score).toBe(1);
    expect((await run(2, { policy: 'uct', verifiers: {} })).score).toBe(0.5);
    await expect(run(3, { policy: 'uct' })).rejects.toThrow(/policy is "uct"; it must be 'puct'/);
    const negative = table(() => -1);
    await expect(run(3, { verifiers: { prior: negative } })).rejects.toThrow(/priors are not negative/);
  });
});

describe('graphOfThoughts', () => {
  /** Sorts digits badly: a thought is a permutation by index; an aggregation merges the digits; a refinement swaps one pair. */
  const thoughts = ['312', '132', '321'];
  const generator: Generator = {
    name: 'sorter',
    generate: async (requests) =>
      requests.map(({ prompt, n = 1 }) =>
        Array.from({ length: n }, (_, i) => {
          const [kind, given = ''] = String(prompt).split(':');
          if (kind === 'together')
            return completion(
              `${given
                .split(',')
                .map((it) => it[i % 3])
                .join('')}2`,
            );
          if (kind !== 'better') return completion(thoughts[i % thoughts.length]!);
          const digits = [...given];
          const at = digits.findIndex((digit, k) => k > 0 && digit < digits[k - 1]!);
          if (at > 0) [digits[at], digits[at - 1]] = [digits[at - 1]!, digits[at]!];
          return completion(digits.join(''));
        }),
      ),
  };
  /** Share of neighbours in order. */
  const inOrder = (text: string) =>
    [...text].slice(1).filter((digit, i) => digit >= text[i]!).length / Math.max(1, text.length - 1);
  const options = {
    ...{ generator, verifier: table(inOrder), n: 3, keep: 2 },
    aggregatePrompt: (texts: readonly string[]) => `together:${texts.join(',')}`,
    refinePrompt: (text: string) => `better:${text}`,
  };

  it('generates, keeps, aggregates and refines as the enumerated graph says', async () => {
    const result = await graphOfThoughts(problem, { ...options, aggregates: 3, refinements: 1 });
    // Scores 312: 1/2, 132: 1/2, 321: 0. Together of 312,132: '31'+'2', '13'+'2', '22'+'2' = 222, all in order.
    expect(result).toMatchObject({ text: '222', score: 1 });
    const { nodes } = result.trace;
    expect(nodes.map(({ text, parent, parents }) => [text, parents ?? parent])).toEqual([
      ['', null],
      ['312', 0],
      ['132', 0],
      ['321', 0],
      ['', [1, 2]],
      ['312', 4],
      ['132', 4],
      ['222', 4],
      ['222', 7],
    ]);
    expect(nodes[7]).toMatchObject({ status: 'chosen', payload: { volume: 2, latency: 2 } });
    expect(nodes[3]).toMatchObject({ status: 'dropped', reason: 'not among the 2 best' });
  });

  it.each([
    [8, 2],
    [9, 3],
    [16, 4],
  ])('merges %i sorted lists %i at a time, with the volume and latency of the closed forms', async (n, k) => {
    const numbers = (text: string) => text.split(' ').map(Number);
    const sorter: Generator = {
      name: 'merge sort',
      generate: async (requests) =>
        requests.map(({ prompt, n: count = 1 }) => {
          const given = String(prompt);
          if (given !== 'q')
            return [
              completion(
                numbers(given)
                  .sort((a, b) => a - b)
                  .join(' '),
              ),
            ];
          return Array.from({ length: count }, (_, i) => completion(`${(i * 7) % n}`));
        }),
    };
    const result = await graphOfThoughts(problem, {
      ...{ generator: sorter, verifier: table((text) => numbers(text).length), n, keep: n, fanIn: k },
      aggregatePrompt: (texts: readonly string[]) => texts.join(' '),
    });
    const levels = Math.round(Math.log(n) / Math.log(k));
    const wanted = Array.from({ length: n }, (_, i) => (i * 7) % n).sort((a, b) => a - b);
    expect(result.text).toBe(wanted.join(' '));
    const volume = Array.from({ length: levels }, (_, i) => n / k ** i).reduce((a, b) => a + b, 0);
    expect(result.trace.nodes.find(({ status }) => status === 'chosen')!.payload).toEqual({
      volume,
      latency: 1 + levels,
    });
    expect(result.trace.spent.completions).toBe(volume + 1);
  });

  it('never gets worse by aggregating or refining, and refines what is best until it cannot be better', async () => {
    const worse = { ...options, aggregatePrompt: () => 'together:9,1', refinements: 3 };
    const result = await graphOfThoughts(problem, worse);
    // 312 → 132 has the same score and comes later: the earlier thought stays.
    expect(result.score).toBeGreaterThanOrEqual(0.5);
    expect((await graphOfThoughts(problem, { ...worse, n: 1, keep: 1 })).score).toBeGreaterThanOrEqual(0.5);
  });

  interface Thoughts {
    readonly n: number;
    readonly keep: number;
    readonly aggregates: number;
    readonly refinements: number;
    readonly refinementWidth: number;
    readonly scores: Record<string, number>;
    readonly replies: Record<string, string[]>;
    readonly chosen: string;
    readonly score: number;
  }
  it.each(goldenOf<{ runs: Thoughts[] }>('graph-of-thoughts', 'reasoning').runs.map((run, i) => [i, run] as const))(
    'asks and chooses as that graph does in the package of its authors (%i)',
    async (_, { scores, replies, chosen, score, ...shape }) => {
      const asked = new Set<string>();
      const letters: Generator = {
        name: 'letters',
        generate: async (requests) =>
          requests.map(({ prompt, n: count = 1 }) => {
            asked.add(String(prompt));
            return replies[String(prompt)]!.slice(0, count).map((text) => completion(text));
          }),
      };
      const rest = { ...options, ...shape, generator: letters, verifier: table((text) => scores[text]!) };
      expect(await graphOfThoughts(problem, rest)).toMatchObject({ text: chosen, score });
      expect(asked).toEqual(new Set(Object.keys(replies)));
    },
  );

  it('returns the best so far when the budget ends it, and refuses prompts that are none', async () => {
    const short = await graphOfThoughts(problem, { ...options, budget: { maxCompletions: 3 } });
    expect(short).toMatchObject({ text: '312', exhausted: 'maxCompletions' });
    await expect(graphOfThoughts(problem, { ...options, aggregatePrompt: 'x' as never })).rejects.toThrow(
      /aggregatePrompt is "x"/,
    );
    const { refinePrompt: _, ...without } = options;
    await expect(graphOfThoughts(problem, { ...without, refinements: 1 })).rejects.toThrow(/refinePrompt is undefined/);
    await expect(graphOfThoughts(problem, { ...options, verifier: table(() => null) })).rejects.toThrow(
      /no thought has a score/,
    );
  });
});

describe('rebase', () => {
  interface Case {
    readonly rewards: number[];
    readonly width: number;
    readonly temperature: number;
    readonly widths: number[];
  }
  const grow = (n: number, worth: (text: string) => number, rest = {}) =>
    rebase(problem, { generator: enumerating(3), verifier: table(worth), n, ...STEP, ...rest });

  it.each(goldenOf<{ cases: Case[] }>('rebase').cases)(
    'has the widths of the authors’ rule: $width at $temperature',
    ({ rewards, width, temperature, widths }) => {
      expect(rebaseWidths(rewards, width, temperature)).toEqual(widths);
    },
  );

  interface Run {
    readonly width: number;
    readonly temperature: number;
    readonly ends: string[];
    readonly scores: Record<string, number>;
    readonly drawn: string[];
    readonly solutions: number;
  }
  it.each(goldenOf<{ runs: Run[] }>('rebase-searches').runs)(
    'grows the tree of the authors’ code: width $width, T_b = $temperature',
    async ({ width, temperature, ends, scores, drawn, solutions }) => {
      const { trace } = await rebase(problem, {
        ...{ generator: lettered(ends), verifier: scoring(scores), n: width, balanceTemperature: temperature },
        ...{ selection: 'best', ...STEP },
      });
      const texts = lettersIn(trace)
        .map(({ text }) => text)
        .slice(1);
      expect(texts.sort()).toEqual(drawn);
      expect(texts.filter((text) => ends.includes(text))).toHaveLength(solutions);
    },
  );

  it('is even where the temperature is high, greedy where it is low, and always spends the width', () => {
    const uniform = seededUniform(3);
    for (let round = 0; round < 50; round++) {
      const rewards = Array.from({ length: 1 + Math.floor(uniform() * 8) }, uniform).sort((a, b) => b - a);
      const width = Math.floor(uniform() * 40);
      const even = rebaseWidths(rewards, width, 1e15);
      expect(Math.max(...even) - Math.min(...even)).toBeLessThanOrEqual(1);
      expect(rebaseWidths(rewards, width, 1e-9)).toEqual(rewards.map((_, i) => (i === 0 ? width : 0)));
      for (const temperature of [0.01, 0.2, 1, 1e9]) {
        const widths = rebaseWidths(rewards, width, temperature);
        expect(widths.reduce((a, b) => a + b, 0)).toBe(width);
        expect(widths).toEqual([...widths].sort((a, b) => b - a));
      }
    }
  });

  it.each([1, 4, 9, 16])('ends with %i solutions, as many as its width, and chooses among them', async (n) => {
    const worth = values(n);
    const result = await grow(n, worth, { selection: 'best' });
    const { nodes, spent } = result.trace;
    const leaves = nodes.slice(1).filter(({ stop }) => stop === undefined);
    expect(leaves).toHaveLength(n);
    // All end at step 3, so that the width is n at every step.
    expect(spent.completions).toBe(3 * n);
    expect(result.score).toBe(Math.max(...leaves.map(({ score }) => score!)));
  });

  it('expands each text as often as its reward says, and votes with the rewards', async () => {
    const scores: Record<string, number> = { a: 0.9, b: 0.7, c: 0.1 };
    const generator = enumerating(2);
    const worth = (text: string) =>
      scores[text.trimEnd()] ?? (text.endsWith('c') ? 0.8 : text.endsWith('b') ? 0.5 : 0.3);
    const extractAnswer = (text: string) => text.at(-1)!;
    const result = await grow(6, worth, { generator, extractAnswer });
    // a, b, c twice each: shares of 6 at 0.2 are 2.28 → 3, of 3 left 1.75 → 2, of 1 left 0.73 → 1 for the first b.
    const children = (id: number) => result.trace.nodes.filter(({ parent }) => parent === id).length;
    expect([1, 4, 2, 5, 3, 6].map(children)).toEqual([3, 2, 1, 0, 0, 0]);
    expect(result.votes.map(({ answer, count }) => [answer, count])).toEqual([
      ['b', 2],
      ['a', 3],
      ['c', 1],
    ]);
    expect(result.text).toBe('a\nb');
    expect((await grow(6, worth, { extractAnswer, generator, selection: 'best' })).text).toBe('a\nc');
  });

  it('refuses what cannot be meant, and throws with the trace when nothing has ended', async () => {
    await expect(grow(3, () => 1, { balanceTemperature: 0 })).rejects.toThrow(/a number above 0/);
    await expect(grow(3, () => 1, { selection: 'first' })).rejects.toThrow(/one of "weighted-vote", "best"/);
    await expect(grow(3, () => -1, { extractAnswer: () => '1' })).rejects.toThrow(/cannot weigh a vote/);
    await expect(grow(3, () => 1, { budget: { maxCompletions: 4 } })).rejects.toThrow(NoCandidateError);
  });
});
