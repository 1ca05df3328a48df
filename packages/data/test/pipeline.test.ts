import { existsSync, readFileSync } from 'node:fs';
import { type Embedder, type Generator, isPosttrainError, type Verifier } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DataStepError,
  filter,
  formatReport,
  long2shortPairs,
  map,
  pipeline,
  type Row,
  RowError,
  raft,
  readJsonl,
  rTuning,
  shortestRejectionSampling,
  shuffle,
  split,
  splitOf,
  take,
  writeJsonl,
} from '../src/index.js';
import { testDataStep } from '../src/testing/index.js';
import { errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();
type Numbered = { readonly i: number };
const numbered = (count: number): Numbered[] => Array.from({ length: count }, (_, i) => ({ i }));

describe('pipeline', () => {
  test('runs steps in order and reports what each kept and dropped, and why', async () => {
    const dropped: unknown[] = [];
    const run = pipeline<{ text: string }>(
      numbered(10),
      [
        filter<Numbered>('even', (row) => row.i % 2 === 0),
        filter<Numbered>('size', ({ i }) => (i === 0 ? { drop: 'too small' } : i > 6 ? { drop: 'too large' } : true)),
        map('render', (row: Numbered) => ({ text: String(row.i) })),
      ],
      { onDrop: ({ step, reason, row }) => step === 'size' && dropped.push([reason, row]) },
    );
    expect(run.report().map((step) => step.read)).toEqual([0, 0, 0]);
    expect(await run.collect()).toEqual([{ text: '2' }, { text: '4' }, { text: '6' }]);
    expect(run.report()).toEqual([
      { step: 'even', read: 10, kept: 5, dropped: 5, reasons: { even: 5 } },
      { step: 'size', read: 5, kept: 3, dropped: 2, reasons: { 'too small': 1, 'too large': 1 } },
      { step: 'render', read: 3, kept: 3, dropped: 0, reasons: {} },
    ]);
    expect(dropped).toEqual([
      ['too small', { i: 0 }],
      ['too large', { i: 8 }],
    ]);
    expect(formatReport(run.report())).toBe(
      [
        'step    read  kept  dropped  why',
        'even      10     5        5  5 even',
        'size       5     3        2  1 too small',
        '                             1 too large',
        'render     3     3        0',
      ].join('\n'),
    );
  });

  test('read = kept + dropped for any chain of steps that pass rows on', async () => {
    const step = fc.oneof(
      fc.integer({ min: 2, max: 5 }).map((n) => filter<Numbered>(`mod ${n}`, (row) => row.i % n !== 0)),
      fc.constant(shuffle({ seed: 1 })),
      fc.integer({ min: 1, max: 5 }).map((bufferSize) => shuffle({ seed: 1, bufferSize })),
      fc.constantFrom('train' as const, 'test' as const).map((part) => split({ part, seed: 0, testFraction: 0.3 })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 4 }), fc.nat(30), async (steps, count) => {
        const run = pipeline(numbered(count), steps);
        const rows = await run.collect();
        let read = count;
        for (const report of run.report()) {
          expect(report.read).toBe(read);
          expect(report.kept + report.dropped).toBe(report.read);
          read = report.kept;
        }
        expect(rows.length).toBe(read);
      }),
      { numRuns: 50 },
    );
  });

  test('reads lazily and closes its source: from file to file', async () => {
    await writeJsonl(path('in.jsonl'), numbered(1000));
    let closed = false;
    async function* source() {
      try {
        yield* readJsonl(path('in.jsonl'));
      } finally {
        closed = true;
      }
    }
    const run = pipeline(source(), [map('same', (row) => row), take(3)]);
    expect(await writeJsonl(path('out.jsonl'), run.rows)).toMatchObject({ rows: 3 });
    expect(run.report().map((step) => step.read)).toEqual([3, 3]);
    expect(closed).toBe(true);
  });

  test('an error in a step leaves no output file', async () => {
    const run = pipeline(numbered(3), [
      map('check', (row) => {
        if ((row as Numbered).i === 2) throw new Error('two');
        return row;
      }),
    ]);
    const error = await errorOf(() => writeJsonl(path('out.jsonl'), run.rows));
    expect(error).toBeInstanceOf(DataStepError);
    expect(error).toMatchObject({ step: 'check', rowNumber: 3, message: 'step "check", row 3: two' });
    expect(existsSync(path('out.jsonl'))).toBe(false);
  });

  test('iterables and async iterables are alike, from rows and from steps', async () => {
    async function* later() {
      yield* numbered(3);
    }
    const doubled = { name: 'double', apply: (rows: AsyncIterable<Numbered>) => twice(rows) };
    const atOnce = { name: 'at once', apply: () => numbered(2) };
    for (const source of [numbered(3), new Set(numbered(3)), numbered(3).values(), later()]) {
      expect(await pipeline(source, [doubled]).collect()).toHaveLength(6);
    }
    expect(await pipeline(later(), [atOnce]).collect()).toEqual(numbered(2));
    async function* twice(rows: AsyncIterable<Numbered>) {
      for await (const row of rows) yield* [row, row];
    }
  });

  test.each<[string, unknown, unknown, RegExp]>([
    ['no rows', undefined, [], /pipeline: rows must be an iterable or an async iterable of objects, got undefined/],
    ['a promise of rows', Promise.resolve([]), [], /it is a promise: await it first/i],
    ['a text', 'abc', [], /got string/],
    [
      'a row that is none',
      [{ a: 1 }, null],
      [],
      /step "pipeline", row 2: a row must be an object of columns, got null/,
    ],
    ['a step that is a function', [], [take], /step 1 must be \{ name, apply \}, got function. Call the function/],
    ['a step that yields numbers', [{}], [{ name: 'bad', apply: () => [1] }], /the output of step "bad".*got number/],
    [
      'a step that returns nothing',
      [{}],
      [{ name: 'bad', apply: () => undefined }],
      /the output of step "bad": rows must/,
    ],
  ])('%s is an error that says so', async (_, source, steps, message) => {
    const error = await errorOf(async () => pipeline(source as object[], steps as []).collect());
    expect(error.message).toMatch(message);
    expect(isPosttrainError(error)).toBe(true);
  });

  test('a second reading is an error, not an empty result', async () => {
    const run = pipeline(numbered(3), []);
    await run.collect();
    await expect(run.collect()).rejects.toThrow(/already read/);
  });
});

