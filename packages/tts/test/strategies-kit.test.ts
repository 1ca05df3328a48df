import type { Generator, Sandbox } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { extractCode, quickjs } from '../../sandbox/src/index.js';
import {
  adaptiveConsistency,
  autoCot,
  bestOfN,
  budgetForcing,
  chainOfThought,
  chainOfVerification,
  complexityBased,
  confidenceInformedSelfConsistency,
  confidenceSampling,
  cotDecoding,
  debate,
  deepConf,
  deepConfOnline,
  earlyStoppingSelfConsistency,
  genSelect,
  graphOfThoughts,
  knockoutTournament,
  leastToMost,
  lengthControl,
  majorityVote,
  mcts,
  minimumBayesRisk,
  mur,
  programAided,
  rebase,
  recursiveSelfAggregation,
  regularizedBestOfN,
  Search,
  type Strategy,
  type StrategyOptions,
  selfCertainty,
  selfPolish,
  selfRefine,
  sequentialRevision,
  skeletonOfThought,
  softBestOfN,
  speculativeRejection,
  stepBeamSearch,
  strategyOptions,
  swissTournament,
  type ThoughtValues,
  treeOfThoughts,
  universalSelfConsistency,
  type VerifiedStrategyOptions,
  verifierOption,
  weightedBestOfN,
  zeroShotCot,
} from '../src/index.js';
import { type KitOptions, testStrategy } from '../src/testing/index.js';
import { completion, enumerating, goldenOf, LETTERS, reporting, scripted, values } from './doubles.js';

