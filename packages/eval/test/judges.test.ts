import { readFileSync } from 'node:fs';
import type { ChatMessage, CompareRequest, PairJudge, PairVerdict, Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  type Agent,
  type ArgumentMode,
  agent,
  agentCost,
  agentKind,
  battlesOfPairs,
  bradleyTerry,
  cascade,
  cohenKappa,
  confident,
  evaluate,
  fleissKappa,
  judgeReliability,
  krippendorffAlpha,
  metricOf,
  type PairwiseProblem,
  pairCascade,
  pairJury,
  pairwise,
  selfPreference,
  stateSuccess,
  toolCallF1,
  toolCalls,
  toolCallsOf,
  trajectory,
  trajectoryMatch,
} from '../src/index.js';
import { testTaskKind } from '../src/testing/index.js';

const golden = <T>(file: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/judges/${file}.json`, import.meta.url), 'utf8')) as T;

interface Ratings {
  readonly cohen: {
    weights: 'nominal' | 'linear' | 'quadratic';
    labels: string[];
    first: number[];
    second: number[];
    kappa: number;
    standard_error: number;
  }[];
  readonly fleiss: { ratings: number[][]; kappa: number }[];
  readonly krippendorff: ({ ratings: (number | null)[][] } & Record<
    'nominal' | 'ordinal' | 'interval' | 'ratio',
    number
  >)[];
}

describe('agreement', () => {
  const { cohen, fleiss, krippendorff } = golden<Ratings>('agreement');

  it("is scikit-learn's, statsmodels' and krippendorff's", () => {
    for (const { weights, labels, first, second, kappa, standard_error } of cohen) {
      const found = cohenKappa(first, second, { weights, labels });
      expect(found.value).toBeCloseTo(kappa, 12);
      expect(found.standardError, weights).toBeCloseTo(standard_error, 9);
    }
    for (const { ratings, kappa } of fleiss) expect(fleissKappa(ratings).value).toBeCloseTo(kappa, 12);
    for (const { ratings, ...levels } of krippendorff) {
      for (const level of ['nominal', 'ordinal', 'interval', 'ratio'] as const)
        expect(krippendorffAlpha(ratings, { level, resamples: 0 }).value, level).toBeCloseTo(levels[level], 12);
    }
  });

  it('is 1 of raters who agree, about 0 of those who guess, and has no value where nothing can differ', () => {
    const labels = ['a', 'b', 'c', 'a', 'b'];
    expect(cohenKappa(labels, labels)).toMatchObject({ value: expect.closeTo(1, 12), interval: null });
    expect(fleissKappa(labels.map((label) => [label, label, label])).value).toBeCloseTo(1, 12);
    expect(krippendorffAlpha(labels.map((label) => [label, label])).value).toBe(1);
    const random = createRandom(1);
    const guess = () => Array.from({ length: 4000 }, () => random.integer(0, 2));
    const [one, two, three] = [guess(), guess(), guess()];
    const { value, interval } = cohenKappa(one, two);
    expect(Math.abs(value!)).toBeLessThan(0.05);
    expect(interval![0]).toBeLessThan(0);
    expect(interval![1]).toBeGreaterThan(0);
    expect(Math.abs(fleissKappa(one.map((x, i) => [x, two[i]!, three[i]!])).value!)).toBeLessThan(0.03);
    expect(cohenKappa(['a', 'a'], ['a', 'a']).value).toBeNull();
    expect(fleissKappa([['a', 'a']]).value).toBeNull();
    expect(krippendorffAlpha([['a', 'a'], ['a']])).toMatchObject({ value: null, items: 1, values: 2 });
  });

  it('of two raters without gaps: α is π of Scott, corrected for the number of values; κ of two labels does not know weights', () => {
    const { first, second } = cohen[3]!;
    const pairs = first.map((x, i) => [x, second[i]!]);
    const n = pairs.length;
    // Scott's π is Fleiss' κ of two raters; 1 − α = (1 − π)(1 − 1 / 2n).
    const pi = fleissKappa(pairs).value!;
    expect(1 - krippendorffAlpha(pairs, { resamples: 0 }).value!).toBeCloseTo((1 - pi) * (1 - 1 / (2 * n)), 12);
    const binary = cohen[0]!;
    const of = (weights: 'nominal' | 'linear' | 'quadratic') =>
      cohenKappa(binary.first, binary.second, { weights }).value;
    expect(of('linear')).toBeCloseTo(of('nominal')!, 12);
    expect(of('quadratic')).toBeCloseTo(of('nominal')!, 12);
  });

  it('covers the truth with its intervals', () => {
    const random = createRandom(2);
    const draw = (count: number) => {
      const truth = Array.from({ length: count }, () => random.integer(0, 2));
      const rater = () => truth.map((x) => (random.float() < 0.4 ? random.integer(0, 2) : x));
      return [rater(), rater()] as const;
    };
    // Both keep the truth with 0.6: they agree beyond chance with 0.36.
    let cohens = 0;
    let alphas = 0;
    for (let run = 0; run < 80; run++) {
      const [a, b] = draw(150);
      const inside = (interval: readonly [number, number] | null) => interval![0] < 0.36 && 0.36 < interval![1];
      cohens += Number(inside(cohenKappa(a, b).interval));
      alphas += Number(
        inside(
          krippendorffAlpha(
            a.map((x, i) => [x, b[i]!]),
            { resamples: 100 },
          ).interval,
        ),
      );
    }
    expect(cohens / 80).toBeGreaterThan(0.9);
    expect(alphas / 80).toBeGreaterThan(0.88);
  });

  it('refuses what cannot be compared', () => {
    expect(() => cohenKappa(['a'], [])).toThrow(/1 and 0 labels/);
    expect(() => cohenKappa(['a'], ['b'], { labels: ['a'] })).toThrow(/"b" is not among/);
    expect(() => fleissKappa([['a', 'b'], ['a']])).toThrow(/item 1 has 1 ratings/);
    expect(() => krippendorffAlpha([['a', 'b']], { level: 'interval' })).toThrow(/no interval value/);
    expect(() => krippendorffAlpha([[-1, 2]], { level: 'ratio' })).toThrow(/at least 0/);
  });
});

const pairJudgeOf = (
  name: string,
  winner: (request: CompareRequest) => PairVerdict['winner'],
  more = {},
): PairJudge => ({
  name,
  compare: async (requests) =>
    requests.map((request) => ({ winner: winner(request), usage: { promptTokens: 10, completionTokens: 1 }, ...more })),
});
const pair = (first: string, second: string): CompareRequest => ({ prompt: 'p', first, second });

describe('judges together', () => {
  it('a jury goes by most, and leaves out who says nothing', async () => {
    const [first, second, silent] = [
      pairJudgeOf('a', () => 'first'),
      pairJudgeOf('b', () => 'second'),
      pairJudgeOf('c', () => null),
    ];
    const winners = async (...jurors: PairJudge[]) => (await pairJury(jurors).compare([pair('x', 'y')]))[0]!;
    expect(await winners(first, first, second)).toMatchObject({ winner: 'first', usage: { promptTokens: 30 } });
    expect((await winners(first, first, second)).preference).toBeCloseTo(2 / 3, 12);
    expect(await winners(first, second, silent)).toMatchObject({ winner: 'tie', preference: 0.5 });
    expect(await winners(silent)).toMatchObject({ winner: null });
    await expect(pairJury([{ name: 'lazy', compare: async () => [] }]).compare([pair('x', 'y')])).rejects.toThrow(
      /lazy returned 0 verdicts/,
    );
    expect(() => pairJury([])).toThrow(/jurors/);
  });

  it('a cascade asks the dear judge about what the cheap one is not sure of, and counts all tokens', async () => {
    const asked: number[] = [];
    const cheap: PairJudge = {
      name: 'cheap',
      compare: async (requests) =>
        requests.map(({ first }) => ({
          winner: 'first',
          preference: Number(first),
          usage: { promptTokens: 1, completionTokens: 1 },
        })),
    };
    const dear: PairJudge = {
      name: 'dear',
      compare: async (requests) => {
        asked.push(requests.length);
        return requests.map(() => ({ winner: 'second', usage: { promptTokens: 100, completionTokens: 1 } }));
      },
    };
    const judge = pairCascade([{ judge: cheap, accept: confident(0.3) }, { judge: dear }]);
    const said = await judge.compare([pair('0.9', ''), pair('0.6', ''), pair('0.1', '')]);
    expect(said.map(({ winner }) => winner)).toEqual(['first', 'second', 'first']);
    expect(asked).toEqual([1]);
    expect(said.map(({ usage }) => usage!.promptTokens)).toEqual([1, 101, 1]);
    expect(said[1]!.explanation).toBe('decided by dear');
    expect(confident(0)({ winner: 'tie' })).toBe(false);

    const checker: Verifier = {
      name: 'checker',
      verify: async (requests) => requests.map(({ completion }) => ({ score: completion === '4' ? 1 : null })),
    };
    const large: Verifier = { name: 'large', verify: async (requests) => requests.map(() => ({ score: 0.5 })) };
    const scores = await cascade([{ judge: checker }, { judge: large }]).verify([
      { prompt: '', completion: '4' },
      { prompt: '', completion: 'four' },
    ]);
    expect(scores.map(({ score }) => score)).toEqual([1, 0.5]);
    expect(() => cascade([])).toThrow(/stages/);
  });
});

describe('what a judge owes to something else', () => {
  /** Pairs of which people prefer the better one; lengths say nothing of that. */
  const pairs = (count: number, seed: number) => {
    const random = createRandom(seed);
    return Array.from({ length: count }, () => {
      const gold = random.float() < 0.5 ? 1 : 0;
      const [own, opponent] = [random.integer(1, 40), random.integer(1, 40)];
      return { question: 'q', gold, own: 'a'.repeat(own), opponent: 'b'.repeat(opponent) };
    });
  };
  type Row = ReturnType<typeof pairs>[number];
  const judged = async (
    rows: Row[],
    winner: (request: CompareRequest, row: Row, better: boolean) => PairVerdict['winner'],
  ) => {
    const task = pairwise({
      name: 'pairs',
      dataset: rows,
      prompt: ({ question }) => question,
      opponent: ({ opponent }) => opponent,
      judge: {
        name: 'judge',
        compare: async (requests) =>
          requests.map((request) => {
            const row = request.row as unknown as Row;
            return { winner: winner(request, row, (request.first === row.own) === (row.gold === 1)) };
          }),
      },
      metrics: [],
    });
    let next = 0;
    const model = {
      name: 'model',
      generate: async (requests: readonly unknown[]) =>
        requests.map(() => [
          { text: rows[next++]!.own, finishReason: 'stop' as const, usage: { promptTokens: 1, completionTokens: 1 } },
        ]),
    };
    return (await evaluate(task, model)).problems as PairwiseProblem[];
  };
  const rows = pairs(600, 3);
  const gold = rows.map((row) => row.gold);

  it('finds none in a judge that is right', async () => {
    const found = judgeReliability(await judged(rows, (_, __, better) => (better ? 'first' : 'second')), { gold });
    expect(found).toMatchObject({ judgements: 1200, unparsed: 0, lengthBias: { value: 0 } });
    expect(found.agreement!.value).toBeCloseTo(1, 12);
    expect(found.consistent.value).toBe(1);
    expect(found.positionBias.value).toBe(0);
    expect(found.longerWins.interval![0]).toBeLessThan(0.5);
    expect(found.longerWins.interval![1]).toBeGreaterThan(0.5);
    expect(found.selfPreference).toBeUndefined();
  });

  it('finds what is planted: place, length, its own, silence', async () => {
    const random = createRandom(5);
    const placed = judgeReliability(
      await judged(rows, (_, __, better) => (random.float() < 0.4 ? 'first' : better ? 'first' : 'second')),
      { gold },
    );
    // 0.4 of all judgements go to the first place whatever is there: P(first) − P(second) = 0.4.
    expect(placed.positionBias.interval![0]).toBeLessThan(0.4);
    expect(placed.positionBias.interval![1]).toBeGreaterThan(0.4);
    expect(placed.consistent.value).toBeLessThan(0.7);

    const long = judgeReliability(
      await judged(rows, ({ first, second }, { own, opponent }, better) => {
        const byLength = (own.length * 7 + opponent.length * 13) % 10 < 3 && first.length !== second.length;
        return byLength ? (first.length > second.length ? 'first' : 'second') : better ? 'first' : 'second';
      }),
      { gold },
    );
    expect(long.lengthBias!.interval![0]).toBeGreaterThan(0.2);
    expect(long.lengthBias!.interval![1]).toBeLessThan(0.42);
    expect(long.longerWins.interval![0]).toBeGreaterThan(0.5);

    const silent = judgeReliability(await judged(rows.slice(0, 10), () => null));
    expect(silent).toMatchObject({ judgements: 20, unparsed: 20, consistent: { value: null } });

    const selfish = judgeReliability(
      await judged(rows, ({ first }, { own, opponent }, better) => {
        const favours = (own.length * 7 + opponent.length * 13) % 10 < 4;
        return favours ? (first === own ? 'first' : 'second') : better ? 'first' : 'second';
      }),
      { gold, own: () => 'first' },
    ).selfPreference!;
    expect(selfish.own.value).toBe(1);
    expect(selfish.bias.interval![0]).toBeLessThan(0.4);
    expect(selfish.bias.interval![1]).toBeGreaterThan(0.4);
  });

  it('refuses gold that does not fit, and a bias of nothing', () => {
    expect(() => judgeReliability([])).toThrow(/no problems/);
    expect(() => selfPreference([{ isOwn: true, preferred: 1, gold: 1 }])).toThrow(/some of each/);
  });

  it('is an arena over logs of pairs', async () => {
    const run = async (model: string, opponent: string, wins: number, count: number) => {
      const speaker = (name: string) => ({
        name,
        generate: async (requests: readonly unknown[]) =>
          requests.map(() => [
            { text: name, finishReason: 'stop' as const, usage: { promptTokens: 1, completionTokens: 1 } },
          ]),
      });
      const task = pairwise({
        name: 'duel',
        dataset: Array.from({ length: count }, (_, i) => ({ i })),
        prompt: ({ i }) => String(i),
        opponent: speaker(opponent),
        judge: pairJudgeOf('judge', ({ prompt, first }) =>
          (first === model) === Number(prompt) < wins ? 'first' : 'second',
        ),
        metrics: [],
      });
      return evaluate(task, speaker(model));
    };
    // Golden vector of shared conventions: wins 7:3, 6:4, 8:2; centred at 0.
    const battles = battlesOfPairs([
      await run('A', 'B', 7, 10),
      await run('B', 'C', 6, 10),
      await run('A', 'C', 8, 10),
    ]);
    const points = Object.fromEntries(bradleyTerry(battles).map(({ player, rating }) => [player, rating]));
    const mean = (points.A! + points.B! + points.C!) / 3;
    expect([points.A! - mean, points.B! - mean, points.C! - mean].map((x) => Number(x.toFixed(3)))).toEqual([
      128.65, -25.902, -102.748,
    ]);
    expect(() => battlesOfPairs([{ config: { task: 't', type: 'generate', model: 'm', seed: 0 } } as never])).toThrow(
      /no opponent/,
    );
  });
});

describe('agents', () => {
  const { trajectories, cases } = golden<{
    trajectories: Record<string, ChatMessage[]>;
    cases: {
      mode: 'strict';
      args: ArgumentMode;
      overrides: Record<string, ArgumentMode | string[]>;
      matches: string;
    }[];
  }>('trajectories');
  const all = Object.values(trajectories);

  it("match a trajectory where LangChain's agentevals says so", () => {
    for (const { mode, args, overrides, matches } of cases) {
      const found = all.flatMap((messages) =>
        all.map((reference) => Number(trajectoryMatch(messages, reference, { mode, args, argsByTool: overrides }))),
      );
      expect(found.join(''), `${mode} ${args} ${JSON.stringify(overrides)}`).toBe(matches);
    }
    expect(cases).toHaveLength(48);
  });

  it('match in modes that are turned when the trajectories are', () => {
    for (const one of all) {
      for (const other of all) {
        const subset = trajectoryMatch(one, other, { mode: 'subset' });
        expect(trajectoryMatch(other, one, { mode: 'superset' })).toBe(subset);
        const both = subset && trajectoryMatch(one, other, { mode: 'superset' });
        expect(trajectoryMatch(one, other, { mode: 'unordered' })).toBe(both);
        expect(toolCallF1(one, other).f1 === 1).toBe(both);
      }
    }
  });

  it('have an F1 over calls: a largest matching, not the first that fits', () => {
    const { 'two in one': two, one, 'no call': none, 'bare and full': mixed, 'full and bare': turned } = trajectories;
    expect(toolCallF1(two!, one!)).toEqual({ precision: 0.5, recall: 1, f1: 2 / 3, matched: 1 });
    expect(toolCallF1(none!, none!)).toMatchObject({ f1: 1 });
    expect(toolCallF1(none!, one!)).toMatchObject({ precision: 0, recall: 0, f1: 0 });
    expect(toolCallF1(mixed!, turned!, { args: 'superset' }).matched).toBe(2);
    const broken: ChatMessage = {
      role: 'assistant',
      content: '',
      tool_calls: [{ function: { name: 'a', arguments: '{' } }],
    };
    expect(toolCallsOf(broken)).toEqual([{ name: 'a', args: undefined }]);
    expect(trajectoryMatch([broken], [broken])).toBe(false);
    expect(trajectoryMatch([broken], [broken], { args: 'ignore' })).toBe(true);
    expect(() => toolCallsOf({ role: 'assistant', content: '', tool_calls: [{}] })).toThrow(/needs function/);
  });

  const rows = [
    { city: 'Rome', balance: 1 },
    { city: 'Oslo', balance: 2 },
    { city: 'Bern', balance: 3 },
    { city: 'Riga', balance: 4 },
  ];
  const act = (city: string): ChatMessage[] => [
    { role: 'assistant', content: '', tool_calls: [{ function: { name: 'weather', arguments: { city } } }] },
    { role: 'tool', content: '30' },
    { role: 'assistant', content: 'done' },
  ];
  const worker: Agent = {
    name: 'worker',
    act: async ({ row }) => ({
      messages: act(row.city === 'Bern' ? 'Rome' : String(row.city)),
      state: { balance: row.city === 'Oslo' ? 0 : row.balance, note: undefined },
      usage: { promptTokens: 20, completionTokens: 5 },
    }),
  };
  const task = agent({
    name: 'cities',
    dataset: rows,
    prompt: ({ city }) => city,
    reference: ({ city }) => act(city),
    goal: ({ balance }) => ({ balance }),
    metrics: [
      trajectory(),
      trajectory({ mode: 'superset', args: 'ignore' }),
      toolCalls(),
      stateSuccess(),
      agentCost('tokens'),
      agentCost('modelCalls'),
      agentCost('toolCalls'),
    ],
  });

  it('are a kind of task: what they did is logged and measured', async () => {
    const result = await evaluate(task, worker);
    const values = (name: string) => metricOf(result, name).values;
    expect(values('trajectory_strict_match')).toEqual([1, 1, 0, 1]);
    expect(values('trajectory_superset_match')).toEqual([1, 1, 1, 1]);
    expect(values('tool_call_f1')).toEqual([1, 1, 0, 1]);
    expect(values('state_success')).toEqual([1, 0, 1, 1]);
    expect(values('agent_tokens')).toEqual([25, 25, 25, 25]);
    expect(values('agent_modelCalls')).toEqual([2, 2, 2, 2]);
    expect(values('agent_toolCalls')).toEqual([1, 1, 1, 1]);
    expect(result.usage).toEqual({ promptTokens: 80, completionTokens: 20 });
    await expect(evaluate(task, { name: 'mute', act: async () => ({}) as never })).rejects.toThrow(/mute gave/);
    await expect(evaluate({ ...task, goal: 3 } as never, worker)).rejects.toThrow(/goal is 3/);
  });

  testTaskKind(it, agentKind, { task: () => task, model: () => worker });
});
