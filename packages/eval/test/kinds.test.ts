import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CompareRequest, Generator, PairJudge, RollingScorer, Scorer } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it, test } from 'vitest';
import {
  aiFeedback,
  arena,
  arenaKind,
  bitsPerByte,
  bradleyTerry,
  bradleyTerryRating,
  bytePerplexity,
  eloRating,
  evaluate,
  exactMatch,
  firstPositionBias,
  functionVerifier,
  meanWithStandardError,
  metricOf,
  type PairwiseProblem,
  type ProblemBase,
  pairJudge,
  pairwise,
  pairwiseKind,
  positionConsistency,
  ratioWithStandardError,
  rollingKind,
  rollingPerplexity,
  secondPositionBias,
  type TaskKind,
  taskKinds,
  tieRate,
  winRate,
  wordPerplexity,
  writeViewer,
} from '../src/index.js';
import { testGrader, testTaskKind } from '../src/testing/index.js';
import { brevityScorer, noisyAdder, sumRows, sumTask } from './models.js';
import { goldens } from './support.js';

interface Question {
  readonly question: string;
  readonly other: string;
}

const questions = (count: number): Question[] =>
  Array.from({ length: count }, (_, i) => ({ question: `question ${i}`, other: `other ${i}` }));

/** Says its name and the prompt. */
const speaker = (name: string): Generator => ({
  name,
  generate: async (requests) =>
    requests.map(({ prompt }) => [
      { text: `${name} ${prompt}`, finishReason: 'stop', usage: { promptTokens: 2, completionTokens: 3 } },
    ]),
});

const judge = (winner: (request: CompareRequest, i: number) => 'first' | 'second' | 'tie' | null): PairJudge => ({
  name: 'judge',
  compare: async (requests) =>
    requests.map((request, i) => ({ winner: winner(request, i), usage: { promptTokens: 10, completionTokens: 1 } })),
});

const METRICS = [winRate(), tieRate(), positionConsistency(), firstPositionBias(), secondPositionBias()];
const duel = (of: PairJudge, count = 4, opponent: Generator | ((row: Question) => string) = (row) => row.other) =>
  pairwise<Question>({
    name: 'duel',
    dataset: questions(count),
    prompt: ({ question }) => question,
    ...{ opponent, judge: of, metrics: METRICS },
  });
const measured = (result: Awaited<ReturnType<typeof evaluate>>) =>
  Object.fromEntries(result.metrics.map(({ metric, value, standardError }) => [metric, [value, standardError]]));

