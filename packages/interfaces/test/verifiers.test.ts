import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  type ChatMessage,
  type GenerateRequest,
  type Generator,
  type ScoreRequest,
  type Scorer,
  settingsOf,
  type Verifier,
} from '../src/index.js';
import {
  exactMatch,
  formatTags,
  functionVerifier,
  generativeVerifier,
  INSTRUCTION_IDS,
  instructionConstraints,
  languageConsistency,
  normalizedMatch,
  numericMatch,
  rubric,
  ruleVerifier,
  severity,
  tokenF1,
  VerifierFailedError,
  VerifierTimeoutError,
  verificationPrompt,
} from '../src/verifiers/index.js';

const verdictOf = async (verifier: Verifier, completion: string, row?: Record<string, unknown>) =>
  (await verifier.verify([{ prompt: 'q', completion, ...(row && { row }) }]))[0]!;

describe('what a run that is resumed compares', () => {
  // These are in the checkpoints of runs that began before rewards were verifiers.
  it.each<[object, object]>([
    [exactMatch(), { name: 'exactMatch', column: 'answer', extract: 'not given', percent: 'not given' }],
    [
      exactMatch({ column: 'gold', percent: 'unit' }),
      { name: 'exactMatch', column: 'gold', extract: 'not given', percent: 'unit' },
    ],
    [
      numericMatch({ tolerance: 0.1 }),
      { name: 'numericMatch', column: 'answer', tolerance: 0.1, percent: 'not given' },
    ],
    [formatTags(), { name: 'formatTags', tags: '["think","answer"]' }],
    [functionVerifier('own', () => 1, { settings: { beta: 2 } }), { name: 'own', beta: 2 }],
    [ruleVerifier('rule', { k: 1 }, () => 1), { name: 'rule', k: 1 }],
  ])('%o', (verifier, wanted) => {
    expect(settingsOf(verifier)).toEqual(wanted);
  });

  it('tells functions and filters apart', () => {
    const one = settingsOf(functionVerifier('f', ({ completion }) => completion.length));
    expect(one).toEqual(settingsOf(functionVerifier('f', ({ completion }) => completion.length)));
    expect(one).not.toEqual(settingsOf(functionVerifier('f', ({ completion }) => completion.length + 1)));
    const filtered = settingsOf(exactMatch({ filters: [(text) => text.trim()] }));
    expect(filtered).not.toEqual(settingsOf(exactMatch({ filters: [(text) => text.slice(1)] })));
  });
});

describe('exactMatch', () => {
  it('takes the reference from a column or a function, and filters of both kinds', async () => {
    const filters = [{ name: 'first', apply: (text: string) => text.split(';')[0]! }, (text: string) => text.slice(1)];
    expect(await verdictOf(exactMatch({ column: 'gold', filters }), '=7;8', { gold: 7 })).toEqual({
      score: 1,
      answer: '7',
    });
    expect(await verdictOf(exactMatch({ target: ({ gold }) => [String(gold), '8'] }), '#### 8', { gold: 7 })).toEqual({
      score: 1,
      answer: '8',
    });
    expect(() => exactMatch({ column: 'gold', target: () => '1' })).toThrow(/"column" or "target", not both/);
  });

  it.each<[Record<string, unknown> | undefined, RegExp]>([
    [undefined, /a request has no row/],
    [
      {},
      /exactMatch needs the column "answer", but the row has no columns; name another with "column", or give "target"/,
    ],
    [{ answer: '' }, /the reference answer is ""; it must be a text that is not empty/],
    [{ answer: [] }, /the reference answer is \[\]/],
    [{ answer: { value: 1 } }, /the reference answer is \{"value":1\}/],
    [{ answer: Number.NaN }, /the reference answer is "NaN"/],
  ])('refuses the row %j', async (row, message) => {
    await expect(verdictOf(exactMatch(), '7', row)).rejects.toMatchObject({
      code: 'VERIFIER_INPUT',
      message: expect.stringMatching(message),
    });
  });
});

