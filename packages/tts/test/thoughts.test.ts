import type { Generator } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { forestOfThought, multiAgentTreeOfThoughts, type ThoughtValues, treeOfThoughts } from '../src/index.js';
import { completion, enumerating, goldenOf, LETTERS, table, values } from './doubles.js';

describe('treeOfThoughts', () => {
  const problem = { prompt: 'q' };
  interface Run {
    readonly generate: 'sample' | 'propose';
    readonly evaluate: 'value' | 'vote';
    readonly breadth: number;
    readonly calls: { readonly prompt: string; readonly outputs: string[] }[];
    readonly states: string[];
  }
  /** Without the ends of thoughts, where the authors' code has none. */
  const letters = (text: string) => text.replaceAll('\n', '');
  const toRank: ThoughtValues = { method: 'value', prompt: (thoughts) => `value ${thoughts}`, parse: Number };

  it('takes NaN for no value, and nothing else that is no number', async () => {
    const run = (parse: (text: string) => unknown) =>
      treeOfThoughts(problem, {
        ...{ generator: enumerating(2), n: 2, steps: 1, evaluations: 1 },
        evaluation: { ...toRank, parse: parse as ThoughtValues['parse'] },
      });
    await expect(run(() => Number.NaN)).rejects.toThrow(/no state has 1 steps and a value/);
    for (const odd of ['7', undefined, Number.POSITIVE_INFINITY]) {
      await expect(run(() => odd)).rejects.toThrow(/evaluation.parse gave .*; give a finite number/);
    }
  });

  it.each(goldenOf<{ runs: Run[] }>('tree-of-thoughts').runs)(
    'asks and finds what the authors’ breadth-first search does: $generate, $evaluate, b = $breadth',
    async ({ generate, evaluate, breadth, calls, states }) => {
      const asked: string[] = [];
      const stop = generate === 'sample' ? '\n' : null;
      const generator: Generator = {
        name: 'golden',
        generate: async (requests) =>
          requests.map(({ prompt, prefix }) => {
            const said = prompt === 'next' ? `next ${letters(prefix ?? '')}` : (prompt as string);
            asked.push(said);
            const { outputs } = calls.find((call) => call.prompt === said)!;
            return outputs.map((text) => ({ ...completion(text), stop: said.startsWith('next') ? stop : null }));
          }),
      };
      const clean = generate === 'sample' ? letters : (text: string) => text;
      const result = await treeOfThoughts(
        { prompt: 'next' },
        {
          ...{ generator, n: 4, breadth, steps: 3 },
          ...(generate === 'propose' && { proposePrompt: (thoughts: string) => `next ${thoughts}` }),
          evaluation:
            evaluate === 'value'
              ? { ...toRank, prompt: (thoughts: string) => `value ${clean(thoughts)}` }
              : { method: 'vote', prompt: (all) => `vote ${all.map(clean).join(' ')}`, parse: Number },
        },
      );
      expect(asked).toEqual(calls.map(({ prompt }) => prompt));
      expect(clean(result.text)).toBe(states[0]);
    },
  );

  interface Step {
    readonly thoughts: string[];
    readonly parents: number[];
    readonly values: number[];
    readonly selected: number[];
  }
  it.each(goldenOf<{ runs: { numbers: string; steps: Step[] }[] }>('game-of-24').runs)(
    'selects what the authors’ published search of Game of 24 selected of GPT-4’s thoughts: $numbers',
    async ({ steps }) => {
      // States by their text, with what was proposed from them and what they were valued.
      const proposals = new Map<string, string[]>();
      const worth = new Map<string, number>();
      const selected: string[][] = [];
      let states = [''];
      for (const { thoughts, parents, values: found, selected: places } of steps) {
        const texts = thoughts.map((thought, i) => `${states[parents[i]!]}${thought}\n`);
        states.forEach((state, i) => {
          proposals.set(
            state,
            thoughts.filter((_, k) => parents[k] === i),
          );
        });
        texts.forEach((text, i) => {
          if (!worth.has(text)) worth.set(text, found[i]!);
        });
        states = places.map((place) => texts[place]!);
        selected.push(states);
      }
      const asked: string[] = [];
      const generator: Generator = {
        name: 'log',
        generate: async (requests) =>
          requests.map(({ prompt }) => {
            const [kind, state] = String(prompt).split('|') as [string, string];
            if (kind === 'value') return [completion(String(worth.get(state)))];
            asked.push(state);
            return [completion(proposals.get(state)!.join('\n'))];
          }),
      };
      const { text } = await treeOfThoughts(problem, {
        ...{ generator, n: 100, steps: 4, breadth: 5, evaluations: 1 },
        proposePrompt: (state) => `next|${state}`,
        evaluation: { method: 'value', prompt: (state) => `value|${state}`, parse: Number },
      });
      expect(asked).toEqual(['', ...selected.slice(0, 3).flat()]);
      expect(text).toBe(selected[3]![0]);
    },
  );

  /** Writes letters in a row and values texts by `worth`: 'value TEXT' is asked of it, and any other prompt goes on. */
  const thinker = (worth: (text: string) => number, depth = 3): Generator => {
    const tree = enumerating(depth);
    return {
      name: 'thinker',
      generate: async (requests) =>
        Promise.all(
          requests.map(async (request) => {
            const { prompt, n = 1 } = request;
            if (prompt === 'q') return (await tree.generate([request]))[0]!;
            return Array.from({ length: n }, () => completion(String(worth((prompt as string).slice(6)))));
          }),
        ),
    };
  };
  const think = (worth: (text: string) => number, rest = {}) =>
    treeOfThoughts(problem, { generator: thinker(worth), n: 3, steps: 3, evaluation: toRank, ...rest });

  it.each([1, 2, 3])(
    'finds the best leaf where the breadth is that of the tree, by either order (values %i)',
    async (seed) => {
      const worth = values(seed);
      const leaves = LETTERS.flatMap((a) => LETTERS.flatMap((b) => LETTERS.map((c) => `${a}\n${b}\n${c}`)));
      const best = leaves.reduce((a, b) => (worth(b) > worth(a) ? b : a));
      expect((await think(worth, { breadth: 27 })).text).toBe(best);
      expect((await think(worth, { search: 'dfs', outputs: 27 })).text).toBe(best);
    },
  );

  it('goes depth-first into the best, turns back where no value is above the threshold, and ends with the first solution', async () => {
    const scores: Record<string, number> = { a: 0.6, b: 0.9, c: 0.1, 'a\nc': 0.8, 'a\nc\nb': 0.7 };
    const worth = (text: string) => scores[text.trimEnd()] ?? 0.2;
    const result = await think(worth, { search: 'dfs', threshold: 0.5, evaluations: 1 });
    expect(result).toMatchObject({ text: 'a\nc\nb', score: 0.7 });
    // Root, b (all of whose states are pruned), a, a c: three thoughts and three valuations each.
    expect(result.trace.spent.completions).toBe(4 * 6);
    expect(result.trace.nodes.filter(({ reason }) => reason === 'value not above 0.5')).toHaveLength(3);
    await expect(think(worth, { search: 'dfs', threshold: 0.95 })).rejects.toThrow(/no state has 3 steps and a value/);
  });

  it('asks generators.evaluator where there is one, and says which options cannot be meant', async () => {
    const evaluator = thinker(() => 1);
    const generator = enumerating(1);
    const result = await think(() => 0, { generator, generators: { evaluator }, steps: 1 });
    expect(result.trace.nodes.filter(({ role }) => role === 'evaluator')).toHaveLength(9);
    await expect(think(() => 0, { search: 'best-first' })).rejects.toThrow(/one of "bfs", "dfs", "beam", "a-star"/);
    const evaluation = { method: 'vote', prompt: () => '', parse: () => 0 };
    await expect(think(() => 0, { search: 'dfs', evaluation })).rejects.toThrow(/needs values/);
    await expect(think(() => 0, { evaluation: { method: 'score' } })).rejects.toThrow(/method: 'value' or 'vote'/);
  });

  it.each([1, 2, 3])(
    'finds the best leaf first by A*, and is not done before by worse bounds (values %i)',
    async (seed) => {
      const worth = values(seed);
      const leaves = LETTERS.flatMap((a) => LETTERS.flatMap((b) => LETTERS.map((c) => `${a}\n${b}\n${c}`)));
      const best = leaves.reduce((a, b) => (worth(b) > worth(a) ? b : a));
      // What the best leaf below is worth, less what its thoughts cost from here on.
      const cost = 0.2;
      const bound = (slack: number) => (text: string) => {
        const state = text.trimEnd();
        const below = leaves.filter((leaf) => leaf.startsWith(state)).map(worth);
        const left = 3 - state.split('\n').length;
        return Math.max(...below) + left * (slack - cost);
      };
      const run = (slack: number) => think(bound(slack), { search: 'a-star', thoughtCost: cost, evaluations: 1 });
      const exact = await run(0);
      expect(exact.text).toBe(best);
      // With exact bounds only the states on the way are gone into: three, of three thoughts and valuations each.
      expect(exact.trace.spent.completions).toBe(3 * 6);
      const loose = await run(1);
      expect(loose.text).toBe(best);
      expect(loose.trace.spent.completions).toBeGreaterThan(exact.trace.spent.completions);
      expect((await think(bound(0), { search: 'a-star', outputs: 27, evaluations: 1 })).text).toBe(best);
    },
  );

  it('goes by the values of the whole path as a beam, where BFS goes by the last', async () => {
    const scores: Record<string, number> = { a: 0.9, b: 0.5, 'a\na': 0.5, 'b\na': 0.6, 'a\na\na': 0.4, 'b\na\na': 0.5 };
    const worth = (text: string) => scores[text.trimEnd()] ?? 0;
    const rest = { n: 2, breadth: 2, evaluations: 1 };
    expect((await think(worth, rest)).text).toBe('b\na\na');
    expect((await think(worth, { ...rest, search: 'beam' })).text).toBe('a\na\na');
  });
});