describe('pairwise', () => {
  test.each(goldens<{ verdicts: ('first' | 'second' | 'tie')[][]; measured: Record<string, number[]> }>('pairwise'))(
    "win rate, ties, biases and their standard errors are the golden's",
    async (golden) => {
      const result = await evaluate(
        duel(
          judge((_, i) => golden.verdicts.flat()[i]!),
          40,
        ),
        speaker('a'),
        { batchSize: 40 },
      );
      for (const [name, [value, standardError]] of Object.entries(golden.measured)) {
        const metric = metricOf(result, name);
        expect(metric.value).toBeCloseTo(value!, 12);
        expect(metric.standardError).toBeCloseTo(standardError!, 12);
      }
    },
  );

  test('a judge of position alone wins nobody anything, and is found out', async () => {
    const result = await evaluate(duel(judge(() => 'first')), speaker('a'));
    expect(measured(result)).toMatchObject({
      win_rate: [0.5, 0],
      tie_rate: [1, 0],
      position_consistency: [0, 0],
      first_position_bias: [1, 0],
      second_position_bias: [0, 0],
    });
    expect(result.usage).toEqual({ promptTokens: 8, completionTokens: 12 });
    expect(result.gradingUsage).toEqual({ promptTokens: 80, completionTokens: 8 });
  });

  test('with the sides exchanged the win rate is 1 minus it', async () => {
    const random = createRandom(5);
    // Likes one side of each question, and is sometimes led by the position.
    const taste = new Map(
      questions(40).map(({ question }) => [question, [random.float() < 0.7, random.float() < 0.3] as const]),
    );
    const biased = judge(({ prompt, first }) => {
      const [likesA, led] = taste.get(String(prompt))!;
      return led || first.startsWith(likesA ? 'a ' : 'b ') ? 'first' : 'second';
    });
    const a = await evaluate(duel(biased, 40, speaker('b')), speaker('a'));
    const b = await evaluate(duel(biased, 40, speaker('a')), speaker('b'));
    expect(metricOf(a, 'win_rate').value! + metricOf(b, 'win_rate').value!).toBeCloseTo(1, 12);
    expect(metricOf(a, 'win_rate').value).not.toBe(0.5);
    expect(metricOf(a, 'first_position_bias').value).toBe(metricOf(b, 'first_position_bias').value);
  });

  test('each pair is shown in both orders, and a verdict that is missing is no tie', async () => {
    const shown: string[] = [];
    const silent = judge(({ first, second, prompt }) => {
      shown.push(`${first} | ${second}`);
      return prompt === 'question 1' ? null : 'tie';
    });
    const result = await evaluate(duel(silent, 2), speaker('a'));
    expect(shown).toEqual([
      'a question 0 | other 0',
      'other 0 | a question 0',
      'a question 1 | other 1',
      'other 1 | a question 1',
    ]);
    expect((result.problems as readonly PairwiseProblem[]).map(({ score }) => score)).toEqual([0.5, null]);
    expect(result.warnings[0]).toBe('The judge did not say which is better in 1 of 2 pairs.');
  });

  test.each([
    ['A is better. [[A]]', 'first'],
    ['Not [[A]], but [[B]]', 'second'],
    ['Both. [[C]]', 'tie'],
    ['I cannot say [A]', null],
  ])('a judgement that ends in %j', async (text, winner) => {
    const generator: Generator = {
      name: 'm',
      generate: async ([request]) => {
        expect(JSON.stringify(request!.prompt)).toMatch(/Answer A\\nyes.*Answer B\\nno/);
        return [[{ text, finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 2 } }]];
      },
    };
    const [verdict] = await pairJudge({ generator }).compare([{ prompt: 'really?', first: 'yes', second: 'no' }]);
    expect(verdict).toEqual({ winner, explanation: text, usage: { promptTokens: 1, completionTokens: 2 } });
  });

  it('AI feedback: both orders cancel a bias for a place, and a principle is the same whenever the pair is', async () => {
    // Likes long answers by half a nat a letter, and the first place by two.
    const asked: string[] = [];
    const scorer: Scorer = {
      name: 'likes the first',
      score: async (requests) =>
        requests.map(({ prompt, continuation }) => {
          const text = JSON.stringify(prompt);
          asked.push(text);
          const [a, b] = [/Answer A\\n(\w*)/, /Answer B\\n(\w*)/].map((pattern) => pattern.exec(text)![1]!.length);
          const logit = (a! - b!) / 2 + 2;
          return { logProb: continuation === 'A' ? logit : 0, tokens: 1, isGreedy: false };
        }),
    };
    const judge = aiFeedback({ scorer, principles: ['Be brief', 'Be kind', 'Be just'] });
    const pair = (first: string, second: string) => ({ prompt: 'q', first, second });
    const [same, long, short] = await judge.compare([pair('aa', 'bb'), pair('aaaa', 'b'), pair('b', 'aaaa')]);
    expect(same).toEqual({ winner: 'tie', preference: 0.5 });
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    expect(long!.preference).toBeCloseTo((sigmoid(3.5) + 1 - sigmoid(0.5)) / 2, 12);
    expect(long!.winner).toBe('first');
    expect(short!.winner).toBe('second');
    expect(short!.preference! + long!.preference!).toBeCloseTo(1, 12);
    const principlesOf = (texts: readonly string[]) => texts.map((text) => /Be \w+/.exec(text)![0]);
    const [first, second] = [principlesOf(asked.slice(4, 8)), principlesOf(asked.slice(8, 12))];
    expect(new Set([...first, ...second]).size).toBe(1);
    await judge.compare(Array.from({ length: 20 }, (_, i) => pair('a'.repeat(i), 'b')));
    expect(new Set(principlesOf(asked)).size).toBe(3);
    const silent = { name: 'silent', score: async () => [] };
    await expect(aiFeedback({ scorer: silent }).compare([pair('a', 'b')])).rejects.toThrow(
      /silent gave 0 scores for 4/,
    );
  });

  test.each([
    ['an opponent that is none', { opponent: 3 }, /opponent is 3; it must be a generator/],
    ['a judge that is none', { judge: {} }, /judge is .*compare\(requests\)/],
    ['a winner that is none', { judge: judge(() => 'A' as 'first') }, /gave the winner "A"/],
  ])('%s is an error', async (_, wrong, message) => {
    await expect(evaluate({ ...duel(judge(() => 'tie')), ...(wrong as object) }, speaker('a'))).rejects.toThrow(
      message,
    );
  });
});

