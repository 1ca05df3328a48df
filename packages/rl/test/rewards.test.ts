import { setTimeout as wait } from 'node:timers/promises';
import { type Generator, OptionError, type Verifier, type VerifyRequest } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { evaluate, meanScore } from '../../eval/src/index.js';
import { bestOfN } from '../../tts/src/index.js';
import {
  type CompletionToScore,
  exactMatch,
  formatTags,
  functionVerifier,
  lengthPenalty,
  numericMatch,
  type PromptRow,
  type RewardContext,
  type RewardFunction,
  scoreCompletions,
  softOverlongPunishment,
} from '../src/index.js';

type Row = PromptRow & Readonly<Record<string, unknown>>;

const contextOf = (columns: Record<string, unknown>, tokens = 3): RewardContext => ({
  prompt: 'What is 6 × 7?',
  row: { prompt: 'What is 6 × 7?', ...columns },
  completionTokens: new Array<number>(tokens).fill(1),
  finishReason: 'stop',
  step: 0,
  signal: new AbortController().signal,
});

/** The score of one completion, as a run asks for it. */
const scoreOf = async (verifier: Verifier, completion: string, given: RewardContext): Promise<number | null> => {
  const { completionTokens: tokenIds, ...context } = given;
  const row = context.row as Readonly<Record<string, unknown>> & typeof context.row;
  const [verdict] = await verifier.verify([{ ...context, row, completion, tokenIds }]);
  return verdict!.score;
};

const toScore = (texts: string[]): CompletionToScore<Row>[] =>
  texts.map((text) => ({ ...contextOf({}), row: { prompt: 'What is 6 × 7?', answer: 42 }, text }));

describe('numericMatch', () => {
  it.each([
    ['<answer>42</answer>', 42, 1],
    ['<answer>42 apples</answer>', '42', 1],
    ['<answer>41 or 42</answer>', 42, 0],
    ['<answer>42</answer> no: <answer>7</answer>', 42, 0],
    ['<answer>42', 42, 0],
    ['The sum of 40 and 2 is 42.', 42, 1],
    ['42 is not it; it is 43', 42, 0],
    ['142', 42, 0],
    ['4.2e1', 42, 1],
    ['it is 0.333333', '1/3', 0],
    ['\\boxed{1/3}', '1/3', 1],
    ['', 42, 0],
    ['It is 50%.', '50%', 1],
    ['It is 50%.', 0.5, 1],
    ['It is 50%.', 50, 0],
    ['It is 0.3.', 0.1 + 0.2, 1],
    ['0.3333333333', '1/3', 0],
    ['\\boxed{18}', 'She makes 9 * 2 = 18.\n#### 18', 1],
    ['It is 8.', [7, '8'], 1],
    ['42', 'unknown', null],
    ['42', '\\sqrt{2}', null],
    ['42', null, null],
    ['42', Number.NaN, null],
  ])('%j against %j scores %s', async (completion, answer, score) => {
    expect(await scoreOf(numericMatch(), completion, contextOf({ answer }))).toBe(score);
  });

  it('has a tolerance and a meaning of percent, and names a missing column', async () => {
    expect(await scoreOf(numericMatch({ tolerance: 1e-3 }), '0.3333', contextOf({ answer: '1/3' }))).toBe(1);
    expect(await scoreOf(numericMatch({ tolerance: 1e-3 }), '0.33', contextOf({ answer: '1/3' }))).toBe(0);
    expect(() => numericMatch({ tolerance: Number.NaN })).toThrow(
      /numericMatch: tolerance is NaN; it must be a number of at least 0 \(default 0\)/,
    );
    expect(await scoreOf(numericMatch({ percent: 'unit' }), 'It is 50%.', contextOf({ answer: 50 }))).toBe(1);
    await expect(scoreOf(numericMatch({ column: 'gold' }), '42', contextOf({ answer: 42 }))).rejects.toThrow(
      /needs the column "gold", but the row has prompt, answer/,
    );
  });
});