describe('multiAgentTreeOfThoughts', () => {
  /** Agents by turns find a, b, b …, each sure of itself. */
  const agents = (paths: readonly string[], prompts: unknown[] = []): Generator => {
    let next = 0;
    return {
      name: 'agents',
      generate: async (requests) =>
        requests.map(({ prompt, n = 1 }) => {
          if (String(prompt).startsWith('value')) return Array.from({ length: n }, () => completion('0.9'));
          prompts.push(prompt);
          return [{ ...completion(paths[next++ % paths.length]!), stop: null }];
        }),
    };
  };
  const evaluation: ThoughtValues = { method: 'value', prompt: (text) => `value ${text}`, parse: Number };
  const run = (paths: readonly string[], valid: (text: string) => number | null, rest = {}) =>
    multiAgentTreeOfThoughts(
      { prompt: 'q' },
      {
        ...{ generator: agents(paths), verifier: table(valid), n: 1, steps: 1, evaluations: 1, evaluation },
        ...{ extractAnswer: (text: string) => text.at(-1)!, ...rest },
      },
    );

  it('gives no vote to a path that the validator rejects, though most agents are sure of it', async () => {
    const found = await run(['wrong b', 'wrong b', 'right a'], (text) => (text.startsWith('right') ? 1 : 0));
    expect(found).toMatchObject({ answer: 'a', votes: [{ answer: 'a', count: 1 }] });
    expect(found.trace.nodes.filter(({ reason }) => reason === 'not valid')).toHaveLength(2);
    expect((await run(['wrong b', 'wrong b', 'right a'], () => 1)).answer).toBe('b');
    await expect(run(['b'], () => null)).rejects.toThrow(/no path of 3 agents is valid/);
  });

  interface Rounds {
    readonly rounds: [answer: string, valid: number][][];
    readonly answer: string;
    readonly asked: number;
  }
  it.each(goldenOf<{ runs: Rounds[] }>('multi-agent', 'authors').runs)(
    'answers what the authors’ code does after as many trees, where a path is valid: $answer of $asked',
    async ({ rounds, answer, asked }) => {
      const paths = rounds.flat().map(([said, valid]) => `${valid ? 'right' : 'wrong'} ${said}`);
      const prompts: unknown[] = [];
      const options = { generator: agents(paths, prompts), rounds: 3, agreement: 2 };
      const found = run(paths, (text) => Number(text.startsWith('right')), options);
      if (rounds.flat().every(([, valid]) => valid === 0))
        await expect(found).rejects.toThrow(/no path of 3 agents is valid/);
      else expect((await found).answer).toBe(answer);
      expect(prompts).toHaveLength(asked);
    },
  );

  it('has another round where no answer has most votes, with what was rejected', async () => {
    const prompts: unknown[] = [];
    const paths = ['a', 'b', 'no c', 'b', 'b', 'a'];
    const found = await run(paths, (text) => (text.startsWith('no') ? 0 : 1), {
      generator: agents(paths, prompts),
      feedbackPrompt: (rejected: readonly { text: string }[]) => `not ${rejected.map(({ text }) => text)}`,
    });
    expect(prompts).toEqual(['q', 'q', 'q', 'not no c', 'not no c', 'not no c']);
    expect(found).toMatchObject({ answer: 'b', votes: [{ count: 3 }, { count: 2 }] });
    expect((await run(paths, () => 1, { rounds: 1 })).answer).toBe('a');
  });
});