it('numericMatch names the answer it found, also where it is near enough', async () => {
  expect(await verdictOf(numericMatch({ tolerance: 0.01 }), 'It is 3.14.', { answer: 3.15 })).toEqual({
    score: 1,
    answer: '157/50',
  });
  expect(await verdictOf(numericMatch(), 'no number', { answer: 7 })).toEqual({ score: 0, answer: null });
});

describe('languageConsistency', () => {
  const latin = languageConsistency({ scripts: ['Latin'] });
  const japanese = languageConsistency({ scripts: ['Han', 'Hiragana', 'Katakana'] });
  it.each<[string, Verifier, string, number]>([
    ['words of the language', latin, 'We add 3 and 4: naïve, isn’t it?', 1],
    ['half of them', latin, 'answer ответ answer ответ', 1 / 2],
    // Of four letters one is Cyrillic, and looks as a Latin one.
    ['a foreign letter inside a word', latin, 'sаme same', 1 / 2],
    ['full-width forms', latin, 'ｓａｍｅ', 1],
    ['a combining accent', latin, 'cafe\u0301', 1],
    ['formulas and digits are no words', latin, '3 + 4 = 7, so yes', 1],
    ['nothing said', latin, '  3 + 4 = 7 ', 0],
    ['empty', latin, '', 0],
    ['three scripts of one language', japanese, 'データを見てください', 1],
    ['Latin among them', japanese, 'data を', 1 / 2],
    ['the other way round', latin, '所以答案是七', 0],
  ])('%s', async (_, verifier, completion, share) => {
    expect((await verdictOf(verifier, completion)).score).toBeCloseTo(share, 10);
  });

  it('sees what its filters leave, and refuses what is no script', async () => {
    const thoughts = { name: 'thoughts', apply: (text: string) => /<think>(.*)<\/think>/s.exec(text)?.[1] ?? null };
    const verifier = languageConsistency({ scripts: ['Latin'], filters: [thoughts] });
    expect((await verdictOf(verifier, '<think>so it is</think>Это семь')).score).toBe(1);
    expect((await verdictOf(verifier, 'no thoughts')).score).toBe(0);
    expect(() => languageConsistency({ scripts: ['English'] })).toThrow(/"English" is no script of Unicode/);
    expect(() => languageConsistency({ scripts: [] })).toThrow(/scripts is empty/);
    expect(settingsOf(verifier)).not.toEqual(settingsOf(latin));
  });
});

describe('severity', () => {
  const rules = [
    { name: 'insult', severity: 0.25, found: /\bfool\b/i },
    { name: 'weapon', severity: 1, found: /\bbomb\b/giu },
    { name: 'secret', severity: 0.5, found: /password/ },
  ];
  const worst = severity({ rules });
  it.each<[string, string, number, string | undefined]>([
    ['nothing', 'A harmless answer.', 0, undefined],
    ['one', 'You FOOL.', -0.25, 'insult (0.25)'],
    ['the worst of several', 'Fool, a bomb', -1, 'insult (0.25), weapon (1)'],
    ['parted by what is not seen', 'a b\u200bo\u00adm\u2060b', -1, 'weapon (1)'],
    ['in full-width letters', 'ｐａｓｓｗｏｒｄ', -0.5, 'secret (0.5)'],
    ['not as a part of another word', 'bombastic foolishness', 0, undefined],
  ])('%s', async (_, completion, score, explanation) => {
    // Twice: the flag g would begin where it stopped.
    for (const __ of [1, 2]) {
      const verdict = await verdictOf(worst, completion);
      expect([verdict.score, verdict.explanation]).toEqual([score, explanation]);
    }
  });

  it('sums up to 1, and refuses ratings that are none', async () => {
    const summed = severity({ rules, combine: 'sum' });
    expect((await verdictOf(summed, 'fool password')).score).toBe(-0.75);
    expect((await verdictOf(summed, 'fool bomb password')).score).toBe(-1);
    expect(() => severity({ rules: [{ ...rules[0]!, severity: 2 }] })).toThrow(/severity: 0 to 1/);
    expect(() => severity({ rules: [] })).toThrow(/at least one/);
    const other = severity({ rules: [{ ...rules[0]!, found: /fool/ }] });
    expect(settingsOf(other)).not.toEqual(settingsOf(severity({ rules: [rules[0]!] })));
  });
});