describe('filter and map', () => {
  test('a predicate or callback that forgets to return is an error', async () => {
    const forgetful = filter('forgetful', (() => undefined) as unknown as () => boolean);
    await expect(pipeline(numbered(1), [forgetful]).collect()).rejects.toThrow(/must return a boolean/);
    const empty = map('empty', (() => undefined) as unknown as () => object);
    await expect(pipeline(numbered(1), [empty]).collect()).rejects.toThrow(/must return a row/);
  });

  test('map can drop the rows that are wrong, counted by problem; other errors still end it', async () => {
    const check = (row: Numbered, rowNumber: number) => {
      if (row.i === 4) throw new Error('a bug');
      if (row.i % 2 === 1) throw new RowError(rowNumber, 'i', 'is odd');
      return row;
    };
    const run = pipeline(numbered(4), [map('check', check, { onRowError: 'drop' })]);
    expect(await run.collect()).toEqual([{ i: 0 }, { i: 2 }]);
    expect(run.report()[0]?.reasons).toEqual({ 'i: is odd': 2 });
    await expect(pipeline(numbered(4), [map('check', check)]).collect()).rejects.toThrow('row 2, field "i": is odd');
    await expect(pipeline(numbered(5), [map('check', check, { onRowError: 'drop' })]).collect()).rejects.toThrow(
      'a bug',
    );
  });
});

