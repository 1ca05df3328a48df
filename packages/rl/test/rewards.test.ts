import { setTimeout as wait } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { sgd } from '@posttrain/core-tensor/optim';
import {
  type Generator,
  OptionError,
  type PairJudge,
  type Sandbox,
  type Scorer,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { SequenceClassifier } from '@posttrain/lm';
import { Trainer, trainRewardModel } from '@posttrain/training';
import { describe, expect, it } from 'vitest';
import { evaluate, meanScore } from '../../eval/src/index.js';
import { drawing, lettersModel } from '../../training/test/letters.js';
import { bestOfN } from '../../tts/src/index.js';
import {
  type CompletionToScore,
  codeReward,
  contrastiveReward,
  cosineLength,
  eureka,
  exactMatch,
  formatTags,
  functionVerifier,
  gae,
  groupGapPenalty,
  hybridReward,
  implicitProcessReward,
  kimiLength,
  lcpo,
  lengthPenalty,
  lengthTarget,
  majorityAnswer,
  numericMatch,
  type PromptRow,
  policyObjectives,
  processAdvantage,
  type RewardContext,
  type RewardFunction,
  refitRewardModel,
  repetitionPenalty,
  rewardEnsemble,
  satoriReward,
  scoreCompletions,
  softOverlongPunishment,
  stepRewards,
  stopProperly,
  trainPolicy,
  ttrl,
  ttrlReport,
} from '../src/index.js';
import { readGolden } from './goldens.js';
import { tableCritic } from './stateful-run.js';

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

  it('is open-r1’s where there are line breaks in the tags, but for what that lets through', async () => {
    const { cases } = readGolden<{ cases: [string, number][] }>('format.json', 'authors');
    const found = await Promise.all(cases.map(([text]) => scoreOf(formatTags(), text, contextOf({}))));
    const other = cases.flatMap(([text, theirs], i) =>
      found[i] === theirs ? [] : [[text.replaceAll('\n', ''), theirs]],
    );
    expect(other).toEqual([
      ['<think>a</think><answer>b</answer>more', 1],
      ['<think>a<think>b</think></think><answer>c</answer>', 1],
      ['<think>a</think><think>b</think><answer>c</answer>', 1],
      ['<think>a</think><answer>b</answer>', 0],
      ['<think></think><answer>b</answer>', 1],
    ]);
  });

  it('takes other tags', async () => {
    const tags = formatTags({ tags: ['plan', 'code'] });
    expect(await scoreOf(tags, '<plan>a</plan> <code>b</code>', contextOf({}))).toBe(1);
    expect(() => formatTags({ tags: ['a b'] })).toThrow(/different names/);
  });
});

