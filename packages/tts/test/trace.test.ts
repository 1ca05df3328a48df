import type { Generator } from '@posttrain/interfaces';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from '../../../scripts/chromium.mjs';
import {
  bestOfN,
  gepa,
  majorityVote,
  mcts,
  resumeSearch,
  rStar,
  stepBeamSearch,
  type Trace,
  traceCosts,
  traceRows,
  traceTable,
  traceTexts,
  traceToHtml,
  traceToJson,
  traceToSvg,
  treeOfThoughts,
} from '../src/index.js';
import { goldenOf, LETTERS, scripted, stepper, table, values } from './doubles.js';

const search = (texts: readonly string[], n = texts.length) =>
  bestOfN(
    { prompt: 'What?' },
    { generator: scripted(texts), verifier: table((text) => text.length), n, sampling: { seed: 1 } },
  );

/** A search whose every text is this one. */
const hostileSearch = (hostile: string) =>
  bestOfN(
    { prompt: hostile },
    {
      generator: { ...scripted([hostile]), name: hostile },
      verifier: table(() => 1),
      n: 1,
      extractAnswer: () => hostile,
    },
  );

describe('traceToJson', () => {
  it('is the trace, whole', async () => {
    const { trace } = await search(['1', '22']);
    expect(JSON.parse(traceToJson(trace))).toEqual(trace);
    expect(trace).toMatchObject({
      format: 'posttrain-trace',
      version: 1,
      strategy: 'best-of-n',
      generator: 'scripted',
      verifier: 'table',
      prompt: 'What?',
      n: 2,
      sampling: { seed: 1 },
      exhausted: null,
    });
    expect(trace.nodes[2]).toEqual({
      id: 2,
      parent: 0,
      text: '22',
      seed: 2,
      finishReason: 'stop',
      promptTokens: 5,
      completionTokens: 3,
      answer: '22',
      score: 2,
      status: 'chosen',
    });
  });

  it('counts in `spent` what the nodes add up to', async () => {
    const { trace } = await search(['1', '22', '333']);
    for (const key of ['promptTokens', 'completionTokens'] as const) {
      expect(trace.spent[key]).toBe(trace.nodes.reduce((sum, node) => sum + node[key], 0));
    }
    expect(trace.spent.completions).toBe(trace.nodes.length - 1);
    expect(trace.spent.verifierCalls).toBe(trace.nodes.filter((node) => node.score !== undefined).length);
  });
});

describe('traceTable', () => {
  it('adds the costs up per strategy and n', async () => {
    const traces = [
      (await search(['1', '2'])).trace,
      (await search(['1', '2'])).trace,
      (await majorityVote({ prompt: '' }, { generator: scripted(['1']), n: 4, budget: { maxCompletions: 1 } })).trace,
    ];
    const rows = traceTable(traces);
    expect(rows).toEqual([
      {
        strategy: 'best-of-n (n=2)',
        problems: 2,
        completions: 4,
        generatorCalls: 2,
        promptTokens: 20,
        completionTokens: 12,
        verifierCalls: 4,
        lostCompletions: 0,
        wallTimeMs: expect.any(Number),
        exhausted: 0,
      },
      expect.objectContaining({
        strategy: 'majority-vote (n=4)',
        problems: 1,
        completions: 1,
        verifierCalls: 0,
        exhausted: 1,
      }),
    ]);
  });
});

describe('traceCosts', () => {
  it('are tokens, calls and 2 N FLOPs a token, each model with its own N', async () => {
    const { trace } = await search(['1', '22']);
    expect(traceCosts(trace, { generator: 100 })).toMatchObject({
      completionTokens: 6,
      verifierCalls: 2,
      flops: 2 * 100 * 16,
    });
    const asked = { ...trace, nodes: trace.nodes.map((node) => (node.id === 2 ? { ...node, role: 'small' } : node)) };
    expect(traceCosts(asked, { generator: 100, generators: { small: 1 } }).flops).toBe(2 * 8 * 101);
    const judged = { ...trace, spent: { ...trace.spent, verifierTokens: 7 } };
    expect(traceCosts(judged, { generator: 0, verifier: 5 }).flops).toBe(70);
    // What a cache had was not computed, and watts are joules a second.
    const cached = { ...trace, nodes: trace.nodes.map((node) => ({ ...node, cachedPromptTokens: node.promptTokens })) };
    expect(traceCosts(cached, { generator: 100 }).flops).toBe(2 * 100 * 6);
    const slow = { ...trace, spent: { ...trace.spent, wallTimeMs: 1500 } };
    expect(traceCosts(slow, { generator: 100, watts: 40 }).joules).toBe(60);
    expect(traceCosts(trace, { generator: 100 })).not.toHaveProperty('joules');
    for (const [models, said] of [
      [{ parameters: 100 }, /unknown option "parameters".*"generator"/],
      [{}, /generator is missing/],
      [{ generator: 100, generators: { small: '1' } }, /generators is .* numbers of parameters by role/],
    ] as const) {
      expect(() => traceCosts(trace, models as never)).toThrow(said);
    }
  });
});