describe('shuffle', () => {
  test('is a permutation; the same seed gives the same order, other seeds others', async () => {
    const order = async (seed: number, bufferSize?: number) => {
      const step = shuffle(bufferSize === undefined ? { seed } : { seed, bufferSize });
      return (await pipeline<Numbered>(numbered(200), [step]).collect()).map((row) => row.i);
    };
    for (const bufferSize of [undefined, 1, 16, 500]) {
      const first = await order(5, bufferSize);
      expect([...first].sort((a, b) => a - b)).toEqual(numbered(200).map((row) => row.i));
      expect(await order(5, bufferSize)).toEqual(first);
      if (bufferSize !== 1) expect(await order(6, bufferSize)).not.toEqual(first);
    }
    expect(await order(5, 1)).toEqual(numbered(200).map((row) => row.i));
  });

  test('with a buffer of n no row comes out n or more places early', async () => {
    const rows = await pipeline<Numbered>(numbered(1000), [shuffle({ seed: 1, bufferSize: 10 })]).collect();
    expect(Math.max(...rows.map((row, place) => row.i - place))).toBeLessThan(10);
    expect(rows.some((row, place) => place - row.i > 10)).toBe(true);
  });
});

describe('split', () => {
  const both = async (rows: object[], rule: { testFraction: number; seed: number; key?: string }) => {
    const train = await pipeline<Numbered>(rows, [split({ ...rule, part: 'train' })]).collect();
    const test = await pipeline<Numbered>(rows, [split({ ...rule, part: 'test' })]).collect();
    return { train, test };
  };

  test('the parts are disjoint, complete and about as large as asked', async () => {
    const { train, test: held } = await both(numbered(5000), { testFraction: 0.2, seed: 3 });
    expect([...train, ...held].sort((a, b) => a.i - b.i)).toEqual(numbered(5000));
    expect(Math.abs(held.length - 1000)).toBeLessThan(4 * Math.sqrt(5000 * 0.2 * 0.8));
  });

  test('rows with equal keys stay together, whatever else they hold and wherever they are', async () => {
    const rows = numbered(300).map(({ i }) => ({ i, group: `g${i % 30}` }));
    const { train, test: held } = await both(rows, { testFraction: 0.3, seed: 1, key: 'group' });
    const groups = (part: object[]) => new Set(part.map((row) => (row as { group: string }).group));
    expect([...groups(train)].filter((group) => groups(held).has(group))).toEqual([]);
    expect(held.length).toBeGreaterThan(0);
    expect(splitOf({ a: 1, b: 2 }, { testFraction: 0.5, seed: 9 })).toBe(
      splitOf({ b: 2, a: 1 }, { testFraction: 0.5, seed: 9 }),
    );
  });

  test('equal rows are on one side; rows that ask the same on both sides are counted as a warning', async () => {
    const rows = numbered(400).map(({ i }) => ({ id: i, prompt: `p${i % 100}`, completion: `c${i % 200}` }));
    const warnings = async (key?: (row: Row) => unknown) => {
      const step = split({ part: 'train', testFraction: 0.3, seed: 1, ...(key !== undefined && { key }) });
      const run = pipeline(rows, [step]);
      await run.collect();
      return [run.report()[0]!.warnings, formatReport(run.report())] as const;
    };
    const sides = new Map<string, Set<string>>();
    for (const row of rows) {
      const side = splitOf(row, { testFraction: 0.3, seed: 1 });
      sides.set(row.prompt, (sides.get(row.prompt) ?? new Set()).add(side));
    }
    const [counted, shown] = await warnings();
    const [[warning, count]] = Object.entries(counted!) as [[string, number]];
    expect(warning).toMatch(/^rows ask what a row of the other part asks: give key: 'prompt'/);
    expect(count).toBeGreaterThanOrEqual([...sides.values()].filter((set) => set.size === 2).length);
    expect(shown).toContain(`warning: ${count} rows ask`);
    expect((await warnings((row) => row.prompt))[0]).toBeUndefined();
    expect((await warnings(({ prompt, completion }) => [prompt, completion]))[0]).toBeDefined();
    const chat = (answer: string) => ({
      messages: [
        { role: 'user', content: 'q' },
        { role: 'assistant', content: answer },
      ],
    });
    const chats = pipeline(
      numbered(40).map(({ i }) => chat(String(i))),
      [split({ part: 'test', testFraction: 0.5, seed: 1 })],
    );
    await chats.collect();
    expect(chats.report()[0]!.warnings).toBeDefined();
  });

  test('another seed is another split', () => {
    const parts = (seed: number) => numbered(50).map((row) => splitOf(row, { testFraction: 0.5, seed }));
    expect(parts(1)).toEqual(parts(1));
    expect(parts(1)).not.toEqual(parts(2));
  });

  test('a larger test part contains the smaller one', () => {
    for (const row of numbered(300)) {
      if (splitOf(row, { testFraction: 0.1, seed: 1 }) === 'test') {
        expect(splitOf(row, { testFraction: 0.4, seed: 1 })).toBe('test');
      }
    }
  });

  test('a missing key and impossible options are errors', async () => {
    const missing = errorOf(() => both([{ a: 1 }], { testFraction: 0.5, seed: 1, key: 'group' }));
    expect(await missing).toMatchObject({ code: 'DATA_ROW', rowNumber: 1, field: 'group' });
    for (const key of ['constructor', '__proto__', 'toString']) {
      expect(() => splitOf({ a: 1 }, { testFraction: 0.5, seed: 1, key })).toThrow(/is missing/);
    }
    expect(() => splitOf({ a: 1 }, { testFraction: Number.NaN, seed: 1 })).toThrow(/testFraction/);
    expect(() => splitOf({ a: 1 }, { testFraction: 0.5, seed: 0.5 })).toThrow(/seed/);
    expect(() => split({ part: 'train', testFraction: 1, seed: 1 })).toThrow(/testFraction/);
    expect(() => split({ part: 'dev' as 'test', testFraction: 0.5, seed: 1 })).toThrow(/one of "train", "test"/);
    expect(() => take(-1)).toThrow(/count/);
    expect(() => shuffle({ seed: 1, bufferSize: 0 })).toThrow(/bufferSize/);
  });
});