describe('the kit', () => {
  testStrategy(it, 'bestOfN', bestOfN, (kit) => kit);
  testStrategy(it, 'weightedBestOfN', weightedBestOfN, (kit) => kit);
  testStrategy(it, 'majorityVote', majorityVote, ({ verifier: _, ...kit }) => kit);
  testStrategy(it, 'stepBeamSearch', stepBeamSearch, (kit) => ({ ...kit, beamWidth: 2, stop: ['\n'] }));
  const echo: Sandbox = {
    ...{
      name: 'echo',
      languages: ['digits'],
      commands: false,
      probe: async () => ({ sandbox: 'echo', ok: true, checks: [] }),
    },
    run: async (job) => ({
      ...{ exitCode: 0, stoppedBy: null, stderr: '', stdoutTruncated: false, stderrTruncated: false, wallMs: 1 },
      stdout: 'code' in job ? job.code : '',
    }),
  };
  testStrategy(it, 'programAided', programAided, ({ verifier: _, ...kit }) => ({ ...kit, sandbox: echo }));
  const few = { n: 3 };
  const plain: Record<string, Strategy<StrategyOptions>> = {
    ...{ adaptiveConsistency, complexityBased, chainOfVerification, debate, earlyStoppingSelfConsistency, genSelect },
    ...{ knockoutTournament, leastToMost, recursiveSelfAggregation, selfPolish, selfRefine, skeletonOfThought },
    ...{ swissTournament, universalSelfConsistency, zeroShotCot },
    ...{ confidenceSampling, cotDecoding, deepConf, selfCertainty },
  };
  for (const [name, strategy] of Object.entries(plain)) {
    testStrategy(
      it,
      name,
      strategy,
      ({ verifier: _, ...kit }) => ({ ...kit, generator: reporting(kit.generator) }),
      few,
    );
  }
  const judged: Record<string, Strategy<VerifiedStrategyOptions>> = {
    ...{ confidenceInformedSelfConsistency, sequentialRevision, softBestOfN, speculativeRejection },
    mur: (problem, options) => mur(problem, { ...options, stop: ['\n'] }),
    sideBySide: (problem, options) => sequentialRevision(problem, { ...options, chains: 3 }),
    regularizedBestOfN: (problem, options) => regularizedBestOfN(problem, { ...options, regularizer: 'kl', beta: 0.5 }),
  };
  for (const [name, strategy] of Object.entries(judged)) {
    testStrategy(it, name, strategy, (kit) => ({ ...kit, generator: reporting(kit.generator) }), few);
  }
  testStrategy(it, 'autoCot', autoCot, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, questions: ['a', 'b', 'c', 'd'], clusters: 2 },
    embedder: { name: 'places', embed: async (texts) => texts.map((_, i) => new Float32Array([i])) },
  }));
  testStrategy(it, 'budgetForcing', budgetForcing, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, maxThinkingTokens: 12, thinkingEnd: '\n' },
  }));
  testStrategy(it, 'chainOfThought', chainOfThought, ({ verifier: _, ...kit }) => ({ ...kit, demonstrations: [] }));
  testStrategy(it, 'deepConfOnline', deepConfOnline, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, generator: reporting(kit.generator), warmup: 2, together: 2, consensus: 1, window: 2, piece: 2 },
  }));
  testStrategy(it, 'knockoutTournament with a judge of pairs', knockoutTournament, ({ verifier, ...kit }) => ({
    ...kit,
    judge: {
      name: 'pairs',
      compare: async (requests) =>
        (await verifier.verify(requests.map(({ prompt, first }) => ({ prompt, completion: first })))).map(
          ({ score, usage }) => ({ winner: score! > 0.5 ? 'first' : 'second', ...(usage && { usage }) }),
        ),
    },
  }));
  testStrategy(it, 'lengthControl', lengthControl, ({ verifier: _, ...kit }) => ({ ...kit, targetTokens: 3 }));
  testStrategy(it, 'minimumBayesRisk', minimumBayesRisk, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, utility: (a: string, b: string) => Number(a === b) },
  }));
  testStrategy(it, 'rebase', rebase, (kit) => ({ ...kit, stop: ['\n'] }));
  testStrategy(it, 'mcts with rollouts', mcts, (kit) => ({ ...kit, width: 2, stop: ['\n'] }));
  testStrategy(it, 'mcts with values', mcts, (kit) => ({
    ...kit,
    width: 3,
    stop: ['\n'],
    simulation: 'value' as const,
  }));
  testStrategy(it, 'graphOfThoughts', graphOfThoughts, (kit) => ({
    ...{ ...kit, keep: 3, aggregates: 2, refinements: 2, refinementWidth: 2 },
    aggregatePrompt: (thoughts) => `Together: ${thoughts.join(' ')}`,
    refinePrompt: (thought) => `Better: ${thought}`,
  }));
  const values: ThoughtValues = { method: 'value', prompt: (thoughts) => `How good: ${thoughts}`, parse: Number };
  const thoughts = { steps: 3, stop: ['\n'], evaluations: 2 };
  testStrategy(it, 'treeOfThoughts breadth-first with votes', treeOfThoughts, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, ...thoughts, n: 3, breadth: 2 },
    evaluation: {
      method: 'vote' as const,
      prompt: (states: readonly string[]) => `Which: ${states.join(', ')}`,
      parse: Number,
    },
  }));
  testStrategy(it, 'treeOfThoughts breadth-first with values', treeOfThoughts, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, ...thoughts, n: 3, breadth: 2, evaluation: values },
  }));
  testStrategy(it, 'treeOfThoughts depth-first of proposals', treeOfThoughts, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, ...thoughts, search: 'dfs' as const, threshold: 0.5, outputs: 2, evaluation: values },
    proposePrompt: (thoughts) => `What next: ${thoughts}`,
  }));
});

describe('the kit finds', () => {
  const judged = strategyOptions('judged', { verifier: verifierOption });
  /** The names of the checks that a strategy does not pass. */
  async function failures(strategy: Strategy<VerifiedStrategyOptions>): Promise<string[]> {
    const checks: [string, () => Promise<void>][] = [];
    testStrategy(
      (name, body) => checks.push([name.slice('it '.length), body]),
      'it',
      strategy,
      (kit: KitOptions) => kit,
    );
    const failed: string[] = [];
    for (const [name, body] of checks) await body().catch(() => failed.push(name));
    return failed;
  }
  const chosen = (search: Search, nodes: Awaited<ReturnType<Search['draw']>>) => {
    if (!nodes[0]) throw search.nothing('nothing');
    return search.finish(nodes[0]);
  };

  it('nothing in a strategy that is in order', async () => {
    expect(
      await failures(async (problem, options) => {
        const search = new Search(judged, problem, options);
        return chosen(search, await search.draw());
      }),
    ).toEqual([]);
  });

  it('who asks the generator past the search', async () => {
    const failed = await failures(async (problem, options) => {
      const search = new Search(judged, problem, options);
      await options.generator.generate([{ prompt: problem.prompt, n: 1 }]);
      return chosen(search, await search.draw());
    });
    expect(failed).toEqual([
      'never exceeds a budget',
      'is charged for calls that fail, and tried again only within the budget',
      'ends with the caller’s signal, and leaves nothing running',
    ]);
  });

  it('who goes by what was faster', async () => {
    let runs = 0;
    const failed = await failures(async (problem, options) => {
      const search = new Search(judged, problem, options);
      const nodes = await search.expand(search.root, { n: 2 + (runs++ % 2) });
      return chosen(search, nodes);
    });
    expect(failed).toEqual(['finds the same tree at any concurrency and with any delays']);
  });
});

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
    await expect(think(() => 0, { search: 'best-first' })).rejects.toThrow(/one of "bfs", "dfs"/);
    const evaluation = { method: 'vote', prompt: () => '', parse: () => 0 };
    await expect(think(() => 0, { search: 'dfs', evaluation })).rejects.toThrow(/needs values/);
    await expect(think(() => 0, { evaluation: { method: 'score' } })).rejects.toThrow(/method: 'value' or 'vote'/);
  });
});