/** Gives every text a log-likelihood. */
const rolling = (logProb: (text: string) => number): RollingScorer => ({
  name: 'roller',
  scoreRolling: async (texts) => texts.map((text) => ({ logProb: logProb(text), tokens: 1, isGreedy: false })),
});
const readings = (texts: readonly string[]) =>
  rollingPerplexity<{ text: string }>({
    name: 'texts',
    dataset: texts.map((text) => ({ text })),
    prompt: ({ text }) => text,
    metrics: [wordPerplexity(), bytePerplexity(), bitsPerByte()],
  });

const strengths: Record<string, number> = { a: 3, b: 2, c: 1 };
/** Prefers a speaker as often as its strength says; which prompts it goes by is the same each time. */
const connoisseur = judge(({ prompt, first, second }) => {
  const [x, y] = [first[0]!, second[0]!].sort() as [string, string];
  const at = createRandom(Number(String(prompt).split(' ')[1]), `${x}${y}`).float();
  const better = at < strengths[x]! / (strengths[x]! + strengths[y]!) ? x : y;
  return first.startsWith(better) ? 'first' : 'second';
});
const tournament = (count: number, of = connoisseur, opponents = ['b', 'c'].map(speaker)) =>
  arena<Question>({
    name: 'tournament',
    dataset: questions(count),
    prompt: ({ question }) => question,
    ...{
      opponents,
      judge: of,
      metrics: [bradleyTerryRating(), bradleyTerryRating('c'), eloRating(undefined, { resamples: 50 })],
    },
  });

