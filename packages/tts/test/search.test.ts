import { readFileSync } from 'node:fs';
import type { Completion, Generator, Verifier } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ContractError,
  Search,
  type SearchNode,
  type SearchOptions,
  strategyOptions,
  type Trace,
  traceTable,
  traceToJson,
  traceToSvg,
  verifierOption,
} from '../src/index.js';
import { completion, scripted, stepper, table } from './doubles.js';

const STEP = { stop: ['\n'], maxTokens: 4 };
const mine = strategyOptions('mine', { verifier: verifierOption });
const searchOf = (options: Partial<SearchOptions> = {}) =>
  new Search(
    mine,
    { prompt: 'q', prefix: '>' },
    { generator: stepper(['a', 'b', 'c'], 3), n: 1, verifier: table((text) => text.length), ...options },
  );
/** All that a node is, but for what it holds on to. */
const plain = (trace: Trace) => ({ ...trace, spent: { ...trace.spent, wallTimeMs: 0, generatorCalls: 0 } });

describe('expand', () => {
  it('tells a step from an end, and goes on from the text so far', async () => {
    const generator = stepper(['a'], 2);
    const search = searchOf({ generator, extractAnswer: (text) => text.at(-1)! });
    const [step] = (await search.expand(search.root, { n: 1, ...STEP })) as [SearchNode];
    expect(step).toMatchObject({ text: '>a\n', state: 'open', depth: 1, answer: null, parents: [search.root] });
    const [end] = (await search.expand(step, { n: 1, ...STEP })) as [SearchNode];
    expect(end).toMatchObject({ text: '>a\na', state: 'ended', depth: 2, answer: 'a' });
    expect(generator.requests.map(({ prefix, stop, maxTokens }) => [prefix, stop, maxTokens])).toEqual([
      ['>', ['\n'], 4],
      ['>a\n', ['\n'], 4],
    ]);
    await search.verify([end]);
    const { text, score, trace } = search.finish(end);
    expect([text, score]).toEqual(['>a\na', 4]);
    expect(trace.nodes.map(({ parent, text, status, stop }) => [parent, text, status, stop])).toEqual([
      [null, '', 'kept', undefined],
      [0, 'a\n', 'kept', '\n'],
      [1, 'a', 'chosen', undefined],
    ]);
  });

  it('is cut off at its tokens, aborted, or ended by a stop of the sampling, and is no step then', async () => {
    const answers: Partial<Completion>[] = [
      { finishReason: 'length' },
      { finishReason: 'stop', stop: 'Q:' },
      { finishReason: 'stop', stop: '\n' },
      { finishReason: 'abort' },
    ];
    const generator: Generator = {
      name: 'g',
      generate: async () => [answers.map((it) => ({ ...completion('x'), stop: null, ...it }))],
    };
    const search = searchOf({ generator, sampling: { stop: ['Q:'] } });
    const nodes = await search.expand(search.root, { n: 4, ...STEP });
    expect(nodes.map(({ state, text }) => [state, text])).toEqual([
      ['cut', '>x'],
      ['ended', '>x'],
      ['open', '>x\n'],
    ]);
    const { nodes: traced } = search.finish(nodes[0]!).trace;
    expect(traced.at(-1)).toMatchObject({ finishReason: 'abort', status: 'dropped', reason: 'aborted' });
  });

  it('refuses a generator that does not say what ended a step', async () => {
    const search = searchOf({ generator: scripted(['a']) });
    await expect(search.expand(search.root, { n: 1, ...STEP })).rejects.toThrow(
      /"scripted" does not say which stop string/,
    );
    await expect(search.expand(search.root, { n: 1, stpo: [] } as never)).rejects.toThrow(/Did you mean "stop"/);
    await expect(search.expand(search.root, { n: 1, role: 'critic' })).rejects.toThrow(/needs generators.critic/);
    const [ended] = await search.expand(search.root, { n: 1 });
    await expect(search.expand(ended!, { n: 1 })).rejects.toThrow(/the model has ended this node's text/);
  });

  it('goes out as one batch a turn, in calls of at most batchSize completions, and comes back together', async () => {
    const sizes: number[][] = [];
    const inner = stepper(['a', 'b'], 9);
    const generator: Generator = {
      name: 'g',
      generate: (requests) => {
        sizes.push(requests.map(({ n }) => n!));
        return inner.generate(requests);
      },
    };
    const search = searchOf({ generator });
    await Promise.all([3, 2].map((n) => search.expand(search.root, { n, ...STEP })));
    expect(sizes.splice(0)).toEqual([[3, 2]]);
    const narrow = searchOf({ generator, batchSize: 2 });
    const [first, second] = await Promise.all([3, 2].map((n) => narrow.expand(narrow.root, { n, ...STEP })));
    expect(sizes.splice(0)).toEqual([[2], [1, 1], [1]]);
    expect(inner.requests.slice(2).map(({ seed }) => seed! - inner.requests[0]!.seed!)).toEqual([0, 2, 3, 4]);
    expect([first!.length, second!.length]).toEqual([3, 2]);
  });

  it('asks another generator by role, and begins a text of its own with a prompt', async () => {
    const critic = stepper(['z'], 1);
    const search = searchOf({ generators: { critic } });
    const [thought] = await search.expand(search.root, { n: 1, prompt: 'judge', prefix: 'so: ', role: 'critic' });
    expect(thought).toMatchObject({ text: 'so: z', state: 'ended' });
    expect(critic.requests[0]).toMatchObject({ prompt: 'judge', prefix: 'so: ' });
    const { trace } = search.finish(thought!);
    expect(trace).toMatchObject({ generators: { critic: 'stepper' } });
    expect(trace.nodes[1]).toMatchObject({ role: 'critic', text: 'so: z' });
  });
});

describe('merge and verify', () => {
  it('makes a node of several, which is drawn with all its parents', async () => {
    const search = searchOf({ verifiers: { other: table(() => 0.5) } });
    const parts = await search.expand(search.root, { n: 2, ...STEP });
    await search.verify(parts);
    const both = search.merge(parts, { from: 'two' }, '>ab\n');
    expect(both).toMatchObject({ depth: 2, state: 'open', parents: parts });
    const [end] = (await search.expand(both, { n: 1, ...STEP })) as [SearchNode];
    await search.verify([end]);
    await search.verify([end], { role: 'other' });
    expect(end.score).toBe(0.5);
    expect(end.text.startsWith('>ab\n')).toBe(true);
    const { trace } = search.finish(end);
    expect(JSON.parse(traceToJson(trace))).toEqual(trace);
    expect(trace.nodes[3]).toMatchObject({ parent: 1, parents: [1, 2], payload: { from: 'two' }, status: 'kept' });
    expect(trace.nodes[4]).toMatchObject({ verifierCalls: 2, status: 'chosen' });
    const svg = traceToSvg(trace);
    expect(svg.match(/<path class="edge chosen"/g)).toHaveLength(4);
    expect(svg.match(/<path class="edge chosen merged"/g)).toHaveLength(1);
    expect(() => search.merge([])).toThrow(/nodes is \[\]; it must be a list of at least one node/);
    await expect(search.verify([end], { role: 'none' })).rejects.toThrow(/needs verifiers.none/);
  });

  it('keeps step scores, and the tokens that judging took, by node', async () => {
    const verifier: Verifier = {
      name: 'prm',
      verify: async (requests) =>
        requests.map(() => ({ score: 1, stepScores: [0.5, 1], usage: { promptTokens: 3, completionTokens: 1 } })),
    };
    const budget = { maxVerifierTokens: 11, tokensPerVerifierCall: 5 };
    const search = searchOf({ verifier, budget });
    const nodes = await search.expand(search.root, { n: 3, ...STEP });
    await search.verify(nodes);
    expect(nodes.map(({ score }) => score)).toEqual([1, 1, undefined]);
    expect(nodes[0]!.stepScores).toEqual([0.5, 1]);
    expect(search.left).toMatchObject({ verifierTokens: 3, completions: Number.POSITIVE_INFINITY });
    const { trace, exhausted } = search.finish(nodes[0]!);
    expect(exhausted).toBe('maxVerifierTokens');
    expect(trace.spent.verifierTokens).toBe(8);
    expect(trace.nodes.map(({ verifierTokens }) => verifierTokens)).toEqual([undefined, 4, 4, undefined]);
    expect(trace.nodes[3]!.reason).toBe('not verified: maxVerifierTokens');
    expect(() => searchOf({ budget: { maxVerifierTokens: 3 } })).toThrow(/tokensPerVerifierCall/);
    const liar = searchOf({ verifier, budget: { maxVerifierTokens: 11, tokensPerVerifierCall: 2 } });
    await expect(liar.verify(await liar.expand(liar.root, { n: 1, ...STEP }))).rejects.toThrow(ContractError);
  });
});

describe('the tree', () => {
  /** A random tree by the words of `shape`: each chain expands and verifies, and knows nothing of the others. */
  const grow = async (options: Partial<SearchOptions>, shape: readonly number[]) => {
    const search = searchOf({ generator: stepper(['a', 'b', 'c', 'd'], 4), ...options });
    const chain = async (node: SearchNode, depth: number): Promise<void> => {
      const children = await search.expand(node, { n: 1 + (shape[depth % shape.length]! % 3), ...STEP });
      if (depth % 2 === 1 && children.length > 0) await search.verify(children);
      const open = children.filter(({ state }) => state === 'open');
      await Promise.all(open.map((child) => chain(child, depth + 1)));
    };
    await Promise.all([chain(search.root, 0), chain(search.root, 1)]);
    return search.finish(search.root).trace;
  };
  /** Answers late, in any order, and every request by itself. */
  const delayed = (inner: Generator, delays: readonly number[]): Generator => {
    let i = 0;
    return {
      name: inner.name,
      generate: (requests) =>
        Promise.all(
          requests.map(async (request) => {
            await new Promise((resolve) => setTimeout(resolve, delays[i++ % delays.length]));
            return (await inner.generate([request]))[0]!;
          }),
        ),
    };
  };

  it('is the same at any concurrency, with any delays and under any budget', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(2), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 7 }),
        fc.array(fc.nat(2), { minLength: 1, maxLength: 5 }),
        fc.record(
          { maxCompletions: fc.nat(30), maxCompletionTokens: fc.nat(120), maxVerifierCalls: fc.nat(20) },
          { requiredKeys: [] },
        ),
        async (shape, batchSize, delays, budget) => {
          const settings = { budget, sampling: { maxTokens: 4, seed: 3 } };
          const wanted = await grow(settings, shape);
          const generator = delayed(stepper(['a', 'b', 'c', 'd'], 4), delays);
          const got = await grow({ ...settings, batchSize, generator }, shape);
          expect(plain(got)).toEqual(plain(wanted));
          const { maxCompletions = 1e9, maxCompletionTokens = 1e9, maxVerifierCalls = 1e9 } = budget;
          expect(got.spent.completions).toBeLessThanOrEqual(maxCompletions);
          expect(got.spent.completionTokens).toBeLessThanOrEqual(maxCompletionTokens);
          expect(got.spent.verifierCalls).toBeLessThanOrEqual(maxVerifierCalls);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('is another one with another seed', async () => {
    const texts = async (seed: number) => (await grow({ sampling: { seed } }, [2, 1])).nodes.map(({ text }) => text);
    expect(await texts(1)).toEqual(await texts(1));
    expect(await texts(1)).not.toEqual(await texts(2));
  });
});

describe('what fails', () => {
  const failing = (times: number, isBad: (prompt: unknown) => boolean): Generator & { calls: number } => {
    const inner = stepper(['a'], 9);
    return {
      name: 'failing',
      calls: 0,
      async generate(requests) {
        this.calls++;
        if (requests.some(({ prompt }) => isBad(prompt)) && times-- > 0) throw new Error('down');
        return inner.generate(requests);
      },
    };
  };

  it('loses only its branch where calls are tried again, and is charged for every attempt', async () => {
    const generator = failing(9, (prompt) => prompt === 'bad');
    const options = { generator, retries: 1, sampling: { maxTokens: 4 }, budget: { maxCompletionTokens: 40 } };
    const search = searchOf(options);
    const [good, bad] = await Promise.allSettled(
      ['good', 'bad'].map((prompt) => search.expand(search.root, { n: 2, prompt })),
    );
    expect(good).toMatchObject({ status: 'fulfilled', value: [{ text: 'a' }, { text: 'a' }] });
    expect(bad).toMatchObject({ status: 'rejected', reason: { message: 'down' } });
    expect(generator.calls).toBe(3);
    // Two failed attempts of 2 and one of the other 2 hold 4 tokens each; the answers took 3 each.
    expect(search.left.completionTokens).toBe(40 - (4 + 4 + 4) * 2 - 2 * 3);
  });

  it('gives back what a failed part of an expansion has not begun', async () => {
    const search = searchOf({ generator: failing(1, () => true), batchSize: 1, budget: { maxCompletions: 5 } });
    await expect(search.expand(search.root, { n: 3 })).rejects.toThrow('down');
    expect(search.left.completions).toBe(4);
    // What came back before is in the trace, since it was paid for.
    let calls = 0;
    const inner = stepper(['a'], 9);
    const generate: Generator['generate'] = (requests) =>
      ++calls === 2 ? Promise.reject(new Error('down')) : inner.generate(requests);
    const late = searchOf({ generator: { name: 'late', generate }, batchSize: 1 });
    await expect(late.expand(late.root, { n: 3 })).rejects.toThrow('down');
    const { trace } = late.nothing('it failed.');
    expect(trace.nodes.length).toBe(2);
    expect(trace.spent).toMatchObject({ completions: 2, completionTokens: trace.nodes[1]!.completionTokens });
  });

  it('goes on without what has failed where it is told to, each completion by itself at last, but not with a broken contract', async () => {
    // Fails a call with the second of the seeds in it.
    const inner = stepper(['a'], 9);
    const bad = new Set<number>();
    const generate: Generator['generate'] = async (requests) => {
      for (const { seed = 0, n = 1 } of requests) {
        if (bad.size === 0) bad.add(seed + 1);
        for (let i = 0; i < n; i++) if (bad.has(seed + i)) throw new Error('down');
      }
      return inner.generate(requests);
    };
    const drop = { failures: 'drop' as const, generator: { name: 'one', generate } };
    const search = searchOf({ ...drop, retries: 2, sampling: { maxTokens: 4 }, budget: { maxCompletionTokens: 80 } });
    expect((await search.expand(search.root, { n: 3 })).map(({ text }) => text)).toEqual(['>a', '>a']);
    expect(search.exhausted).toBeNull();
    // Twice all three, then the one; each held with 4 tokens, and two answers that took 3 each.
    expect(search.left.completionTokens).toBe(80 - 4 * (3 + 3 + 1) - 2 * 3);
    const { trace } = search.nothing('it failed.');
    expect(trace.nodes.map(({ finishReason, reason }) => [finishReason, reason])).toEqual([
      ...[[null, undefined] as const, ['stop', undefined] as const],
      ...[['abort', 'failed: down'] as const, ['stop', undefined] as const],
    ]);
    // Without another attempt a batch is lost together.
    const together = searchOf(drop);
    expect(await together.expand(together.root, { n: 3 })).toEqual([]);
    expect(together.nothing('it failed.').trace.nodes).toHaveLength(4);

    const judge: Verifier = { name: 'judge', verify: () => Promise.reject(new Error('away')) };
    const unjudged = searchOf({ failures: 'drop', verifier: judge });
    const [node] = (await unjudged.draw()) as [SearchNode];
    expect([node.score, node.node.reason]).toEqual([undefined, 'not verified: failed: away']);
    const pairs = { name: 'pairs', compare: judge.verify as never };
    expect(await unjudged.compare(pairs, [[node, node]])).toEqual([undefined]);

    const short: Generator = { name: 'short', generate: async () => [] };
    const broken = searchOf({ failures: 'drop', generator: short, retries: 2 });
    await expect(broken.expand(broken.root, { n: 1 })).rejects.toThrow(ContractError);
    const usage = { promptTokens: 2, cachedPromptTokens: 3, completionTokens: 1 };
    const boasting: Generator = {
      name: 'boasting',
      generate: async () => [[{ text: 'a', finishReason: 'stop', usage }]],
    };
    const boasted = searchOf({ generator: boasting });
    await expect(boasted.expand(boasted.root, { n: 1 })).rejects.toThrow('reported 3 of 2 prompt tokens as cached');
  });

  it('tries no further than the budget allows', async () => {
    const generator = failing(1, () => true);
    const search = searchOf({ generator, retries: 5, budget: { maxCompletions: 3 } });
    await expect(search.expand(search.root, { n: 2 })).rejects.toThrow('down');
    expect(generator.calls).toBe(1);
  });

  it('begins nothing once the caller’s signal has fired', async () => {
    const controller = new AbortController();
    const generator = stepper(['a'], 9);
    const search = searchOf({ generator, signal: controller.signal });
    const { signal } = search;
    const waiting = search.expand(search.root, { n: 1, ...STEP });
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(search.expand(search.root, { n: 1 })).rejects.toThrow('enough');
    expect(signal.aborted).toBe(true);
    expect(generator.requests).toEqual([]);
  });
});

it('traces of the version before trees still load', () => {
  const trace = JSON.parse(readFileSync(new URL('goldens/trace-v1.json', import.meta.url), 'utf8')) as Trace;
  expect(traceTable([trace])).toMatchObject([{ strategy: 'weighted-best-of-n (n=4)', completions: 3, exhausted: 1 }]);
  expect(traceToSvg(trace).match(/<g class=/g)).toHaveLength(4);
});