describe('exactMatch', () => {
  it.each([
    ['<answer>Paris</answer>', 'Paris', 1],
    ['Paris\n', 'Paris', 1],
    ['paris', 'Paris', 1],
    ['Paris or Rome', 'Paris', 0],
    ['The answer is Paris.', 'Paris', 1],
    ['\\boxed{\\text{Paris}}', 'Paris', 1],
    ['Room 12', 'Room 12', 1],
    ['<answer>Room 12</answer>', 'Room 12', 1],
    ['<answer>Hall 12</answer>', 'Room 12', 0],
    ['\\boxed{\\dfrac{\\pi}{3}}', '\\frac{\\pi}{3}', 1],
    ['0.50', '1/2', 1],
    ['2X', '2x', 0],
    ['Roma', ['Rome', 'Roma'], 1],
    ['7', 7, 1],
  ])('%j against %j scores %s', async (completion, answer, score) => {
    expect(await scoreOf(exactMatch(), completion, contextOf({ answer }))).toBe(score);
  });

  it('compares what it is told to extract, and refuses a row without a reference', async () => {
    const extract = (text: string) => /is (\w+)/.exec(text)?.[1] ?? null;
    const extracted = exactMatch({ filters: [extract] });
    const scores = ['it is Paris', 'none'].map((text) => scoreOf(extracted, text, contextOf({ answer: 'Paris' })));
    expect(await Promise.all(scores)).toEqual([1, 0]);
    await expect(scoreOf(exactMatch(), 'null', contextOf({ answer: null }))).rejects.toThrow(
      /exactMatch: the reference answer is null/,
    );
  });
});

describe('formatTags', () => {
  it.each([
    ['<think>a</think><answer>b</answer>', 1],
    [' <think>a\nb</think>\n<answer>b</answer>\n', 1],
    ['<think>a</think><answer>b</answer> and more', 0],
    ['sure: <think>a</think><answer>b</answer>', 0],
    ['<answer>b</answer><think>a</think>', 0],
    ['<think>a<think>b</think></think><answer>c</answer>', 0],
    ['<think>a</think><think>b</think><answer>c</answer>', 0],
    ['<think>a<answer>x</answer></think><answer>c</answer>', 0],
    ['<think> </think><answer>c</answer>', 0],
    ['<think>a</think><answer>c', 0],
    ['<Think>a</Think><answer>c</answer>', 0],
    ['', 0],
  ])('%j scores %s', async (completion, score) => {
    expect(await scoreOf(formatTags(), completion, contextOf({}))).toBe(score);
  });

  it('takes other tags', async () => {
    const tags = formatTags({ tags: ['plan', 'code'] });
    expect(await scoreOf(tags, '<plan>a</plan> <code>b</code>', contextOf({}))).toBe(1);
    expect(() => formatTags({ tags: ['a b'] })).toThrow(/different names/);
  });
});

describe('lengths', () => {
  it.each([
    [0, 0],
    [80, 0],
    [81, -0.05],
    [90, -0.5],
    [100, -1],
    [101, -1],
    [500, -1],
  ])('softOverlongPunishment of %i tokens with 100 and 20 is %f', async (tokens, score) => {
    const punish = softOverlongPunishment({ maxCompletionLength: 100, softPunishCache: 20 });
    expect(await scoreOf(punish, '', contextOf({}, tokens))).toBeCloseTo(score, 12);
  });

  it('lengthPenalty grows to -1', async () => {
    const penalty = lengthPenalty({ maxCompletionLength: 10 });
    const scores = [5, 10, 20].map((tokens) => scoreOf(penalty, '', contextOf({}, tokens)));
    expect(await Promise.all(scores)).toEqual([-0.5, -1, -1]);
  });
});