describe('forestOfThought', () => {
  const run = (script: (prompt: string, asked: number) => string, rest = {}) => {
    let asked = 0;
    const generator: Generator = {
      name: 'forest',
      generate: async (requests) =>
        requests.map(({ prompt, n = 1 }) =>
          Array.from({ length: n }, () => {
            const isThought = prompt === 'q';
            return { ...completion(script(String(prompt), isThought ? asked++ : -1)), stop: null };
          }),
        ),
    };
    const evaluation: ThoughtValues = { method: 'value', prompt: (text) => `value ${text}`, parse: Number };
    return forestOfThought(
      { prompt: 'q' },
      {
        ...{ generator, verifier: table((text) => (text === 'b' ? 1 : 0)), n: 1, steps: 1, evaluations: 1, evaluation },
        ...{ extractAnswer: (text: string) => text, ...rest },
      },
    );
  };
  const value = (of: Record<string, number>, trees: string) => (prompt: string, asked: number) =>
    prompt.startsWith('value ') ? String(of[prompt.slice(6)] ?? 0.5) : trees[asked]!;

  it('ends with the answer of more than half of all trees, and plants no more then', async () => {
    const found = await run(value({}, 'aab'), { trees: 3 });
    expect(found).toMatchObject({ answer: 'a', votes: [{ answer: 'a', count: 2 }] });
    expect(found.trace.spent).toMatchObject({ completions: 2 * 2, verifierCalls: 0 });
  });

  it.each(goldenOf<{ runs: { answers: string; planted: number; best: string | null }[] }>('forests', 'authors').runs)(
    'plants as many trees as the authors’ code, and asks the expert where that has no answer of most: $answers',
    async ({ answers, planted, best }) => {
      const { trace, answer, votes } = await run(value({}, answers), { trees: answers.length });
      expect(trace.spent.completions).toBe(2 * planted);
      const isMajority = votes[0]!.count * 2 > answers.length;
      if (isMajority) expect(answer).toBe(best);
      // Theirs is content with most, ours with more than half of all: here no tree's answer but b is right for the expert.
      else expect([trace.spent.verifierCalls, answer]).toEqual([planted, 'b']);
    },
  );

  it('asks the expert where there is no consensus, and counts only trees that are sure', async () => {
    // Two for a, one for b, of four: no majority of trees; the expert knows b.
    expect(await run(value({}, 'aabc'), { trees: 4 })).toMatchObject({ answer: 'b', score: 1 });
    const sure = await run(value({ a: 0.9, b: 0.2 }, 'abba'), { trees: 4, activation: 0.5 });
    expect(sure.votes).toEqual([{ answer: 'a', count: 2, weight: 2 }]);
    await expect(run(value({}, 'ab'), { trees: 2, activation: 0.9 })).rejects.toThrow(/none of 0 active trees/);
  });

  it('corrects a thought of low value, and keeps the better of both', async () => {
    const script = (to: string) => (prompt: string, asked: number) =>
      prompt.startsWith('correct ') ? to : value({ a: 0.1, b: 0.8, c: 0 }, 'a')(prompt, asked);
    const rest = { trees: 1, correction: 0.3, correctPrompt: (text: string) => `correct ${text}` };
    expect((await run(script('b'), rest)).answer).toBe('b');
    expect((await run(script('c'), rest)).answer).toBe('a');
    expect((await run(script('b'), { ...rest, correction: 0.05 })).answer).toBe('a');
  });
});