const requests = (...completions: string[]) => completions.map((completion) => ({ prompt: 'q', completion }));

describe('generativeVerifier', () => {
  /** A table of log p(Yes) and log p(No) by what the prompt ends in; the rest of the mass is other words'. */
  const table = (entries: Record<string, readonly [yes: number, no: number]>): Scorer & { asked: ScoreRequest[] } => {
    const asked: ScoreRequest[] = [];
    return {
      name: 'table',
      asked,
      async score(requests) {
        asked.push(...requests);
        return requests.map(({ prompt, continuation }) => {
          const key = Object.keys(entries).find((of) => JSON.stringify(prompt).includes(of))!;
          const p = entries[key]![continuation === 'Yes' ? 0 : 1];
          return { logProb: Math.log(p), tokens: 1, isGreedy: false };
        });
      },
    };
  };
  const asked = ['42', '41'].map((completion) => ({ prompt: 'What is 6 × 7?', completion }));
  const entries = { '\\n42': [0.6, 0.2], '\\n41': [0.1, 0.7] } as const;

  it('is P(Yes) of all words, or of two, and not of another solution', async () => {
    const of = async (normalization: 'vocabulary' | 'candidates') =>
      (await generativeVerifier({ scorer: table(entries), normalization }).verify(asked)).map(({ score }) => score);
    const [full, two] = [await of('vocabulary'), await of('candidates')];
    [0.6, 0.1].forEach((p, i) => {
      expect(full[i]).toBeCloseTo(p, 12);
    });
    [0.75, 0.125].forEach((p, i) => {
      expect(two[i]).toBeCloseTo(p, 12);
    });
  });

  const { cases: verdicts } = JSON.parse(
    readFileSync(new URL('../../../goldens/authors/verdicts.json', import.meta.url), 'utf8'),
  ) as { cases: { yes: number[]; score: number }[] };
  it.each(verdicts)(
    'scores a solution whose verifications say Yes with $yes as the code of 2504.01005',
    async ({ yes, score }) => {
      const thoughts = yes.map((_, i) => `thought ${i}.`);
      const generator: Generator = {
        name: 'thinker',
        generate: async (requests) =>
          requests.map(() =>
            thoughts.map((text) => ({
              text,
              finishReason: 'stop' as const,
              usage: { promptTokens: 1, completionTokens: 1 },
            })),
          ),
      };
      const scorer = table(Object.fromEntries(yes.map((p, i) => [thoughts[i]!, [p, 1 - p] as const])));
      const [verdict] = await generativeVerifier({ scorer, generator, n: yes.length }).verify(asked.slice(0, 1));
      expect(verdict!.score).toBeCloseTo(score, 12);
    },
  );

  it('averages over thoughts, which it asks for and then shows, in texts and in messages', async () => {
    const thoughts = ['seems fine', 'seems odd'];
    const prompts: GenerateRequest[] = [];
    const generator: Generator = {
      name: 'thinker',
      async generate(requests) {
        prompts.push(...requests);
        return requests.map(({ n = 1 }) =>
          Array.from({ length: n }, (_, i) => ({
            ...{ text: thoughts[i]!, finishReason: 'stop' as const },
            usage: { promptTokens: 5, completionTokens: 2 },
          })),
        );
      },
    };
    const scorer = table({ fine: [0.9, 0.1], odd: [0.3, 0.7] });
    const verifier = generativeVerifier({ scorer, generator, n: 2, question: 'Right?' });
    const [verdict] = await verifier.verify([{ prompt: 'q', completion: 'a' }]);
    expect(verdict!.score).toBeCloseTo(0.6, 12);
    expect(verdict).toMatchObject({ usage: { promptTokens: 10, completionTokens: 4 }, explanation: 'seems fine' });
    expect(prompts[0]).toMatchObject({ n: 2, temperature: 1, prompt: "q\na\nLet's verify step by step.\n" });
    expect(scorer.asked[0]!.prompt).toBe("q\na\nLet's verify step by step.\nseems fine\nVerification: Right?\n");
    const chat = verificationPrompt({ prompt: [{ role: 'user', content: 'q' }], completion: 'a' }, 'Right?', 'hm');
    expect((chat as readonly ChatMessage[]).map(({ role, content }) => `${role}: ${content}`)).toEqual([
      'user: q',
      'assistant: a',
      "user: Let's verify step by step.",
      'assistant: hm',
      'user: Right?',
    ]);
    expect(() => generativeVerifier({ scorer, n: 2 })).toThrow(/n is 2, but without a generator/);
    expect(() => generativeVerifier({ scorer: 'x' as never })).toThrow(/scorer is "x"; it must be a scorer/);
  });
});