describe('arena', () => {
  test('rates the model among all players by what the judge prefers, with intervals that hold the planted strengths', async () => {
    const result = await evaluate(tournament(200), speaker('a'));
    const battles = result.problems.flatMap((problem) => problem.battles);
    expect(battles).toHaveLength(600);
    const whole = bradleyTerry(battles.map(({ a, b, score }) => ({ a, b, score: score! })));
    expect(metricOf(result, 'bt_rating').value).toBeCloseTo(whole.find(({ player }) => player === 'a')!.rating, 8);
    const mean = Object.values(strengths).reduce((sum, x) => sum + Math.log10(x), 0) / 3;
    for (const [name, player] of [
      ['bt_rating', 'a'],
      ['bt_rating[c]', 'c'],
    ] as const) {
      const [low, high] = metricOf(result, name).interval!;
      const planted = 1000 + 400 * (Math.log10(strengths[player]!) - mean);
      expect(low).toBeLessThan(planted);
      expect(high).toBeGreaterThan(planted);
    }
    expect(metricOf(result, 'elo_rating').interval![0]).toBeGreaterThan(1000);
    expect(result.usage).toEqual({ promptTokens: 400, completionTokens: 600 });
    const folder = mkdtempSync(join(tmpdir(), 'posttrain-arena-'));
    try {
      await writeViewer(join(folder, 'arena.html'), [result]);
      expect(readFileSync(join(folder, 'arena.html'), 'utf8')).toContain('200 problems');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a judge of position alone makes nobody better; a player who always wins has no Bradley–Terry rating', async () => {
    const even = await evaluate(
      tournament(
        8,
        judge(() => 'first'),
      ),
      speaker('a'),
    );
    expect(metricOf(even, 'bt_rating').value).toBeCloseTo(1000, 8);
    const best = judge(({ first, second }) => (first < second ? 'first' : 'second'));
    const won = await evaluate(tournament(8, best), speaker('a'));
    expect(metricOf(won, 'bt_rating').value).toBeNull();
    expect(metricOf(won, 'elo_rating').value).toBeGreaterThan(1000);
  });

  test('refuses players of one name, and counts battles without a verdict', async () => {
    await expect(evaluate(tournament(4), speaker('b'))).rejects.toThrow(/an opponent is called "b", as the model/);
    const twice = tournament(4, connoisseur, [speaker('b'), speaker('b')]);
    await expect(evaluate(twice, speaker('a'))).rejects.toThrow(/two opponents are called "b"/);
    const mute = await evaluate(
      tournament(
        4,
        judge(() => null),
      ),
      speaker('a'),
    );
    expect(mute.warnings?.join()).toContain('12 of 12 battles');
  });
});

describe('rolling perplexity', () => {
  test.each(
    goldens<{ texts: string[]; logProbs: number[]; words: number[]; bytes: number[] } & Record<string, number[]>>(
      'rolling',
    ),
  )("values and standard errors are the golden's", async (golden) => {
    const scorer = rolling((text) => golden.logProbs[golden.texts.indexOf(text)]!);
    const result = await evaluate(readings(golden.texts), scorer);
    expect(result.problems.map(({ words }) => words)).toEqual(golden.words);
    expect(result.problems.map(({ bytes }) => bytes)).toEqual(golden.bytes);
    for (const { metric, value, standardError, interval } of result.metrics) {
      expect(value! / golden[metric]![0]!).toBeCloseTo(1, 12);
      expect(standardError! / golden[metric]![1]!).toBeCloseTo(1, 10);
      expect(interval![0]).toBeLessThan(value!);
      expect(interval![1]).toBeGreaterThan(value!);
    }
  });

  test('a model that gives every byte the same probability has that many equal choices a byte', async () => {
    const uniform = rolling((text) => -Buffer.byteLength(text) * Math.log(16));
    const result = await evaluate(readings(['a', 'longer text', 'é']), uniform);
    expect(metricOf(result, 'byte_perplexity').value).toBeCloseTo(16, 10);
    expect(metricOf(result, 'bits_per_byte').value).toBeCloseTo(4, 12);
  });

  test('the interval of a ratio holds the truth as often as it says, with clusters too', () => {
    const random = createRandom(11);
    const normal = () => Array.from({ length: 12 }, () => random.float()).reduce((sum, x) => sum + x, -6);
    let [held, runs] = [0, 400];
    for (let run = 0; run < runs; run++) {
      const bytes: number[] = [];
      const nats: number[] = [];
      const clusters: string[] = [];
      for (let cluster = 0; cluster < 60; cluster++) {
        const shared = normal() / 4;
        for (let i = 0; i < 3; i++) {
          const size = random.integer(10, 50);
          bytes.push(size);
          nats.push(size * (2 + shared + normal() / 4));
          clusters.push(String(cluster));
        }
      }
      const { interval } = ratioWithStandardError(nats, bytes, clusters);
      if (interval![0] <= 2 && 2 <= interval![1]) held++;
    }
    expect(held / runs).toBeGreaterThan(0.91);
    expect(held / runs).toBeLessThan(0.98);
    const values = [1, 2, 4, 8];
    expect(ratioWithStandardError(values, [1, 1, 1, 1])).toEqual(meanWithStandardError(values));
    expect(() => ratioWithStandardError([1], [0])).toThrow(/above 0/);
  });

  test.each([
    ['a text that is empty', '', () => -1, /it is the text, which is not empty/],
    ['a log-likelihood that is no number', 'a', () => Number.NaN, /the log-likelihood NaN/],
  ])('%s is an error', async (_, text, logProb, message) => {
    await expect(evaluate(readings([text]), rolling(logProb))).rejects.toThrow(message);
  });
});

describe('testTaskKind', () => {
  testTaskKind(it, pairwiseKind, {
    task: () => duel(judge(({ first }) => (first < 'b' ? 'first' : 'second'))),
    model: () => speaker('a'),
  });
  testTaskKind(it, arenaKind, { task: () => tournament(5), model: () => speaker('a') });
  testTaskKind(it, rollingKind, {
    task: () => readings(['a', 'b c', 'd', 'e']),
    model: () => rolling((text) => -text.length),
  });
  testTaskKind(it, taskKinds.generate, { task: () => sumTask(sumRows(5), 2), model: () => noisyAdder(0.4) });
  const choice = {
    type: 'multiple_choice',
    name: 'choice',
    dataset: sumRows(4),
    prompt: ({ a, b }: { a: number; b: number }) => `${a} + ${b}`,
    choices: () => ['yes', 'no'],
    gold: () => 1,
    metrics: [{ name: 'any', value: () => 1 }],
  };
  testTaskKind(it, taskKinds.multiple_choice, { task: () => choice, model: () => brevityScorer });

  /** A kind from elsewhere: how long prompts are. */
  const lengthKind: TaskKind<never, { name: string; length(text: string): number }, ProblemBase & { length: number }> =
    {
      type: 'length',
      keys: [],
      checkModel: () => {},
      check: () => {},
      settings: () => ({}),
      hash: () => 'all the same',
      ask: async (_, problems, model) =>
        problems.map(({ id, row, prompt }) => ({
          ...{ type: 'problem' as const, id, row, prompt, requestHash: 'all the same', seconds: 0 },
          length: model.length(String(prompt)),
        })),
      seen: (record) => record,
    };
  it.each([
    ['knows a request again by its hash', /two requests have one hash/],
    ['refuses a model that cannot be asked', /length is not a function|rejection|BAD_MODEL/],
  ])('finds a kind that breaks: %s', async (what, message) => {
    const checks = new Map<string, () => Promise<void>>();
    testTaskKind((name, body) => checks.set(name, body), lengthKind, {
      task: () => ({ ...readings(['a', 'b', 'c', 'd']), type: 'length', metrics: [{ name: 'mean', value: () => 1 }] }),
      model: () => ({ name: 'm', length: (text: string) => text.length }),
    });
    await expect(checks.get(`task kind "length" ${what}`)!()).rejects.toThrow(message);
  });

  it('a type that nobody knows is an error that says what to do', async () => {
    await expect(evaluate({ ...sumTask(sumRows(1)), type: 'arena' as 'generate' }, noisyAdder(0))).rejects.toThrow(
      /type is "arena"; it must be one of generate, multiple_choice, or the task must bring its "kind"/,
    );
  });
});

describe('testGrader', () => {
  const ask = (completion: string, answer: string) => ({ prompt: 'q', completion, row: { answer } });
  const cases = [
    { request: ask('The answer is 4', '4'), score: 1 },
    { request: ask('The answer is 5', '4'), score: 0 },
  ];
  testGrader(it, () => exactMatch(), { cases });
  const short = () => functionVerifier('short', async ({ completion }) => completion.length < 5, { timeoutMs: 1000 });
  testGrader(it, short, { cases: cases.map(({ request }) => ({ request })), waits: true });

  it.each<[string, (request: { completion: string }, i: number) => number | null, RegExp]>([
    ['gives one verdict a request, with the score that is expected', () => Number.NaN, /it is a finite number or null/],
    ['judges each completion by itself, whatever it is asked with', (_, i) => i, /case 1/],
  ])('finds a grader that breaks: %s', async (what, score, message) => {
    const checks = new Map<string, () => Promise<void>>();
    const grader = () => ({
      name: 'odd',
      verify: async (requests: readonly { completion: string }[]) =>
        requests.map((request, i) => ({ score: score(request, i) })),
    });
    testGrader((name, body) => checks.set(name, body), grader, { cases });
    await expect(checks.get(`grader "odd" ${what}`)!()).rejects.toThrow(message);
  });

  it('a grader that heeds no signal does not keep an evaluation that was stopped', async () => {
    const controller = new AbortController();
    const deaf = {
      name: 'deaf',
      verify: () => {
        controller.abort(new Error('enough'));
        return new Promise<never>(() => {});
      },
    };
    const task = { ...sumTask(sumRows(2)), graders: [deaf] };
    await expect(evaluate(task, noisyAdder(0), { signal: controller.signal })).rejects.toMatchObject({
      code: 'ABORTED',
      cause: new Error('enough'),
    });
  });
});
