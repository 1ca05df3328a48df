import { describe, expect, it } from 'vitest';
import { bestOfN, majorityVote, type Trace, traceTable, traceToJson, traceToSvg } from '../src/index.js';
import { scripted, table } from './doubles.js';

const search = (texts: readonly string[], n = texts.length) =>
  bestOfN(
    { prompt: 'What?' },
    { generator: scripted(texts), verifier: table((text) => text.length), n, sampling: { seed: 1 } },
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
    const { trace } = await bestOfN(
      { prompt: hostile },
      {
        generator: { ...scripted([hostile]), name: hostile },
        verifier: table(() => 1),
        n: 1,
        extractAnswer: () => hostile,
      },
    );
    const svg = traceToSvg(trace);
    expect(svg).not.toContain('<script');
    expect(svg).not.toMatch(/(?!\n)[\p{Cc}\p{Cs}]/u);
    expect(svg.match(/<title>/g)).toHaveLength(3);
    expect(svg.match(/<\/title>/g)).toHaveLength(3);
  });
});