describe('traceToSvg', () => {
  it('draws every node and an edge to each, with the path to the chosen one marked', async () => {
    const { trace } = await search(['1', '22', '3']);
    const svg = traceToSvg(trace);
    expect(svg.match(/<g class=/g)).toHaveLength(4);
    expect(svg.match(/<path class="edge"/g)).toHaveLength(2);
    expect(svg.match(/<path class="edge chosen"/g)).toHaveLength(1);
    expect(svg).toContain('best-of-n (n=3) on scripted');
    expect(svg).toContain('22 · score 2 · 3 tok · “22”');
    expect(svg).not.toMatch(/href|url\(|@import/);
  });

  it('lays out deeper trees, parents in the middle of their children', async () => {
    const { trace } = await search(['1']);
    const node = (id: number, parent: number) => ({
      ...trace.nodes[1]!,
      id,
      parent,
      status: id === 4 ? 'chosen' : 'dropped',
    });
    const deep = { ...trace, nodes: [trace.nodes[0]!, node(1, 0), node(2, 0), node(3, 1), node(4, 1)] } as Trace;
    const svg = traceToSvg(deep);
    const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="4.5"/g)].map(([, x, y]) => [
      Number(x),
      Number(y),
    ]);
    expect(circles).toHaveLength(5);
    expect(svg.match(/edge chosen/g)).toHaveLength(2);
    const at = (x: number) =>
      circles
        .filter((circle) => circle[0] === x)
        .map((circle) => circle[1]!)
        .sort((a, b) => a - b);
    const [root] = at(24);
    const [parent, other] = at(144);
    const [first, second] = at(264);
    expect(parent).toBe((first! + second!) / 2);
    expect(root).toBe((parent! + other!) / 2);
  });

  it('lets no text out of its element', async () => {
    const hostile = '</title><script>alert(1)</script>&"\u0000\ud800 \u001b';
    const { trace } = await hostileSearch(hostile);
    const svg = traceToSvg(trace);
    expect(svg).not.toContain('<script');
    expect(svg).not.toMatch(/(?!\n)[\p{Cc}\p{Cs}]/u);
    expect(svg.match(/<title>/g)).toHaveLength(3);
    expect(svg.match(/<\/title>/g)).toHaveLength(3);
  });
});

const STEP = { stop: ['\n'], sampling: { maxTokens: 8, seed: 4 } };
const tree = (rest = {}, generator = stepper(LETTERS, 3)) =>
  mcts({ prompt: 'What?', prefix: '>' }, { generator, verifier: table(values(3)), n: 12, width: 3, ...STEP, ...rest });

describe('traceTexts', () => {
  it('are those that the verifier saw, whatever prompt was asked', async () => {
    const seen: string[] = [];
    const verifier = table((text) => seen.push(text));
    const { trace } = await tree({ verifier });
    const texts = traceTexts(trace);
    const judged = trace.nodes.filter(({ score }) => score !== undefined).map(({ id }) => texts.get(id));
    expect(judged.sort()).toEqual(seen.sort());
  });
});