describe('rewards made of rewards', () => {
  /** Of a completion what it says it is worth, by lines for steps. */
  const stated = (name: string, factor = 1): Verifier => ({
    name,
    verify: async (requests) =>
      requests.map(({ completion }) => {
        const stepScores = completion === '' ? [] : completion.split('\n').map((line) => factor * Number(line));
        const sum = stepScores.reduce((a, b) => a + b, 0);
        return { score: Number.isNaN(sum) ? null : sum, stepScores };
      }),
  });
  const plain: Verifier = { name: 'plain', verify: async (requests) => requests.map(() => ({ score: 1 })) };
  const ask = (completion: string, columns: Record<string, unknown> = {}) => ({
    prompt: 'p',
    completion,
    row: { prompt: 'p', ...columns },
  });
  const verdictOf = async (verifier: Verifier, completion: string, columns?: Record<string, unknown>) =>
    (await verifier.verify([ask(completion, columns)]))[0]!;

  it('rewardEnsemble: of members that agree it is each of them, and what they differ by is taken off', async () => {
    const members = [stated('a'), stated('b', 2), stated('c', 6)];
    const of = async (objective: 'mean' | 'wco' | 'uwo' | 'lcb', completion: string, verifiers = members) =>
      (await verdictOf(rewardEnsemble({ verifiers, objective, uncertaintyWeight: 0.1 }), completion)).score;
    for (const objective of ['mean', 'wco', 'uwo', 'lcb'] as const) {
      expect(await of(objective, '0.7', [members[0]!, members[0]!])).toBe(0.7);
      expect(await of(objective, 'x')).toBeNull();
    }
    // Of 1, 2 and 6: mean 3, variance (4 + 1 + 9) / 3.
    expect(await of('mean', '1')).toBeCloseTo(3, 12);
    expect(await of('wco', '1')).toBe(1);
    expect(await of('wco', '-1')).toBe(-6);
    expect(await of('uwo', '1')).toBeCloseTo(3 - (0.1 * 14) / 3, 12);
    expect(await of('lcb', '1')).toBeCloseTo(3 - 0.1 * Math.sqrt(14 / 3), 12);
    // In the units of the reward: twice the rewards, twice the bound.
    expect(await of('lcb', '2')).toBeCloseTo(2 * (await of('lcb', '1'))!, 12);
    // A constant that is added to all rewards goes through; the order of the members does not matter.
    expect(await of('uwo', '1', members.toReversed())).toBeCloseTo(3 - (0.1 * 14) / 3, 12);
    expect(() => rewardEnsemble({ verifiers: [] })).toThrow(
      /verifiers is .*; it must be a list of verifiers, at least one/,
    );
    const short = { name: 'short', verify: async () => [] };
    await expect(of('mean', '1', [short])).rejects.toThrow(/short returned 0 verdicts for 1/);
  });

  it('satoriReward: its truth table', async () => {
    const outcome: Verifier = {
      name: 'outcome',
      verify: async (requests) =>
        requests.map(({ completion }) => ({ score: completion === '?' ? null : Number(completion === 'right') })),
    };
    const logit = (score: number | null): Verifier => ({
      name: 'orm',
      verify: async (requests) => requests.map(() => ({ score })),
    });
    // Where it began, how it ended, and by hand: 1[right] - 1, and 0.25 for what was put right or spoilt.
    const table = [
      [undefined, 'right', 0],
      [undefined, 'wrong', -1],
      ['wrong', 'right', 0.25],
      ['wrong', 'wrong', -1],
      ['right', 'right', 0],
      ['right', 'wrong', -1.25],
      ['wrong', '?', null],
    ] as const;
    for (const [from, end, score] of table) {
      const columns = from && { restarted_from: from };
      expect(await verdictOf(satoriReward({ outcome, bonus: 0.25 }), end, columns)).toEqual({ score });
      // σ(ln 3) = 3 / 4.
      const both = await verdictOf(
        satoriReward({ outcome, bonus: 0.25, rewardModel: logit(Math.log(3)) }),
        end,
        columns,
      );
      if (score === null) expect(both.score).toBeNull();
      else expect(both.score).toBeCloseTo(score + 0.75, 12);
      const unknown = satoriReward({ outcome, rewardModel: logit(null) });
      expect((await verdictOf(unknown, end, columns)).score).toBeNull();
    }
    expect(() => satoriReward({ outcome, bonus: -1 })).toThrow(/bonus/);
  });

  it('groupGapPenalty: groups are worth the same on average, and within one nothing changes', async () => {
    const groupOf = ({ row }: VerifyRequest) => row!.group as string | undefined;
    const requests = [
      ...['1', '2', '6'].map((text) => ask(text, { group: 'a' })),
      ...['10', '12'].map((text) => ask(text, { group: 'b' })),
      ask('40'),
      ask('x', { group: 'a' }),
    ];
    const scores = async (weight: number) =>
      (await groupGapPenalty({ verifier: stated('s'), groupOf, weight }).verify(requests)).map(({ score }) => score);
    expect(await scores(0)).toEqual([1, 2, 6, 10, 12, 40, null]);
    // Means 3 and 11 of groups, 31 / 5 of all that have one.
    const levelled = await scores(1);
    const mean = (values: readonly (number | null)[]) => values.reduce<number>((a, b) => a + b!, 0) / values.length;
    expect(mean(levelled.slice(0, 3))).toBeCloseTo(6.2, 12);
    expect(mean(levelled.slice(3, 5))).toBeCloseTo(6.2, 12);
    expect(levelled[2]! - levelled[0]!).toBeCloseTo(5, 12);
    expect(levelled[4]! - levelled[3]!).toBeCloseTo(2, 12);
    expect(levelled.slice(5)).toEqual([40, null]);
    const half = await scores(0.5);
    expect(mean(half.slice(3, 5)) - mean(half.slice(0, 3))).toBeCloseTo(4, 12);
  });

  it('contrastiveReward: is 0 in the mean of the baselines, whatever is added, and scores them once', async () => {
    let calls = 0;
    const counted = (bias: number): Verifier => ({
      name: 'counted',
      verify: async (requests) => {
        calls += requests.length;
        return (await stated('x').verify(requests)).map(({ score }) => ({
          score: score === null ? null : score + bias,
        }));
      },
    });
    const baselines = ['1', '4', '7'];
    const contrastive = contrastiveReward({ verifier: counted(100) });
    const verdicts = await contrastive.verify(baselines.map((one) => ask(one, { baselines })));
    expect(verdicts.map(({ score }) => score)).toEqual([-3, 0, 3]);
    expect(calls).toBe(6);
    expect((await verdictOf(contrastive, '10', { baselines })).score).toBe(6);
    expect(calls).toBe(7);
    expect((await verdictOf(contrastive, 'x', { baselines })).score).toBeNull();
    expect((await verdictOf(contrastive, '3', { baselines: ['x', '1'] })).score).toBe(2);
    expect((await verdictOf(contrastive, '3', { baselines: ['x'] })).score).toBeNull();
    await expect(verdictOf(contrastive, '3')).rejects.toThrow(/needs the column "baselines", a list of .* undefined/);
  });

  it('hybridReward: with one weight 0 it is the other, and the outcome is paid at the last step', async () => {
    const of = (processWeight: number, outcomeWeight: number) =>
      verdictOf(
        hybridReward({ process: stated('steps'), outcome: plain, processWeight, outcomeWeight }),
        '0.5\n0.25\n-1',
      );
    expect(await of(1, 0)).toEqual({ score: -0.25, stepScores: [0.5, 0.25, -1] });
    expect(await of(0, 1)).toEqual({ score: 1, stepScores: [0, 0, 1] });
    expect(await of(2, 3)).toEqual({ score: 2.5, stepScores: [1, 0.5, 1] });
    const wrong = hybridReward({ process: plain, outcome: plain });
    await expect(verdictOf(wrong, '1')).rejects.toThrow(/plain gives no stepScores: take one of steps/);
    expect((await verdictOf(hybridReward({ process: stated('a'), outcome: stated('b') }), 'x')).score).toBeNull();
  });

  it('processAdvantage: pays the difference of values, in all the last less the first, and none where nothing moves', async () => {
    const pav = processAdvantage({ verifier: stated('values'), alpha: 2, startValue: 0.25 });
    const moving = await verdictOf(pav, '0.5\n0.5\n0\n1');
    expect(moving).toEqual({ score: 1.5, stepScores: [0.5, 0, -1, 2] });
    expect((await verdictOf(pav, '0.25\n0.25')).stepScores).toEqual([0, 0]);
    expect((await verdictOf(pav, '')).score).toBeNull();
  });

  it('implicitProcessReward: steps add up to β times the log-ratio of the whole, and 0 where both models agree', async () => {
    const weigh = (weights: Record<string, number>): Scorer => ({
      name: 'letters',
      score: async (requests) =>
        requests.map(({ continuation }) => {
          const logProb = [...continuation].reduce((sum, letter) => sum + Math.log(weights[letter] ?? 0.1), 0);
          return { logProb, tokens: continuation.length, isGreedy: false };
        }),
    });
    const [policy, reference] = [weigh({ a: 0.8, b: 0.05 }), weigh({ a: 0.4, b: 0.2 })];
    const verifier = implicitProcessReward({ policy, reference, beta: 0.5, stepDelimiter: ';' });
    const { score, stepScores } = await verdictOf(verifier, 'aa;b;;ab');
    const [a, b] = [0.5 * Math.log(2), 0.5 * Math.log(0.25)];
    expect(stepScores).toHaveLength(3);
    [2 * a, b, a + b].forEach((value, i) => {
      expect(stepScores![i]).toBeCloseTo(value, 12);
    });
    expect(score).toBeCloseTo(3 * a + 2 * b, 12);
    const same = implicitProcessReward({ policy, reference: policy, stepDelimiter: ';' });
    expect(await verdictOf(same, 'ab;a')).toEqual({ score: 0, stepScores: [0, 0] });
    expect((await verdictOf(same, '')).score).toBeNull();
  });

  interface ImplicitSteps {
    readonly completion: string;
    readonly policy: number[];
    readonly reference: number[];
    readonly steps: number[];
    readonly values: number[];
  }
  const implicit = readGolden<{ beta: number; cases: ImplicitSteps[] }>('implicit-prm.json', 'authors');
  it.each(implicit.cases)(
    'implicitProcessReward pays the steps of $completion what the authors’ code does',
    async ({ completion, policy, reference, steps, values }) => {
      const scorer = (logProbs: readonly number[]): Scorer => ({
        name: 'golden',
        score: async (requests) =>
          requests.map(({ continuation: { length: tokens } }) => ({
            ...{ logProb: logProbs.slice(0, tokens).reduce((a, b) => a + b, 0), tokens, isGreedy: false },
          })),
      });
      const models = { policy: scorer(policy), reference: scorer(reference) };
      const options = { ...models, beta: implicit.beta, stepDelimiter: ';', delimiterIn: 'before' } as const;
      const { score, stepScores } = await verdictOf(implicitProcessReward(options), completion);
      expect(stepScores).toEqual(steps.map((step) => expect.closeTo(step, 12)));
      expect(score).toBeCloseTo(values.at(-1)!, 12);
    },
  );

  it('stepRewards: each step is paid in the token that ends it', async () => {
    const { tokenizer } = await import('./toy.js');
    const annotator = stepRewards({ verifier: stated('steps'), weight: 0.5, stepDelimiter: '\n' });
    // Tokens of one letter each: decode gives as many.
    const text = '1\n20\n3';
    const rollout = {
      ...{ group: 0, promptTokens: [1], completionTokens: [...text].map((_, i) => i), oldLogProbs: [] },
    };
    const model = { tokenizer: { ...tokenizer, decode: (ids: number[]) => ids.map((id) => text[id]).join('') } };
    const run = (completion: string) =>
      annotator.annotate(
        [{ ...rollout, text: completion, row: { prompt: 'p' }, reward: 1, finishReason: 'stop' } as never],
        { model, step: 0 } as never,
      );
    const [paid] = await run(text);
    expect(Array.from(paid!.tokenRewards!)).toEqual([0.5, 0, 0, 10, 0, 1.5]);
    const [none] = await run('x');
    expect(Array.from(none!.tokenRewards!)).toEqual([0, 0, 0, 0, 0, 0]);
    const other = stepRewards({ verifier: stated('steps'), stepDelimiter: ';' });
    const asked = other.annotate([{ ...rollout, text, row: { prompt: 'p' }, reward: 1 } as never], {
      model,
      step: 0,
    } as never);
    await expect(asked).rejects.toThrow(
      /scores of 3 steps, where the completion has 1; give both the same stepDelimiter/,
    );
  });
});