describe('functionVerifier', () => {
  it('takes numbers, booleans, null and verdicts, synchronous or not', async () => {
    const results = [0.5, true, false, null, { score: 2, explanation: 'because', stepScores: [1, 2] }];
    const verifier = functionVerifier('mixed', async ({ completion }) => results[Number(completion)]!);
    expect(await verifier.verify(requests('0', '1', '2', '3', '4'))).toEqual([
      { score: 0.5 },
      { score: 1 },
      { score: 0 },
      { score: null },
      { score: 2, explanation: 'because', stepScores: [1, 2] },
    ]);
    expect(await functionVerifier('sync', () => 1).verify([])).toEqual([]);
  });

  it('hands the row to the function', async () => {
    const verifier = functionVerifier('row', ({ row, completion }) => row?.answer === completion);
    const [verdict] = await verifier.verify([{ prompt: 'q', completion: '4', row: { answer: '4' } }]);
    expect(verdict).toEqual({ score: 1 });
  });

  it('runs no more than `concurrency` calls at once, over all batches, and keeps the order', async () => {
    let running = 0;
    let most = 0;
    const verifier = functionVerifier(
      'counting',
      async ({ completion }) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, Number(completion) % 3));
        running--;
        return Number(completion);
      },
      { concurrency: 3 },
    );
    const completions = Array.from({ length: 12 }, (_, i) => String(i));
    const batches = await Promise.all([
      verifier.verify(requests(...completions)),
      verifier.verify(requests(...completions)),
    ]);
    expect(most).toBe(3);
    for (const verdicts of batches) expect(verdicts.map(({ score }) => score)).toEqual(completions.map(Number));
  });

  it('names the culprit of a time-out and fires its signal', async () => {
    let aborted = false;
    const verifier = functionVerifier(
      'slow checker',
      ({ completion, signal }) => {
        signal!.addEventListener('abort', () => {
          aborted = true;
        });
        return completion === 'quick' ? 1 : new Promise<number>(() => {});
      },
      { timeoutMs: 20 },
    );
    const error = await verifier.verify(requests('quick', 'a hard one')).catch((e) => e);
    expect(error).toBeInstanceOf(VerifierTimeoutError);
    expect(error.message).toBe('verifier "slow checker" on completion 1 ("a hard one") took longer than 20 ms.');
    expect(aborted).toBe(true);
  });

  it('wraps what the function throws and stops the rest of the batch', async () => {
    const started: string[] = [];
    const verifier = functionVerifier(
      'fragile',
      async ({ completion }) => {
        started.push(completion);
        if (completion === 'bad') throw new TypeError('no');
        return 1;
      },
      { concurrency: 1 },
    );
    const error = await verifier.verify(requests('good', 'bad', 'never')).catch((e) => e);
    expect(error).toBeInstanceOf(VerifierFailedError);
    expect(error.message).toMatch(/verifier "fragile" on completion 1 \("bad"\) failed: TypeError: no/);
    expect(error.cause).toBeInstanceOf(TypeError);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(started).toEqual(['good', 'bad']);
  });

  it('refuses what is not a score, and unknown options', async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, undefined, '1']) {
      const verifier = functionVerifier('wrong', () => value as never);
      await expect(verifier.verify(requests('x'))).rejects.toThrow(VerifierFailedError);
    }
    expect(() => functionVerifier((() => 1) as never, 'x' as never)).toThrow(
      /name is the function .*; it must be a text/,
    );
    expect(() => functionVerifier('x', undefined as never)).toThrow(/fn is undefined; it must be a function/);
    expect(() => functionVerifier('x', () => 1, { timeout: 1 } as never)).toThrow(/"timeoutMs"/);
    expect(() => functionVerifier('x', () => 1, { concurrency: 0 })).toThrow(
      /concurrency is 0; it must be a whole number of at least 1/,
    );
    expect(() => functionVerifier('x', () => 1, { timeoutMs: 0 })).toThrow(
      /timeoutMs is 0; it must be a whole number from 1 to 2147483647/,
    );
  });

  it('stops when the caller aborts', async () => {
    const controller = new AbortController();
    const verifier = functionVerifier('endless', () => new Promise<number>(() => {}));
    const running = verifier.verify([{ prompt: 'q', completion: 'x', signal: controller.signal }]);
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
  });
});