describe('resumeSearch', () => {
  const plain = ({ trace, ...rest }: { trace: Trace }) => {
    const { spent, budget: _, exhausted: __, ...kept } = trace;
    const { wallTimeMs: ___, generatorCalls: ____, ...counted } = spent;
    return { ...rest, exhausted: undefined, replayed: undefined, trace: { ...kept, spent: counted } };
  };
  const verifier = table(values(3));
  const prompts = {
    remaining: ({ steps }: { steps: readonly unknown[] }) => `solve from ${steps.length}`,
    'sub-question': ({ steps }: { steps: readonly unknown[] }) => `ask ${steps.length}`,
  };
  const evaluation = {
    method: 'value' as const,
    prompt: (text: string) => `value ${text}`,
    parse: (text: string) => text.length,
  };
  // How each search is run, and with how little it ends early and still has something to return.
  const problem = { prompt: 'What?', prefix: '>' };
  const shared = { ...STEP, n: 6 };
  it.each([
    ['mcts', (rest: object) => ({ strategy: mcts, options: { ...shared, verifier, width: 3, ...rest } }), 9],
    [
      'stepBeamSearch',
      (rest: object) => ({ strategy: stepBeamSearch, options: { ...shared, verifier, beamWidth: 2, ...rest } }),
      17,
    ],
    [
      'bestOfN',
      (rest: object) => ({
        strategy: bestOfN,
        options: { ...{ sampling: STEP.sampling, n: 6, verifier, batchSize: 2 }, ...rest },
      }),
      3,
    ],
    [
      'treeOfThoughts',
      (rest: object) => ({
        strategy: treeOfThoughts,
        options: { ...shared, n: 2, steps: 3, search: 'dfs', outputs: 9, evaluation, evaluations: 1, ...rest },
      }),
      14,
    ],
    [
      'gepa',
      (rest: object) => ({
        strategy: gepa,
        options: {
          ...{ sampling: STEP.sampling, n: 4, verifier, minibatch: 2, ...rest },
          train: ['a', 'b', 'c'].map((prompt) => ({ prompt })),
        },
      }),
      12,
    ],
    [
      'rStar',
      (rest: object) => ({
        strategy: rStar,
        options: {
          ...shared,
          prompts,
          width: 2,
          votes: 2,
          masks: 1,
          extractAnswer: (text: string) => text.at(-1),
          ...rest,
        },
      }),
      20,
    ],
  ])(
    'goes on from the trace of %s that its budget ended, to the tree of one that was not',
    async (name, of, maxCompletions) => {
      const run = async (rest: object, resumed?: Trace) => {
        const generator = stepper(LETTERS, 3);
        const discriminator = { ...stepper(LETTERS, 3), name: 'second' };
        const generators = name === 'rStar' ? { generators: { discriminator } } : {};
        const { strategy, options } = of({ generator, ...generators, ...rest });
        const call = strategy as unknown as Parameters<typeof resumeSearch>[0];
        const found = resumed
          ? await resumeSearch(call, resumed, problem, options as never)
          : { ...(await call(problem, options as never)), replayed: 0 };
        const asked = [generator, discriminator]
          .flatMap(({ requests }) => requests)
          .reduce((sum, { n = 1 }) => sum + n, 0);
        return { found, asked };
      };
      const whole = await run({});
      const short = await run({ budget: { maxCompletions } });
      expect(short.found.exhausted).toBe('maxCompletions');
      const again = await run({}, JSON.parse(traceToJson(short.found.trace)) as Trace);
      expect(plain(again.found)).toEqual(plain(whole.found));
      expect(again.found.replayed).toBe(short.asked);
      expect(again.asked).toBe(whole.asked - short.asked);
      const nothing = await run({}, whole.found.trace);
      expect(nothing.asked).toBe(0);
    },
  );

  it.each(['the signal fires', 'a call fails'])(
    'goes on from the trace of a search that ended when %s, to the tree of one that did not',
    async (why) => {
      const options = { verifier, n: 6, width: 3, ...STEP };
      const whole = await mcts(problem, { ...options, generator: stepper(LETTERS, 3) });
      const controller = new AbortController();
      const traces: Trace[] = [];
      const inner = stepper(LETTERS, 3);
      let calls = 0;
      const generator: Generator = {
        name: inner.name,
        generate: async (requests) => {
          if (++calls === 4 && why === 'a call fails') throw new Error('gone');
          if (calls === 4) controller.abort(new Error('gone'));
          return inner.generate(requests);
        },
      };
      const { signal } = controller;
      const onInterrupted = (trace: Trace) => traces.push(JSON.parse(traceToJson(trace)) as Trace);
      await expect(mcts(problem, { ...options, generator, signal, onInterrupted })).rejects.toThrow('gone');
      expect(traces).toHaveLength(1);
      const known = traces[0]!.nodes.filter(({ finishReason }) => finishReason === 'stop').length;
      expect(known).toBeGreaterThan(2);
      const again = await resumeSearch(mcts, traces[0]!, problem, { ...options, generator: stepper(LETTERS, 3) });
      expect(plain(again)).toEqual(plain(whole));
      expect(again.replayed).toBe(known);
    },
  );

  it('takes nothing from a node that only shares a seed', async () => {
    const options = { generator: stepper(LETTERS, 3), verifier, n: 12, width: 3, ...STEP };
    const whole = await mcts(problem, options);
    const { trace } = await mcts(problem, { ...options, budget: { maxCompletions: 6 } });
    const [seed] = trace.nodes.flatMap((node) => node.seed ?? []);
    // All but the first steps as if they had the seed of the first: a request with it takes only what begins where it does.
    const nodes = trace.nodes.map((node) => (node.parent ? { ...node, seed: seed! } : node));
    const resumed = await resumeSearch(mcts, { ...trace, nodes }, problem, options);
    expect(resumed.replayed).toBe(nodes.filter(({ parent }) => parent === 0).length);
    expect(resumed.trace.nodes).toEqual(whole.trace.nodes);
  });

  it('refuses what is not the same search', async () => {
    const { trace } = await tree();
    const options = { generator: stepper(LETTERS, 3), verifier, n: 12, width: 3, ...STEP };
    const resume = (rest = {}, prompt = 'What?', of: Trace = trace) =>
      resumeSearch(mcts, of, { prompt, prefix: '>' }, { ...options, ...rest });
    await expect(resume({}, 'Who?')).rejects.toThrow(/prompt is "Who\?"; it must be the prompt of the trace/);
    await expect(resume({ sampling: { maxTokens: 9, seed: 4 } })).rejects.toThrow(/the sampling of the trace/);
    await expect(resume({ generator: { ...options.generator, name: 'x' } })).rejects.toThrow(
      /named as in the trace: stepper/,
    );
    await expect(
      resumeSearch(stepBeamSearch, trace, problem, {
        generator: options.generator,
        verifier,
        n: 6,
        beamWidth: 3,
        ...STEP,
      }),
    ).rejects.toThrow(/the trace is of mcts, and step-beam-search was run/);
    const { trace: unseeded } = await bestOfN(problem, { generator: scripted(['1']), verifier, n: 1 });
    await expect(
      resumeSearch(bestOfN, unseeded, problem, { generator: scripted(['1']), verifier, n: 2 }),
    ).rejects.toThrow(/only be resumed with a sampling.seed/);
    await expect(resumeSearch(mcts, {} as never, problem, options)).rejects.toThrow(/the trace of a search/);
  });
});