describe('TTRL', () => {
  const groups = [
    { completions: ['#### 1/2', 'the answer is 0.5', '#### 3', 'no'], gold: '0.5' },
    { completions: ['#### 7', '#### 7', '#### 8', '#### 7'], gold: '8' },
    { completions: ['#### 1', '#### 2', '', ''], gold: '2' },
  ];
  const completionOf = (text: string) => toScore([text])[0]!;
  const asked = groups.flatMap(({ completions }, group) =>
    completions.map((text) => ({ ...completionOf(text), group })),
  );

  it('pays what most completions answer, of equally many the first; nobody where none has an answer', async () => {
    const { byFunction } = await scoreCompletions({ ttrl: ttrl() }, [
      ...asked,
      ...['none', 'nothing'].map((text) => ({ ...completionOf(text), group: 9 })),
    ]);
    expect(byFunction.ttrl).toEqual([1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, null, null]);
    expect(majorityAnswer(['b', null, 'a', 'a', 'b'])).toEqual({ answer: 'b', count: 2 });
    expect(majorityAnswer([null])).toBeNull();
    await expect(scoreCompletions({ ttrl: ttrl() }, [completionOf('#### 1')])).rejects.toThrow(/is of groups/);
    expect(() => ttrl({ extract: 3 as never })).toThrow(/extract is 3/);
  });

  it('reports how far majorities are from what is right, worked out', () => {
    const { prompts: count, ...report } = ttrlReport(groups);
    expect(count).toBe(3);
    const expected = {
      majorityAccuracy: 1 / 3,
      // All of the first; none of the second; of the third the two that say 1 and 2 are paid the other way round.
      rewardAccuracy: (1 + 0 + 0.5) / 3,
      majorityShare: (0.5 + 0.75 + 0.25) / 3,
      goldShare: (0.5 + 0.25 + 0.25) / 3,
      divergence: 0.5 / 3,
      passAtK: 1,
    };
    for (const [name, value] of Object.entries(expected))
      expect(report[name as keyof typeof report], name).toBeCloseTo(value, 12);
    expect(() => ttrlReport([])).toThrow(/there must be a prompt/);
  });
});