describe('programAided', () => {
  const sandbox = quickjs();
  const question = { prompt: 'How many seats have 7 buses of 48?' };
  const ask = (programs: readonly string[], rest = {}) =>
    programAided(question, {
      generator: scripted(programs),
      n: programs.length,
      sandbox,
      limits: { wallMs: 2000 },
      ...rest,
    });

  it('answers what the programs compute, by majority, and says of the others why they have no vote', async () => {
    const result = await ask([
      'print(7 + 48)',
      'const seats = 48; print(7 * seats + ".0")',
      'throw new Error("no idea")',
      'print(BigInt(7) * 48n)',
      'while (true) {}',
      '',
    ]);
    expect(result).toMatchObject({ answer: String(7 * 48), text: 'const seats = 48; print(7 * seats + ".0")' });
    expect(result.votes).toEqual([
      { answer: '336', count: 2, weight: 2 },
      { answer: '55', count: 1, weight: 1 },
    ]);
    const reasons = result.trace.nodes.slice(1).map(({ reason }) => reason);
    expect(reasons).toEqual([
      ...['outvoted', undefined, expect.stringMatching(/^program failed .*no idea/), undefined],
      ...['program stopped: wall-time', 'no answer found'],
    ]);
    expect(result.trace.nodes.slice(1).map(({ answer }) => answer)).toEqual(['55', '336', null, '336', null, null]);
  });

  it('takes programs out of text, asks for the value of an expression, and reads the answer as it is told', async () => {
    const program = (body: string) => `Let us see.\n\`\`\`js\nfunction solution() { return ${body}; }\n\`\`\``;
    const result = await ask([program('2 ** 100'), program('1n << 100n'), program('2n ** 100n'), 'I do not know.'], {
      ...{ answerExpression: 'solution()', extractAnswer: (stdout: string) => `<${stdout}>` },
      extractProgram: (text: string) => (text.includes('```') ? extractCode(text, 'javascript') : null),
    });
    expect(result.answer).toBe('<1267650600228229401496703205376>');
    expect(result.trace.nodes.at(-1)!.reason).toBe('no program found');
  });

  it('gives a program no file of this machine, and throws where none has an answer or the sandbox cannot run', async () => {
    await expect(
      ask(['print(read("/etc/passwd"))', 'import("node:fs").then((fs) => print(fs.readdirSync("/")))']),
    ).rejects.toThrow(/none of 2 programs has an answer/);
    const broken: Sandbox = { ...sandbox, run: () => Promise.reject(new Error('no isolation here')) };
    await expect(ask(['print(1)'], { sandbox: broken })).rejects.toThrow('no isolation here');
    await expect(ask(['print(1)'], { language: 'python' })).rejects.toThrow(/language is "python".*one of javascript/);
  });

  it('kills what runs when the wall time is over, and goes by the programs that came to their end', async () => {
    await expect(
      ask(['while (true) {}'], { limits: { wallMs: 60_000 }, budget: { maxWallTimeMs: 600 } }),
    ).rejects.toThrow(/maxWallTimeMs/);
    const reason = new Error('enough');
    await expect(ask(['print(1)'], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