it.each<[() => unknown, string, string]>([
  [() => numericMatch('answer' as never), 'INVALID_OPTION', 'got "answer". Did you mean { column: "answer" }?'],
  [() => exactMatch('gold' as never), 'INVALID_OPTION', 'Did you mean { column: "gold" }?'],
  [() => numericMatch({ column: 5 } as never), 'INVALID_OPTION', 'numericMatch: column is 5; it must be a text'],
  [() => numericMatch({ tolerence: 5 } as never), 'UNKNOWN_OPTION', 'Did you mean "tolerance"?'],
  [() => exactMatch({ percent: 'units' } as never), 'INVALID_OPTION', 'Did you mean "unit"?'],
  [() => exactMatch({ filters: /a/ } as never), 'INVALID_OPTION', 'filters is a RegExp; it must be a list of filters'],
  [() => formatTags({ tags: 'think' } as never), 'INVALID_OPTION', 'tags is "think"; it must be a list of different'],
  [() => lengthPenalty({} as never), 'MISSING_OPTION', 'lengthPenalty: maxCompletionLength is missing'],
  [() => lengthPenalty(undefined as never), 'INVALID_OPTION', 'lengthPenalty: options must be an object'],
  [
    () => softOverlongPunishment({ maxCompletionLength: '8', softPunishCache: 2 } as never),
    ...(['INVALID_OPTION', 'maxCompletionLength is "8"; it must be a whole number of at least 1'] as const),
  ],
])('%s is an OptionError', (misuse, code, message) => {
  const failure = (): unknown => {
    try {
      return misuse();
    } catch (error) {
      return error;
    }
  };
  expect(failure()).toBeInstanceOf(OptionError);
  expect(failure()).toMatchObject({ code, message: expect.stringContaining(message) });
});