const authors = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/authors/${name}.json`, import.meta.url), 'utf8')) as T;

describe('raft', () => {
  const asked = Array.from({ length: 20 }, (_, i) => ({
    question: `What is ${i}?`,
    context: `fact ${i % 15}`,
    answer: `It is ${i}.`,
  }));
  // Two have the documents of others.
  const few = asked.slice(0, 17);
  testDataStep(test, () => raft({ distractors: 2 }), { rows: asked });

  test.each([0, 0.25, 0.8, 1])(
    'gives exactly P = %s of the rows their own document, among k others that differ',
    async (oracleFraction) => {
      const made = await pipeline<Row>(few, [raft({ oracleFraction, distractors: 3 })], { seed: 4 }).collect();
      const rows = made as unknown as {
        prompt: string;
        completion: string;
        documents: string[];
        oracleIndex: number;
      }[];
      expect(rows.filter(({ oracleIndex }) => oracleIndex >= 0)).toHaveLength(Math.round(oracleFraction * 17));
      for (const [i, { prompt, completion, documents, oracleIndex }] of rows.entries()) {
        expect(new Set(documents).size).toBe(4);
        expect(documents.indexOf(`fact ${i % 15}`)).toBe(oracleIndex);
        expect(prompt).toBe(
          `${documents.map((text, d) => `Document ${d + 1}: ${text}\n`).join('')}\nQuestion: What is ${i}?\nAnswer:`,
        );
        expect(completion).toBe(` It is ${i}.`);
      }
      // The oracle is at no place of its own.
      if (oracleFraction === 1) expect(new Set(rows.map(({ oracleIndex }) => oracleIndex)).size).toBeGreaterThan(2);
    },
  );

  test('takes the nearest documents that are not the own one, where an embedder says which', async () => {
    const onLine: Embedder = {
      name: 'angle',
      embed: async (texts) =>
        texts.map((text) => {
          const angle = Number(/\d+/.exec(text)![0]) / 30;
          return Float32Array.from([Math.cos(angle), Math.sin(angle)]);
        }),
    } as Embedder;
    const rows = asked.slice(0, 15);
    const made = await pipeline<Row>(rows, [raft({ distractors: 2, oracleFraction: 1, embedder: onLine })]).collect();
    const documents = (made as unknown as { documents: string[] }[]).map((row) => [...row.documents].sort());
    expect(documents[7]).toEqual(['fact 6', 'fact 7', 'fact 8']);
    expect(documents[0]).toEqual(['fact 0', 'fact 1', 'fact 2']);
  });

  test('has the documents and the text that the authors’ code has, with the same draws', async () => {
    const { draws, rows: theirs } = authors<{ draws: [number, number[]][]; rows: object[] }>('raft');
    const steps = [raft({ distractors: 2, oracleFraction: 0.5, format: 'tags' })];
    const made = await pipeline<Row>(asked.slice(0, draws.length), steps, { seed: 4 }).collect();
    expect(made.map(({ oracleIndex }) => oracleIndex)).toEqual(draws.map(([at]) => at));
    expect(made.map(({ oracleIndex: _, ...row }) => row)).toEqual(theirs);
  });

  test('says what is missing', async () => {
    await expect(pipeline<Row>(asked.slice(0, 3), [raft()]).collect()).rejects.toThrow(
      /there are 3 different documents, and 5 distractors/,
    );
    await expect(pipeline<Row>([{ question: 'x', answer: 'y' }], [raft()]).collect()).rejects.toThrow(
      /row 1, field "context"/,
    );
  });
});

describe('long2short', () => {
  // Of a prompt's digits, each completion has so many tokens; even ones are right, and none of a prompt of 9s can be judged.
  const generator: Generator = {
    name: 'model',
    generate: async (requests) =>
      requests.map(({ prompt }) =>
        [...String(prompt)].map((digit, i) => ({
          ...{
            text: `${i}:${digit}`,
            finishReason: 'stop',
            usage: { promptTokens: 1, completionTokens: Number(digit) },
          },
        })),
      ) as never,
  };
  const verifier: Verifier = {
    name: 'even',
    verify: async (requests) =>
      requests.map(({ completion, prompt }) => ({
        score: prompt === '9999' ? null : Number(completion.at(-1)) % 2 === 0 ? 1 : 0,
      })),
  };
  const given = { generator, verifier, rollouts: 4 };
  const rows = ['4263', '1357', '2222', '9999', '2345', '8461'].map((prompt) => ({ prompt }));
  testDataStep(test, () => shortestRejectionSampling({ ...given, concurrency: 2 }), { rows });
  testDataStep(test, () => long2shortPairs({ ...given, concurrency: 2 }), { rows });

  test('takes the shortest that is right, and pairs it with what is wrong and longer or right and much longer', async () => {
    const sampling = pipeline<{ prompt: unknown; completion: string }>(rows, [shortestRejectionSampling(given)]);
    expect((await sampling.collect()).map(({ completion }) => completion)).toEqual(['1:2', '0:2', '0:2', '1:4']);
    expect(sampling.report()[0]!.reasons).toEqual({
      'no completion is right': 1,
      'the verifier cannot score a completion': 1,
    });
    const paired = async (ratio?: number) => {
      const run = pipeline<{ chosen: string; rejected: string }>(rows, [
        long2shortPairs({ ...given, ...(ratio && { ratio }) }),
      ]);
      return (await run.collect()).map(({ chosen, rejected }) => `${chosen} > ${rejected}`);
    };
    // Of 8461: 8 and 6 are right and at least one and a half times 4; 1 is wrong, and shorter.
    const others = ['1:2 > 0:4', '1:2 > 2:6', '1:2 > 3:3', '0:2 > 1:3', '0:2 > 2:4', '0:2 > 3:5'];
    expect(await paired()).toEqual([...others, '1:4 > 0:8', '1:4 > 2:6']);
    expect(await paired(2)).toEqual([...others, '1:4 > 0:8']);
  });
});

describe('rTuning', () => {
  test('says of each row what the authors’ code says', async () => {
    const { asked, ...theirs } = authors<{ asked: string[][]; unsure: string[]; unknown: string[] }>('r-tuning');
    const rows = asked.map(([question, answer]) => ({
      prompt: `Question: ${question} Answer:`,
      completion: ` ${answer}`,
    }));
    const generator: Generator = {
      name: 'table',
      generate: async (requests) =>
        requests.map(({ prompt }) => [
          { text: asked.find(([question]) => String(prompt).includes(question!))![2]! },
        ]) as never,
    };
    // Theirs looks for the answer in the first sentence.
    const verifier: Verifier = {
      name: 'first sentence',
      verify: async (requests) =>
        requests.map(({ completion, row }) => ({
          score: Number(completion.split('.')[0]!.includes(String(row!.completion).trim())),
        })),
    };
    const texts = async (options: object) =>
      (await pipeline<Row>(rows, [rTuning({ generator, verifier, ...options })]).collect()).map(
        ({ prompt, completion }) => `${prompt}${completion}`,
      );
    const question = /\. Are you sure.*\?/.exec(theirs.unsure[0]!)![0];
    expect(await texts({ sure: `${question} I am sure.`, unsure: `${question} I am unsure.` })).toEqual(theirs.unsure);
    expect(await texts({ sure: '.', refusal: ' I do not know the answer.' })).toEqual(theirs.unknown);
  });

  /** Knows even numbers, and every third answer to others where several are drawn. */
  const model: Generator = {
    name: 'model',
    generate: async (requests) =>
      requests.map(({ prompt, n = 1 }) =>
        Array.from({ length: n }, (_, k) => {
          const i = Number(prompt);
          return { text: i % 2 === 0 || k % 3 === 2 ? ` ${i}` : ' no', finishReason: 'stop', usage: {} };
        }),
      ) as never,
  };
  const exact: Verifier = {
    name: 'exact',
    verify: async (requests) =>
      requests.map(({ completion, row }) => ({
        score: row!.completion === ' 4' ? null : completion === row!.completion ? 1 : 0,
      })),
  };
  const rows = Array.from({ length: 6 }, (_, i) => ({ prompt: `${i}`, completion: ` ${i}` }));
  const given = { generator: model, verifier: exact };
  testDataStep(test, () => rTuning({ ...given, batchSize: 2 }), { rows });

  test('lets the row say whether the model knows, refuse what it does not, and drops what cannot be judged', async () => {
    const said = async (options: object) =>
      (await pipeline<Row>(rows, [rTuning({ ...given, batchSize: 4, ...options })]).collect()).map(
        (row) => row.completion,
      );
    expect(await said({})).toEqual([
      ' 0 I am sure.',
      ' 1 I am unsure.',
      ' 2 I am sure.',
      ' 3 I am unsure.',
      ' 5 I am unsure.',
    ]);
    const refusing = { refusal: ' I do not know.', sure: '' };
    expect(await said(refusing)).toEqual([' 0', ' I do not know.', ' 2', ' I do not know.', ' I do not know.']);
    // One of three answers is right.
    expect(await said({ ...refusing, samples: 3 })).toEqual(await said(refusing));
    expect(await said({ ...refusing, samples: 3, knownFrom: 0.3 })).toEqual([' 0', ' 1', ' 2', ' 3', ' 5']);
    const run = pipeline<Row>(rows, [rTuning(given)]);
    expect((await run.collect()).map(({ known }) => known)).toEqual([1, 0, 1, 0, 0]);
    expect(run.report()[0]!.reasons).toEqual({ 'no answer could be judged': 1 });
    const lazy = { ...given, generator: { ...model, generate: async () => [] } };
    await expect(pipeline<Row>(rows, [rTuning(lazy)]).collect()).rejects.toThrow(
      /did not give 1 answers to each of 6 prompts/,
    );
  });
});