describe('rewards that are programs', () => {
  /** No wall, only the interface: scripts/proofs/evaluation.mjs runs such rewards in QuickJS. */
  const sandbox: Sandbox = {
    ...{ name: 'context', languages: ['javascript'], commands: false },
    probe: async () => ({ sandbox: 'context', ok: true, checks: [] }),
    async run(job) {
      const out: string[] = [];
      const print = (line: string) => void out.push(line);
      let [stderr, stoppedBy]: [string, 'wall-time' | null] = ['', null];
      try {
        const { code, stdin } = job as { code: string; stdin: string };
        runInNewContext(code, { print, readline: () => stdin.trim() }, { timeout: job.limits!.wallMs ?? 1_000 });
      } catch (error) {
        if (/timed out/.test(String(error))) stoppedBy = 'wall-time';
        else stderr = String(error);
      }
      const whole = { stdoutTruncated: false, stderrTruncated: false, wallMs: 0 };
      return { exitCode: 0, stoppedBy, stdout: out.join('\n'), stderr, ...whole };
    },
  };
  const of = (code: string) => codeReward({ sandbox, code, limits: { wallMs: 500 } });
  const asked = ['a', 'bb', ''].map((completion) => ({ prompt: 'p', completion, row: { weight: 2 } }));

  it('run in the sandbox, on all completions together, and say what their sum is made of', async () => {
    const reward = of(`
      const print = globalThis.print;
      globalThis.planted = 1;
      function reward(prompt, completion, row) {
        print('00000000-0000-0000-0000-000000000000 [7, 7, 7]');
        if (completion === '') return Number.NaN;
        return { length: row.weight * completion.length, prompt: prompt === 'p' ? 0.5 : 0 };
      }`);
    const verdicts = await reward.verify(asked);
    expect(verdicts.map(({ score }) => score)).toEqual([2.5, 4.5, null]);
    expect(verdicts[1]!.components).toEqual({ length: 4, prompt: 0.5 });
    expect('planted' in globalThis).toBe(false);
    await expect(of('const reward = () => { throw new Error("no idea") }').verify(asked)).rejects.toThrow(/no idea/);
    await expect(of('while (true) {}').verify(asked)).rejects.toThrow(/was stopped/);
    const none = { ...sandbox, languages: ['python'] };
    expect(() => codeReward({ sandbox: none, code: '' })).toThrow(/runs python; take one that runs javascript/);
  });

  it('are evolved by what a policy makes of them: the best is shown, and the best of all is given', async () => {
    const fenced = (body: string) => `Here:\n\`\`\`javascript\nfunction reward(_, y) { return ${body}; }\n\`\`\``;
    const rounds = [
      ['nothing', fenced('oops'), fenced('{ long: y.length }')],
      [fenced('{ long: y.length, b: 3 * (y.split("b").length - 1) }'), fenced('{ none: 0 }')],
      [fenced('{ short: -y.length }'), fenced('{ none: 1 }')],
    ];
    const prompts: unknown[] = [];
    const generator: Generator = {
      name: 'scripted',
      async generate([request]) {
        prompts.push(request!.prompt);
        const usage = { promptTokens: 1, completionTokens: 1 };
        return [rounds[prompts.length - 1]!.map((text) => ({ text, finishReason: 'stop' as const, usage }))];
      },
    };
    // The policy is softmax(reward) over four answers, of which the task wants b; its optimum can be enumerated.
    const answers = ['a', 'aa', 'b', 'bb'];
    const worth = [0, 0, 0.5, 1];
    const expected = (scores: readonly number[]) => {
      const weights = scores.map(Math.exp);
      const sum = weights.reduce((a, b) => a + b, 0);
      return weights.reduce((total, weight, i) => total + (weight / sum) * worth[i]!, 0);
    };
    const fitness = async (reward: Verifier) => {
      const verdicts = await reward.verify(answers.map((completion) => ({ prompt: '', completion })));
      return { score: expected(verdicts.map(({ score }) => score!)) };
    };
    const found = await eureka({ generator, sandbox, task: 'Say b.', fitness, iterations: 3, candidates: 3 });
    expect(found.score).toBeCloseTo(expected([1, 2, 4, 8]), 12);
    expect(found.code).toContain('split("b")');
    const scores = found.candidates.map(({ score }) => score);
    expect(scores.map((score) => score === null)).toEqual([true, true, false, false, false, false, false]);
    expect(scores[4]).toBeCloseTo(0.375, 12);
    expect(found.candidates[1]!.reflection).toMatch(/oops/);
    // Only the best of the round before is shown, with its components.
    expect(prompts.map((prompt) => (prompt as unknown[]).length)).toEqual([2, 4, 4]);
    expect(JSON.stringify(prompts[1])).toMatch(/long: 1.00, 2.00, 1.00, 2.00 \(least 1, most 2\)/);
    expect(JSON.stringify(prompts[2])).toMatch(/b: 0.00, 0.00, 3.00, 6.00 \(least 0, most 6\)/);
    const silent = { ...generator, generate: async () => [[]] };
    await expect(eureka({ generator: silent, sandbox, task: '', fitness, iterations: 1 })).rejects.toThrow(
      /no program that ran/,
    );
  });
});

