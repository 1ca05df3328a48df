import type { Sandbox } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { extractCode, quickjs } from '../../sandbox/src/index.js';
import {
  adaptiveConsistency,
  alphaLlm,
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
  diverseVerifierTreeSearch,
  earlyStoppingSelfConsistency,
  forestOfThought,
  genSelect,
  graphOfThoughts,
  knockoutTournament,
  lats,
  leastToMost,
  lengthControl,
  liteSearch,
  majorityVote,
  mctSelfRefine,
  mcts,
  minimumBayesRisk,
  multiAgentTreeOfThoughts,
  mur,
  particleFiltering,
  programAided,
  qGuided,
  rebase,
  recursiveSelfAggregation,
  regularizedBestOfN,
  restMcts,
  rStar,
  Search,
  type Strategy,
  type StrategyOptions,
  scMcts,
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
  treeBon,
  treeOfThoughts,
  universalSelfConsistency,
  type VerifiedStrategyOptions,
  verifierOption,
  weightedBestOfN,
  zeroShotCot,
} from '../src/index.js';
import { type KitOptions, testStrategy } from '../src/testing/index.js';
import { reporting, scripted } from './doubles.js';

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
  testStrategy(it, 'mcts with priors', mcts, (kit) => ({
    ...{ ...kit, verifiers: { prior: kit.verifier }, policy: 'puct' as const, width: 2, stop: ['\n'] },
  }));
  testStrategy(it, 'stepBeamSearch with lookahead', stepBeamSearch, (kit) => ({
    ...{ ...kit, beamWidth: 3, stop: ['\n'], lookahead: 1 },
  }));
  testStrategy(it, 'diverseVerifierTreeSearch', diverseVerifierTreeSearch, (kit) => ({
    ...{ ...kit, beamWidth: 2, stop: ['\n'] },
  }));
  testStrategy(it, 'particleFiltering', particleFiltering, (kit) => ({
    ...{ ...kit, stop: ['\n'], verifiers: { outcome: kit.verifier } },
    ...{ resampling: 'systematic' as const, annealing: 'entropy' as const, essThreshold: 0.9 },
  }));
  const judges = ({ verifier }: KitOptions, ...roles: string[]) =>
    Object.fromEntries(roles.map((role) => [role, verifier]));
  testStrategy(it, 'mctSelfRefine', mctSelfRefine, (kit) => ({
    ...{ ...kit, maxChildren: 1, feedbackPrompt: (answer) => `Faults of ${answer}` },
    refinePrompt: (answer, feedback) => `Better than ${answer}: ${feedback}`,
  }));
  testStrategy(it, 'restMcts', restMcts, (kit) => ({ ...kit, width: 2, rolloutWidth: 2, stop: ['\n'] }));
  testStrategy(it, 'liteSearch', liteSearch, (kit) => ({ ...kit, minValue: 0.99, iterations: 6, stop: ['\n'] }));
  testStrategy(it, 'treeBon', treeBon, (kit) => ({
    ...{ ...kit, layers: 2, children: 3, segmentTokens: 2, verifiers: judges(kit, 'outcome') },
  }));
  testStrategy(it, 'lats', lats, (kit) => ({
    ...{ ...kit, n: 3, width: 2, stop: ['\n'], verifiers: judges(kit, 'value') },
    reflectPrompt: (failed) => `Why not ${failed}`,
    memoryPrompt: (reflections) => `Remember ${reflections.join(' and ')}`,
  }));
  testStrategy(it, 'alphaLlm', alphaLlm, (kit) => ({
    ...{ ...kit, n: 3, minChildren: 1, maxChildren: 3, stop: ['\n'] },
    ...{ verifiers: judges(kit, 'process', 'outcome', 'prior'), generators: { fast: kit.generator } },
  }));
  testStrategy(it, 'scMcts', scMcts, (kit) => ({
    ...{ ...kit, n: 3, width: 2, stop: ['\n'], rewards: { a: 1, b: 2 }, verifiers: judges(kit, 'a', 'b') },
  }));
  testStrategy(it, 'qGuided', qGuided, (kit) => ({ ...kit, n: 2, stop: ['\n'] }));
  testStrategy(it, 'rStar', rStar, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, n: 3, width: 1, votes: 3, masks: 2, maxDepth: 3, generators: { discriminator: kit.generator } },
    prompts: {
      'one-step': ({ steps }) => `Step ${steps.length}`,
      remaining: ({ question, steps }) => `Solve ${question} from ${steps.length}`,
      'sub-question': ({ steps }) => `Ask ${steps.map(({ text }) => text).join('')}`,
      'answer-again': ({ steps }) => `Again ${steps.length}`,
      rephrase: ({ question }) => `Say ${question}`,
    },
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
  testStrategy(it, 'treeOfThoughts best-first', treeOfThoughts, ({ verifier: _, ...kit }) => ({
    ...{ ...kit, ...thoughts, n: 2, search: 'a-star' as const, thoughtCost: 0.1, outputs: 2, evaluation: values },
  }));
  testStrategy(it, 'multiAgentTreeOfThoughts', multiAgentTreeOfThoughts, (kit) => ({
    ...{ ...kit, ...thoughts, n: 2, breadth: 1, agents: 2, validity: 0.6, evaluation: values },
    feedbackPrompt: (rejected) => `Not so: ${rejected.map(({ text }) => text).join(' or ')}`,
  }));
  testStrategy(it, 'forestOfThought', forestOfThought, (kit) => ({
    ...{ ...kit, ...thoughts, n: 2, breadth: 1, trees: 3, correction: 2, evaluation: values },
    correctPrompt: (thoughts) => `Correct: ${thoughts}`,
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