describe('scoreCompletions', () => {
  it('adds weighted rewards, leaves out what cannot be scored, and is null where nothing can', async () => {
    const length: RewardFunction<Row> = (text) => (text === '' ? null : text.length);
    const right: RewardFunction<Row> = async (text, { row }) =>
      text === 'skip' || text === '' ? null : text === String(row.answer) ? 1 : 0;
    const scores = await scoreCompletions(
      { length: { verifier: length, weight: 0.5 }, right },
      toScore(['42', 'skip', '']),
    );
    expect(scores.rewards).toEqual([2, 2, null]);
    expect(scores.byFunction).toEqual({ length: [2, 4, null], right: [1, null, null] });
  });

  it('keeps the order and the concurrency limit', async () => {
    let running = 0;
    let most = 0;
    const slow: RewardFunction<Row> = async (text) => {
      most = Math.max(most, ++running);
      await wait(5 - Number(text));
      running--;
      return Number(text);
    };
    const { rewards } = await scoreCompletions({ slow }, toScore(['0', '1', '2', '3', '4']), { concurrency: 2 });
    expect(rewards).toEqual([0, 1, 2, 3, 4]);
    expect(most).toBe(2);
  });

  it('names the function that never answers, and tells it', async () => {
    let told = false;
    const judge: RewardFunction<Row> = (_, { signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          told = true;
        });
      });
    await expect(scoreCompletions({ judge }, toScore(['a']), { timeoutMs: 20 })).rejects.toThrow(
      /reward "judge" took longer than 20 ms \(prompt "What is 6/,
    );
    expect(told).toBe(true);
  });

  it('names the function that throws or returns nonsense', async () => {
    const broken = () => {
      throw new Error('no network');
    };
    await expect(scoreCompletions({ broken }, toScore(['a']))).rejects.toThrow(/reward "broken" threw: no network/);
    const odd = () => Number.NaN;
    await expect(scoreCompletions({ odd }, toScore(['a']))).rejects.toThrow(/reward "odd" returned NaN/);
  });

  it('gives a verifier all completions at once, with what a run knows of them', async () => {
    const seen: VerifyRequest[][] = [];
    const verifier: Verifier = {
      name: 'reward model',
      verify: async (requests) => {
        seen.push([...requests]);
        return requests.map(({ completion }) => ({ score: completion === 'skip' ? null : completion.length }));
      },
    };
    const { rewards } = await scoreCompletions(
      { model: { verifier, weight: 2 }, right: numericMatch() },
      toScore(['42', 'skip', '420']),
    );
    expect(rewards).toEqual([5, 0, 6]);
    expect(seen.map(({ length }) => length)).toEqual([3]);
    expect(seen[0]![0]).toEqual({
      prompt: 'What is 6 × 7?',
      row: { prompt: 'What is 6 × 7?', answer: 42 },
      completion: '42',
      tokenIds: [1, 1, 1],
      finishReason: 'stop',
      step: 0,
      signal: expect.any(AbortSignal),
    });
  });

  const verifierOf = (verify: Verifier['verify']): Verifier => ({ name: 'v', verify });
  it.each<[string, Verifier, RegExp]>([
    ['too few verdicts', verifierOf(async () => []), /reward "judge" returned 0 verdicts for 2 completions/],
    ['no list', verifierOf(async () => undefined as never), /reward "judge" returned no verdicts/],
    ['NaN', verifierOf(async (all) => all.map(() => ({ score: Number.NaN }))), /reward "judge" returned NaN/],
    ['an error', verifierOf(() => Promise.reject(new Error('no GPU'))), /reward "judge" threw: no GPU$/],
    ['nothing', verifierOf(() => new Promise(() => {})), /reward "judge" took longer than 40 ms for 2 completions/],
    [
      'a request it cannot use',
      numericMatch({ column: 'gold' }),
      /reward "judge" threw: numericMatch needs the column "gold"/,
    ],
  ])('names the verifier that gives %s', async (_, judge, message) => {
    const scoring = scoreCompletions({ judge }, toScore(['a', 'b']), { timeoutMs: 20 });
    await expect(scoring).rejects.toMatchObject({ code: 'REWARD', message: expect.stringMatching(message) });
  });

  it('stops with its signal, and tells the rewards', async () => {
    const controller = new AbortController();
    const told: string[] = [];
    const waiting =
      (name: string) =>
      (_: string, { signal }: RewardContext) =>
        new Promise<number>(() => signal.addEventListener('abort', () => told.push(name)));
    const rewards = {
      one: waiting('one'),
      two: functionVerifier('two', ({ signal }) => waiting('two')('', { signal } as never)),
    };
    const scoring = scoreCompletions(rewards, toScore(['a']), { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(scoring).rejects.toThrow(/^enough$/);
    expect(told.toSorted()).toEqual(['one', 'two']);
  });
});

describe('a reward is a verifier', () => {
  it('that grades in an evaluation and chooses in a search', async () => {
    const usage = { promptTokens: 1, completionTokens: 3 };
    const generator: Generator = {
      name: 'three',
      generate: async (requests) =>
        requests.map(() =>
          ['<think>a</think><answer>42</answer>', '42', '7'].map((text, i) => ({
            ...{ text, usage, finishReason: 'stop' as const, tokenIds: new Array<number>(4 - i).fill(1) },
          })),
        ),
    };
    const rewards = [numericMatch(), exactMatch(), formatTags(), lengthPenalty({ maxCompletionLength: 8 })];
    const row = { question: '6 × 7?', answer: 42 };
    const result = await evaluate(
      {
        ...{ type: 'generate' as const, name: 'sums', dataset: [row], prompt: () => row.question, samples: 3 },
        ...{ graders: rewards, metrics: [meanScore()] },
      },
      generator,
    );
    expect(result.metrics.map(({ grader, value }) => [grader, value])).toEqual([
      ['numericMatch', expect.closeTo(2 / 3)],
      ['exact_match', expect.closeTo(2 / 3)],
      ['formatTags', expect.closeTo(1 / 3)],
      ['lengthPenalty', expect.closeTo(-3 / 8)],
    ]);
    const search = (verifier: Verifier) => bestOfN({ prompt: row.question, row }, { generator, verifier, n: 3 });
    const chosen = await Promise.all(rewards.map(search));
    expect(chosen.map(({ text }) => text.slice(-2))).toEqual(['r>', 'r>', 'r>', '7']);
  });

  it('and one of lengths says when nobody counted the tokens', async () => {
    const punish = softOverlongPunishment({ maxCompletionLength: 10, softPunishCache: 2 });
    await expect(punish.verify([{ prompt: '', completion: 'x' }])).rejects.toThrow(
      /softOverlongPunishment needs the token ids of completions/,
    );
  });
});