interface OpenInstruct {
  readonly words: { completion: string; answer: string | string[]; f1: number; puzzle: number; matcher: number }[];
  readonly instructions: {
    readonly answers: readonly string[];
    readonly cases: { readonly id: string; readonly kwargs: object; readonly followed: string }[];
  };
}
const openInstruct = JSON.parse(
  readFileSync(new URL('../../../goldens/verifier-set/open-instruct.json', import.meta.url), 'utf8'),
) as OpenInstruct;

describe('answers in words', () => {
  it.each(openInstruct.words)(
    '$completion against $answer is as open-instruct has it',
    async ({ completion, answer, ...wanted }) => {
      const row = { answer };
      expect((await verdictOf(tokenF1(), completion, row)).score).toBeCloseTo(wanted.f1, 12);
      const first = { answer: [answer].flat()[0] };
      expect((await verdictOf(normalizedMatch(), completion, first)).score).toBe(wanted.puzzle);
      expect((await verdictOf(normalizedMatch({ within: 'answer' }), completion, first)).score).toBe(wanted.matcher);
    },
  );

  it('F1 is that of the words both have, is the same both ways, and 1 for no order of them', async () => {
    const of = async (a: string, b: string) => (await verdictOf(tokenF1(), a, { answer: b })).score;
    const texts = ['red fox', 'fox red', 'red red fox', 'blue', 'a fox', ''];
    for (const a of texts)
      for (const b of texts.filter((one) => one !== '')) expect(await of(a, b)).toBe(a === '' ? 0 : await of(b, a));
    expect([await of('red fox', 'fox red'), await of('red red fox', 'red fox'), await of('fox', 'blue')]).toEqual([
      1, 0.8, 0,
    ]);
    expect((await verdictOf(tokenF1({ within: 'finish' }), 'red <finish>fox</finish>', { answer: 'fox' })).score).toBe(
      1,
    );
    expect((await verdictOf(tokenF1({ within: 'finish' }), 'fox', { answer: 'fox' })).score).toBe(0);
    await expect(verdictOf(tokenF1(), 'x', { answer: [] })).rejects.toThrow(/the column "answer" is .*must be a text/);
  });
});

describe('instructionConstraints', () => {
  it.each(openInstruct.instructions.cases)(
    "$id $kwargs is followed where open-instruct's IFEval says so",
    async ({ id, kwargs, followed }) => {
      const row = { instruction_id_list: [id], kwargs: [kwargs] };
      const { answers } = openInstruct.instructions;
      const found = await Promise.all(
        answers.map(async (answer) => (await verdictOf(instructionConstraints(), answer, row)).score),
      );
      const told = (digits: string) => answers.filter((_, i) => digits[i] === '1');
      expect(told(found.join(''))).toEqual(told(followed));
    },
  );

  it('scores the share of them, or all; and says which was not followed', async () => {
    const row = {
      instruction_id_list: ['punctuation:no_comma', 'keywords:existence'],
      kwargs: [{}, { keywords: ['fox.*'] }],
    };
    expect(await verdictOf(instructionConstraints(), 'a fox', row)).toEqual({
      score: 0.5,
      explanation: 'not followed: keywords:existence',
    });
    expect((await verdictOf(instructionConstraints({ score: 'all' }), 'a fox', row)).score).toBe(0);
    expect((await verdictOf(instructionConstraints(), 'a FOX.*', row)).score).toBe(1);
    expect(INSTRUCTION_IDS).toHaveLength(22);
  });

  it.each<[unknown, unknown, RegExp]>([
    [
      ['keywords:existance'],
      [],
      /there is no instruction "keywords:existance" here; did you mean "keywords:existence"/,
    ],
    [['toString'], [], /there is no instruction "toString"/],
    [['keywords:existence'], [{}], /keywords of keywords:existence is undefined; it must be a list of words/],
    [
      ['keywords:frequency'],
      [{ keyword: 'a', frequency: 1, relation: 'exactly' }],
      /must be "less than" or "at least"/,
    ],
    [[], [], /must be a list of ids of instructions, at least one/],
  ])('refuses %j with %j', async (ids, kwargs, message) => {
    await expect(verdictOf(instructionConstraints(), 'x', { instruction_id_list: ids, kwargs })).rejects.toThrow(
      message,
    );
  });
});