describe('traceRows', () => {
  it('are the solution, preferences between siblings, and steps with what the search knows of them', async () => {
    const { trace, text, score } = await tree();
    expect(traceRows(trace, { kind: 'completion' })).toEqual([{ prompt: 'What?', completion: text, score }]);
    const good = traceRows(trace, { kind: 'completion', minScore: 0.3 });
    expect(good.length).toBeGreaterThan(1);
    expect(good.every((row) => row.score! >= 0.3)).toBe(true);
    expect(new Set(good.map(({ completion }) => completion)).size).toBe(good.length);
    const { trace: beam } = await stepBeamSearch(
      { prompt: [{ role: 'user', content: 'What?' }] },
      {
        generator: stepper(LETTERS, 2),
        verifier: table((it) => (it.startsWith('a') ? 1 : 0.5)),
        n: 6,
        beamWidth: 3,
        ...STEP,
      },
    );
    const pairs = traceRows(beam, { kind: 'preference' });
    expect(pairs.length).toBeGreaterThan(0);
    for (const { chosen, rejected, margin } of pairs) {
      expect([chosen, rejected, margin]).toEqual([
        [{ role: 'assistant', content: expect.stringMatching(/^a/) }],
        [{ role: 'assistant', content: expect.stringMatching(/^[bc]/) }],
        0.5,
      ]);
    }
    expect(traceRows(beam, { kind: 'preference', minMargin: 0.6 })).toEqual([]);
    const [row] = traceRows(trace, { kind: 'stepwise' });
    expect(row!.completions.join('')).toBe(text);
    const [steps] = traceRows(beam, { kind: 'stepwise' });
    expect(steps).toMatchObject({ completions: [expect.stringMatching(/^a\n$/), expect.any(String)], labels: [1, 1] });
    expect(() => traceRows(trace, { kind: 'rows' as never })).toThrow(
      /one of completion, preference, chain, step-value, process-preference, stepwise/,
    );
  });

  it('are steps behind what both share: those on the way to the solution against those on none, and by what the search holds for better', async () => {
    const { trace, text } = await tree();
    const texts = traceTexts(trace);
    const said = (id: number) => (trace.nodes[id]!.parent === null ? trace.prefix : texts.get(id)!);
    const chain = traceRows(trace, { kind: 'chain' });
    expect(chain.length).toBeGreaterThan(2);
    for (const { prompt, chosen, rejected } of chain) {
      // The solution begins with what is chosen, and not with what is rejected.
      expect(`What?${text}`.startsWith(prompt + chosen)).toBe(true);
      expect(`What?${text}`.startsWith(prompt + rejected)).toBe(false);
    }
    const tried = trace.nodes.filter(({ parent }) => parent !== null);
    const chosen = tried.find(({ status }) => status === 'chosen')!;
    let beside = 0;
    for (let at = chosen; at.parent !== null; at = trace.nodes[at.parent]!) {
      beside += tried.filter(({ id, parent }) => parent === at.parent && said(id) !== said(at.id)).length;
    }
    expect(chain.length).toBe(beside);

    const q = ({ payload, score }: Trace['nodes'][number]) =>
      (payload as { q?: number } | undefined)?.q ?? score ?? null;
    const pairs = traceRows(trace, { kind: 'step-value', minMargin: 0.1 });
    const all = tried.flatMap((better) =>
      tried.flatMap((worse) => {
        const [high, low] = [q(better), q(worse)];
        if (better.parent !== worse.parent || high === null || low === null || high - low < 0.1) return [];
        const prompt = `What?${said(better.parent!)}`;
        return [{ prompt, chosen: better.text, rejected: worse.text, chosen_value: high, rejected_value: low }];
      }),
    );
    expect(all.length).toBeGreaterThan(2);
    const sorted = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).sort();
    expect(sorted(pairs)).toEqual(sorted(all));
    const asked = { ...trace, prompt: [{ role: 'user' as const, content: 'What?' }] };
    expect(() => traceRows(asked, { kind: 'chain' })).toThrow(
      /trace\.prompt is .*a text for rows of chain, step-value/,
    );
  });

  interface Run {
    readonly nodes: readonly { parent: number; text: string; q: number; score?: number }[];
    readonly pairs: readonly [before: string, chosen: string, rejected: string, margin: number][];
  }
  it.each(goldenOf<{ runs: Run[] }>('process-preferences').runs)(
    'are the pairs that the code of rStar-Math takes, each of the better of two steps by what lies below',
    async ({ nodes, pairs }) => {
      const { trace } = await tree();
      const grown = nodes.map(({ parent, text, q, score }, id) => ({
        ...{ id, parent: id === 0 ? null : parent, text, payload: { q }, status: 'dropped' as const, answer: null },
        ...{ promptTokens: 0, completionTokens: 1, finishReason: id === 0 ? null : ('stop' as const) },
        ...(score === undefined ? { stop: '\n' } : { score }),
      }));
      const planted: Trace = { ...trace, prompt: 'P', prefix: '', nodes: grown };
      const rows = traceRows(planted, { kind: 'process-preference' });
      const wanted = pairs.map(([before, chosen, rejected]) => [`P${before}`, chosen, rejected]);
      expect(rows.map(({ prompt, chosen, rejected }) => [prompt, chosen, rejected])).toEqual(wanted);
      rows.forEach(({ chosen_value, rejected_value }, i) => {
        expect(chosen_value - rejected_value).toBeCloseTo(pairs[i]![3], 9);
      });
      expect(rows.length).toBeGreaterThan(2);
      // Nothing is right at a score that none has, and no margin is as wide as all values.
      expect(traceRows(planted, { kind: 'process-preference', minScore: 2 })).toEqual([]);
      expect(traceRows(planted, { kind: 'process-preference', minMargin: 2.1 })).toEqual([]);
    },
  );

  it('take at most two a side of one place, four where the other side has one, and none where all lead to the same', async () => {
    const { trace } = await tree();
    const siblings = (scores: readonly number[], q: readonly number[]) => {
      const row = { status: 'dropped' as const, answer: null, promptTokens: 0, completionTokens: 1 };
      const root = { ...row, id: 0, parent: null, text: '', finishReason: null };
      const below = scores.map((score, i) => ({
        ...{ ...row, id: i + 1, parent: 0, text: 'abcdef'[i]!, finishReason: 'stop' as const, score },
        payload: { q: q[i]! },
      }));
      const rows = traceRows({ ...trace, prompt: 'P', nodes: [root, ...below] }, { kind: 'process-preference' });
      return rows.map(({ chosen, rejected }) => chosen + rejected);
    };
    expect(siblings([1, 1, 1, 0, 0, 0], [0.7, 0.9, 0.8, 0.3, 0.1, 0.2])).toEqual(['be', 'bf', 'ce', 'cf']);
    expect(siblings([1, 0, 0, 0, 0, 0], [0.9, 0.5, 0.4, 0.3, 0.2, 0.1])).toEqual(['af', 'ae', 'ad', 'ac']);
    expect(siblings([1, 1, 1], [0.7, 0.9, 0.8])).toEqual([]);
    expect(siblings([1, 0], [0.2, 0.4])).toEqual([]);
  });

  it('leave out what answered another prompt', async () => {
    const evaluation = {
      method: 'value' as const,
      prompt: (text: string) => `value ${text}`,
      parse: (text: string) => text.length,
    };
    const { trace, text } = await treeOfThoughts(
      { prompt: 'What?' },
      { generator: stepper(LETTERS, 2), n: 2, steps: 2, evaluation, evaluations: 1, ...STEP },
    );
    expect(traceRows(trace, { kind: 'completion' })).toMatchObject([{ completion: text }]);
    const proposed = await treeOfThoughts(
      { prompt: 'What?' },
      {
        ...{ generator: stepper(['a\nb'], 1), n: 2, steps: 2, evaluation, evaluations: 1 },
        proposePrompt: (thoughts: string) => `next ${thoughts}`,
      },
    );
    expect(traceRows(proposed.trace, { kind: 'completion' })).toMatchObject([{ completion: proposed.text }]);
    const contents = traceRows(trace, { kind: 'completion', minScore: 0 }).map(({ completion }) => completion);
    expect(contents.every((it) => /^[abc]\n[abc]$/.test(String(it)))).toBe(true);
  });
});