describe('refitRewardModel', () => {
  const words = [...'ace'].flatMap((a) => [...'ace'].flatMap((b) => [...'ace'].map((c) => a + b + c)));
  const countOf = (word: string, letter: string) => word.split(letter).length - 1;
  /** A c is worth 2 and an e 1, but every e behind the first costs 3. */
  const goldOf = (word: string) => {
    const [c, e] = [countOf(word, 'c'), countOf(word, 'e')];
    return 2 * Math.min(1, c) + Math.min(1, e) - 3 * Math.max(0, e - 1);
  };
  const judge: PairJudge = {
    name: 'gold',
    compare: async (asked) =>
      asked.map(({ first, second }) => {
        const gap = goldOf(first) - goldOf(second);
        return { winner: gap === 0 ? 'tie' : gap > 0 ? 'first' : 'second' };
      }),
  };

  /** Gold of a tabular policy, exp(η Σ rewards), after steps of a reward model that has seen no more than one e. */
  async function goldAfter(
    seed: number,
    isRefitted: boolean,
  ): Promise<{ readonly best: number; readonly last: number }> {
    const draw = drawing(seed);
    const pick = (from: readonly string[]) => from[Math.floor(draw() * from.length)]!;
    const good = words.filter((word) => countOf(word, 'e') === 1);
    const bad = words.filter((word) => countOf(word, 'e') === 0 && countOf(word, 'c') === 0);
    const rows = Array.from({ length: 48 }, () => ({ prompt: 'g', chosen: pick(good), rejected: pick(bad) }));
    const model = await SequenceClassifier.fromCausalLM(await lettersModel(seed), { seed });
    const { trainer } = await trainRewardModel({ model, rows, learningRate: 0.01, epochs: 2, seed });
    const refit = refitRewardModel({ trainer, judge, learningRate: 0.01, iterations: 4 });
    let logits = words.map(() => 0);
    const golds: number[] = [];
    for (let step = 0; step < 12; step++) {
      const most = Math.max(...logits);
      const weights = logits.map((x) => Math.exp(x - most));
      const total = weights.reduce((a, b) => a + b, 0);
      golds.push(words.reduce((sum, word, i) => sum + (weights[i]! / total) * goldOf(word), 0));
      const sample = () => {
        const at = draw() * total;
        let sum = 0;
        const found = weights.findIndex((weight) => {
          sum += weight;
          return sum > at;
        });
        return words[Math.max(0, found)]!;
      };
      const rollouts = Array.from({ length: 16 }, (_, i) => ({
        ...{ group: i >> 1, promptTokens: [6], completionTokens: [0], oldLogProbs: [0], reward: 0 },
        ...{ text: sample(), row: { prompt: 'g' } },
      }));
      if (isRefitted) await refit.learn!(rollouts, [], { step } as never);
      const verdicts = await refit.reward.verify(words.map((completion) => ({ prompt: 'g', completion })));
      logits = logits.map((x, i) => x + 1.5 * verdicts[i]!.score!);
    }
    return { best: Math.max(...golds), last: golds.at(-1)! };
  }

  it('comes to the best word by what the judge says, where a frozen reward model does not', async () => {
    setEngine(onnxruntimeEngine());
    const optimum = Math.max(...words.map(goldOf));
    const falls: number[] = [];
    for (const seed of [1, 2, 3]) {
      const [frozen, refitted] = [await goldAfter(seed, false), await goldAfter(seed, true)];
      expect(refitted.last).toBeGreaterThan(optimum - 0.01);
      expect(frozen.last).toBeLessThan(optimum - 0.3);
      falls.push(frozen.best - frozen.last);
    }
    // Of one of the frozen ones the policy is worse at the end than it has been.
    expect(Math.max(...falls)).toBeGreaterThan(0.5);
  });

  it('learns beside a policy that GRPO trains by it, and pays steps into the rewards of tokens of PPO', async () => {
    setEngine(onnxruntimeEngine());
    const trainer = await Trainer.create(await SequenceClassifier.fromCausalLM(await lettersModel(2)), {
      optimizer: sgd(),
    });
    const longer: PairJudge = {
      name: 'more c',
      compare: async (asked) =>
        asked.map(({ first, second }) => ({ winner: countOf(first, 'c') > countOf(second, 'c') ? 'first' : 'second' })),
    };
    const refit = refitRewardModel({ trainer, judge: longer, learningRate: 0.05, every: 2 });
    const run = {
      ...{ rows: [{ prompt: 'ab' }, { prompt: 'g' }], steps: 2, completionsPerPrompt: 4, promptsPerStep: 2 },
      ...{ maxCompletionLength: 4, learningRate: 0.01, optimizer: 'sgd' as const },
    };
    const before = await trainer.parameters['score.weight']!.toArray();
    const { history } = await trainPolicy({
      ...run,
      model: await lettersModel(1),
      rewards: { reward_model: refit.reward },
      objective: { ...policyObjectives.grpo(), annotators: [refit] },
    });
    expect(history.map(({ metrics }) => metrics['reward_model/loss'] !== undefined)).toEqual([false, true]);
    expect(await trainer.parameters['score.weight']!.toArray()).not.toEqual(before);

    // No outcome is worth anything: what changes the policy are the rewards of steps.
    const haveC: Verifier = {
      name: 'c',
      verify: async (requests) =>
        requests.map(({ completion }) => {
          const steps = completion.split('b').filter((step) => step.trim() !== '');
          return { score: 0, stepScores: steps.map((step) => countOf(step, 'c')) };
        }),
    };
    const weightsAfter = async (weight: number) => {
      const ppo = { ...policyObjectives.ppo({ critic: tableCritic() }), advantage: gae({ whiten: false }) };
      const annotators = [...ppo.annotators!, stepRewards({ verifier: haveC, weight, stepDelimiter: 'b' })];
      const result = await trainPolicy({
        ...{ ...run, steps: 1, completionsPerPrompt: 8, onWarning: () => {} },
        ...{ model: await lettersModel(1), rewards: { none: () => 0 } },
        objective: { ...ppo, annotators: annotators.toReversed() },
      });
      return result.trainer.parameters['model.norm.weight']!.toArray();
    };
    const [none, some] = [await weightsAfter(0), await weightsAfter(1)];
    expect(none).toEqual(await (await lettersModel(1)).weights['model.norm.weight']!.toArray());
    expect(some).not.toEqual(none);
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

  // By hand: |40 − n| of exact; of max the clip from its middle δ at n = 40 to its ends at ±0.5 / α = ±25 tokens.
  it.each([
    ['exact', 1, 40, 1],
    ['exact', 1, 30, 0.8],
    ['exact', 1, 60, 0.6],
    ['exact', 0, 45, -0.1],
    ['max', 1, 40, 0.5],
    ['max', 1, 30, 0.7],
    ['max', 1, 10, 1],
    ['max', 1, 65, 0],
    ['max', 1, 90, 0],
    ['max', 0, 10, 0],
  ] as const)('lcpo %s, with %d right and %d tokens for 40, is %d', async (mode, right, tokens, score) => {
    const correct = { name: 'given', verify: async () => [{ score: right }] };
    const reward = lcpo({ correct, mode, alpha: 0.02 });
    expect(await scoreOf(reward, '', contextOf({ target_tokens: 40 }, tokens))).toBeCloseTo(score, 12);
    await expect(scoreOf(reward, '', contextOf({}, tokens))).rejects.toThrow(/column "target_tokens" of the row/);
    await expect(scoreOf(reward, '', contextOf({ target_tokens: NaN }, tokens))).rejects.toThrow(/It is NaN/);
    const silent = lcpo({ correct: { name: 'none', verify: async () => [{ score: null }] } });
    expect(await scoreOf(silent, '', contextOf({ target_tokens: 40 }, tokens))).toBeNull();
  });

  it('lcpo is the reward of the authors’ code, whose α is twice that of the paper at most so many tokens', async () => {
    interface Case {
      readonly mode: 'exact' | 'max';
      readonly alpha: number;
      readonly right: boolean;
      readonly tokens: number;
      readonly reward: number;
    }
    const { target, cases } = readGolden<{ target: number; cases: Case[] }>('lcpo.json', 'authors');
    for (const { mode, alpha, right, tokens, reward } of cases) {
      const correct = { name: 'given', verify: async () => [{ score: Number(right) }] };
      const ours = lcpo({ correct, mode, alpha: mode === 'max' ? alpha / 2 : alpha });
      const score = await scoreOf(ours, '', contextOf({ target_tokens: target }, tokens));
      expect(score, `${mode} ${alpha} ${right} ${tokens}`).toBeCloseTo(reward, 12);
    }
  });

  it('kimiLength pays the shorter of the right ones, and never a wrong one: the paper’s formula by hand', async () => {
    const lengths = [10, 20, 30, 30];
    const asked = (rights: readonly (number | null)[], of = lengths) => {
      const correct: Verifier = { name: 'right', verify: async () => rights.map((score) => ({ score })) };
      const requests = of.map((length, i) => {
        return { prompt: 'p', completion: `${i}`, tokenIds: new Array<number>(length).fill(1), group: 0 };
      });
      return kimiLength({ correct }).verify(requests as never);
    };
    const scores = async (...given: Parameters<typeof asked>) => (await asked(...given)).map(({ score }) => score);
    expect(await scores([1, 1, 1, 1])).toEqual([0.5, 0, -0.5, -0.5]);
    expect(await scores([0, 0, 0, 1])).toEqual([0, 0, -0.5, -0.5]);
    expect(await scores([1, null, 0, 1])).toEqual([0.5, null, -0.5, -0.5]);
    expect(await scores([1, 0, 1, 0], [7, 7, 7, 7])).toEqual([0, 0, 0, 0]);
    await expect(scores([1])).rejects.toThrow(/right returned 1 verdicts for 4 completions/);
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

describe('rewards of lengths and repetitions', () => {
  const known = (scores: readonly number[]): Verifier => ({
    name: 'known',
    verify: async (requests) => requests.map((_, i) => ({ score: scores[i]! })),
  });
  const tokens = (count: number) => new Array<number>(count).fill(1);
  const ask = (more: Partial<VerifyRequest>): VerifyRequest => ({ prompt: 'p', completion: '', ...more });
  const scores = async (verifier: Verifier, requests: readonly VerifyRequest[]) =>
    (await verifier.verify(requests)).map(({ score }) => score);

  it("lengthTarget is open-instruct's", async () => {
    const { lengths } = readGolden<{ lengths: { tokens: number; target: number; near: number; up_to: number }[] }>(
      'open-instruct.json',
      'verifier-set',
    );
    for (const { tokens: n, target, near, up_to } of lengths) {
      const request = [ask({ tokenIds: tokens(n), row: { max_length: target } })];
      expect(await scores(lengthTarget({ mode: 'near', scale: 20 }), request)).toEqual([near]);
      expect(await scores(lengthTarget({ scale: 20 }), request)).toEqual([up_to]);
    }
    expect(lengths.length).toBeGreaterThan(10);
    await expect(scores(lengthTarget(), [ask({ tokenIds: [1], row: { max_length: -1 } })])).rejects.toThrow(
      /the column "max_length" is -1; it must be a number of tokens/,
    );
  });

  it("repetitionPenalty is TRL's on tokens and ms-swift's on words", async () => {
    const trl = readGolden<{ tokens: number[][]; repeated: { n: number; rewards: number[] }[] }>(
      'trl.json',
      'verifier-set',
    );
    for (const { n, rewards } of trl.repeated) {
      const found = await scores(
        repetitionPenalty({ n }),
        trl.tokens.map((tokenIds) => ask({ tokenIds })),
      );
      found.forEach((score, i) => {
        expect(score).toBeCloseTo(rewards[i]!, 12);
      });
    }
    const swift = readGolden<{ texts: string[]; repeated: { n: number; max_penalty: number; rewards: number[] }[] }>(
      'ms-swift.json',
      'verifier-set',
    );
    for (const { n, max_penalty: maxPenalty, rewards } of swift.repeated) {
      const penalty = repetitionPenalty({ n, maxPenalty, unit: 'words' });
      const found = await scores(
        penalty,
        swift.texts.map((completion) => ask({ completion })),
      );
      found.forEach((score, i) => {
        expect(score).toBeCloseTo(rewards[i]!, 12);
      });
    }
    // k times the same token has k - n + 1 n-grams, all alike.
    for (const k of [3, 5, 9]) {
      expect(await scores(repetitionPenalty(), [ask({ tokenIds: tokens(k) })])).toEqual([
        k === 3 ? 0 : 1 / (k - 2) - 1,
      ]);
    }
    await expect(scores(repetitionPenalty(), [ask({})])).rejects.toThrow(/needs the token ids/);
  });

  it("cosineLength is ms-swift's up to the longest length, and stays there", async () => {
    interface Case {
      readonly values: readonly [number, number, number, number];
      readonly right: boolean;
      readonly lengths: readonly number[];
      readonly rewards: readonly number[];
    }
    const { cosine } = readGolden<{ cosine: Case[] }>('ms-swift.json', 'verifier-set');
    for (const {
      values: [shortWrong, longWrong, shortCorrect, longCorrect],
      right,
      lengths,
      rewards,
    } of cosine) {
      const correct = known(lengths.map(() => (right ? 1 : 0.9)));
      const reward = cosineLength({ correct, maxLength: 40, shortWrong, longWrong, shortCorrect, longCorrect });
      const found = await scores(
        reward,
        lengths.map((n) => ask({ tokenIds: tokens(n) })),
      );
      found.forEach((score, i) => {
        expect(score).toBeCloseTo(rewards[i]!, 12);
      });
    }
    const [longest, longer, half] = await scores(
      cosineLength({ correct: known([1, 1, 1]), maxLength: 10 }),
      [10, 25, 5].map((n) => ask({ tokenIds: tokens(n) })),
    );
    expect([longest, longer, half]).toEqual([0.5, 0.5, 0.75]);
    expect(
      await scores(cosineLength({ correct: known([null as never]), maxLength: 4 }), [ask({ tokenIds: [1] })]),
    ).toEqual([null]);
  });

  it("stopProperly is OpenRLHF's", async () => {
    interface Case {
      readonly coefficient: number;
      readonly rewards: readonly number[];
      readonly cut: readonly boolean[];
      readonly penalized: readonly number[];
    }
    const { cases } = readGolden<{ cases: Case[] }>('openrlhf.json', 'verifier-set');
    for (const { coefficient, rewards, cut, penalized } of cases) {
      const reward = stopProperly({ verifier: known(rewards), coefficient });
      const found = await scores(
        reward,
        cut.map((isCut) => ask({ finishReason: isCut ? 'length' : 'stop' })),
      );
      found.forEach((score, i) => {
        expect(score).toBeCloseTo(penalized[i]!, 6);
      });
    }
    await expect(scores(stopProperly({ verifier: known([1]) }), [ask({})])).rejects.toThrow(
      /needs the finishReason of completion 0/,
    );
    expect(() => stopProperly({ verifier: known([]), coefficient: 2 })).toThrow(/coefficient is 2/);
  });
});