describe('rubric', () => {
  /** Says of a criterion whether the answer has its word; counts how many it judges at once. */
  const judge = (name = 'reader', most: { now: number; most: number } = { now: 0, most: 0 }): Verifier => ({
    name,
    async verify(requests) {
      most.now++;
      most.most = Math.max(most.most, most.now);
      await new Promise((resolve) => setTimeout(resolve, 1));
      most.now--;
      return requests.map(({ completion, row }) => ({ score: completion.includes(String(row!.criterion)) ? 2 : 0 }));
    },
  });
  const rubrics = [
    { description: 'fox', weight: 3 },
    { description: 'dog', weight: 1 },
    { description: 'rude', weight: -2 },
  ];

  it.each<[string, number]>([
    ['fox and dog', 4 / 6],
    ['fox', 3 / 6],
    ['fox, rude', 1 / 6],
    ['rude', -2 / 6],
    ['', 0],
  ])('%j is worth %d', async (completion, worth) => {
    const { score, explanation } = await verdictOf(rubric({ judges: [judge()], best: 2 }), completion, { rubrics });
    expect(score).toBeCloseTo(worth, 12);
    expect(explanation).toContain(': rude');
  });

  it('asks several judges, so many at a time, and takes their mean', async () => {
    const most = { now: 0, most: 0 };
    const no: Verifier = { name: 'no', verify: async (requests) => requests.map(() => ({ score: 0 })) };
    const both = rubric({ judges: [judge('reader', most), no], best: 2, concurrency: 2 });
    const requests = Array.from({ length: 4 }, () => ({ prompt: 'q', completion: 'fox dog', row: { rubrics } }));
    expect((await both.verify(requests)).map(({ score }) => score)).toEqual(new Array(4).fill(4 / 12));
    expect(most.most).toBe(2);
  });

  it.each<[string, Verifier['verify'], RegExp]>([
    [
      'throws',
      async () => Promise.reject(new Error('no batteries')),
      /on "fox"" on completion 0 .*failed: Error: no batteries/,
    ],
    ['hangs', () => new Promise(() => {}), /took longer than 20 ms/],
    ['is off the scale', async () => [{ score: 7 }], /was given 7 by bad, off the scale/],
    ['gives no number', async () => [{ score: Number.NaN }], /was given NaN by bad/],
    ['gives nothing', async () => [], /was given undefined by bad/],
  ])('a judge that %s is an error, not scorable, or not met', async (_, verify, message) => {
    const of = (onFailure: 'throw' | 'null' | 'zero') =>
      verdictOf(rubric({ judges: [{ name: 'bad', verify }], timeoutMs: 20, onFailure }), 'fox', { rubrics: ['fox'] });
    await expect(of('throw')).rejects.toThrow(message);
    expect((await of('null')).score).toBeNull();
    expect((await of('zero')).score).toBe(0);
  });

  it('refuses rows without criteria', async () => {
    await expect(verdictOf(rubric({ judges: [judge()] }), 'x', { rubrics: [] })).rejects.toThrow(
      /must be a list of \{ description, weight \}/,
    );
    expect(() => rubric({ judges: [] })).toThrow(/judges is .*at least one/);
  });
});