const executablePath = findChromium();
describe.skipIf(!executablePath)(
  `traceToHtml in a real browser${executablePath ? '' : ' (skipped: no Chromium found)'}`,
  () => {
    let browser: Browser;
    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-gpu'] });
    });
    afterAll(() => browser?.close());
    async function open(trace: Trace) {
      const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('dialog', (dialog) => complaints.push(dialog.message()));
      page.on('request', (request) => complaints.push(`asked for ${request.url()}`));
      await page.setContent(traceToHtml(trace), { waitUntil: 'load' });
      return { page, complaints };
    }

    it('shows every node with its score and cost, what was pruned and why, and a node’s whole text when it is chosen', async () => {
      const { trace, text } = await tree();
      const { page, complaints } = await open(trace);
      const rows = page.locator('#nodes tbody tr');
      expect(await rows.count()).toBe(trace.nodes.length);
      expect(await page.locator('#tree circle:not(.ring)').count()).toBe(trace.nodes.length);
      const chosen = trace.nodes.find(({ status }) => status === 'chosen')!;
      await page.locator(`#tree g[data-node="${chosen.id}"] circle:not(.ring)`).click();
      expect(await page.locator('#node pre').textContent()).toBe(text);
      expect(await page.locator('tr.shown').getAttribute('data-node')).toBe(String(chosen.id));
      await rows.nth(0).press('Enter');
      expect(await page.locator('#node pre').textContent()).toBe('What?>');
      const reasons = await page.locator('#pruned tbody tr').allTextContents();
      const dropped = trace.nodes.filter(({ status }) => status === 'dropped');
      const counts = await page.locator('#pruned tbody td:nth-child(2)').allTextContents();
      expect(reasons.length).toBe(new Set(dropped.map(({ reason }) => reason)).size);
      expect(counts.reduce((sum, it) => sum + Number(it), 0)).toBe(dropped.length);
      expect(await page.locator('#costs').textContent()).toContain(`completions${trace.spent.completions}`);
      expect(complaints).toEqual([]);
      await page.close();
    });

    it('lets no text out of its element', async () => {
      const hostile = '</script><script>alert(1)</script><img src=x onerror=alert(2)>&"\u0000\u2028<!--';
      const { trace } = await hostileSearch(hostile);
      const { page, complaints } = await open(trace);
      await page.locator('#nodes tbody tr').nth(1).click();
      expect(await page.locator('#node pre').textContent()).toBe(hostile);
      expect(complaints).toEqual([]);
      await page.close();
    });
  },
);
