import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { isPosttrainError } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import * as data from '../src/index.js';
import {
  type AnyStep,
  canonicalJson,
  type DataStep,
  exactSubstringDeduplicate,
  filter,
  hashFraction,
  map,
  minhashDeduplicate,
  semDeDup,
  shuffle,
  split,
  take,
  validate,
} from '../src/index.js';
import { testDataStep } from '../src/testing/index.js';
import { letterCounts } from './minhash-run.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

describe('misuse', () => {
  const path = useTemporaryFolder();
  /** As JavaScript sees them, or TypeScript behind a cast. */
  const untyped = data as unknown as Record<string, (...values: unknown[]) => never>;

  describe('a path that is none is an error of this package, not one that ends the process', () => {
    const readers = ['readJsonl', 'readJson', 'readCsv', 'readParquet', 'readRows'];
    test.each(readers)('%s', async (reader) => {
      for (const bad of [undefined, null, 5, '', 'a\0.jsonl', {}]) {
        const error = await errorOf(async () => collect(untyped[reader]!(bad)));
        expect(error).toBeInstanceOf(data.DataFileError);
        expect(error.message).toContain('the path must be a text');
      }
      writeFileSync(path('a.jsonl'), '{"a":1}\n');
      const url = pathToFileURL(path('a.jsonl'));
      expect((await errorOf(async () => collect(untyped[reader]!(url)))).message).toContain('fileURLToPath');
      const promise = Promise.resolve('a.jsonl');
      expect((await errorOf(async () => collect(untyped[reader]!(promise)))).message).toContain('Await it first');
    });

    test.each(['writeJsonl', 'writeCsv', 'writeParquet', 'writeRows'])('%s', async (writer) => {
      const url = pathToFileURL(path('a.jsonl'));
      expect((await errorOf(async () => untyped[writer]!(url, [{ a: 1 }]))).message).toContain('fileURLToPath');
    });
  });

  const rows = [{ a: 1 }];
  const run = (step: unknown, options?: unknown) => untyped.pipeline!(rows, [step], options) as { collect(): unknown };
  const boom = (): never => {
    throw new Error('boom');
  };
  async function* failing(rows: AsyncIterable<object> | Iterable<object>) {
    yield* rows;
    boom();
  }
  const half = { testFraction: 0.5, seed: 1 };

  test.each<[string, () => unknown, RegExp]>([
    [
      'options null',
      () => untyped.writeCsv!(path('a.csv'), rows, null),
      /writeCsv: options must be an object, got null/,
    ],
    ['options number', () => untyped.shuffle!(1), /shuffle: options must be an object, got 1/],
    ['no options', () => untyped.split!(), /split: options must be an object, got undefined/],
    [
      'columns text',
      () => untyped.writeCsv!(path('a.csv'), rows, { columns: 'a' }),
      /columns is "(a|text)"; it must be a list, each item a text/,
    ],
    [
      'columns of a read',
      () => collect(untyped.readParquet!('a', { columns: 'text' })),
      /columns is "(a|text)"; it must be a list, each item a text/,
    ],
    [
      'delimiter number',
      () => untyped.writeCsv!(path('a.csv'), rows, { delimiter: 5 }),
      /delimiter is 5; it must be one character/,
    ],
    [
      'schema null',
      () => untyped.writeParquet!(path('a'), rows, { schema: { a: null } }),
      /"a" has the unknown type null/,
    ],
    [
      'schema misspelt',
      () => untyped.writeParquet!(path('a'), rows, { schema: { a: { lst: 1 } } }),
      /unknown type {"lst":1}/,
    ],
    [
      'schema list of null',
      () => untyped.writeParquet!(path('a'), rows, { schema: { a: { list: null } } }),
      /unknown type null/,
    ],
    [
      'onMalformed',
      () => collect(untyped.readJsonl!(path('a'), { onMalformed: true })),
      /onMalformed is true; it must be a function/,
    ],
    [
      'onRowError',
      () => untyped.map!('m', () => rows[0], { onRowError: 'skip' }),
      /onRowError is "skip"; it must be one of "throw", "drop"/,
    ],
    ['map without a callback', () => untyped.map!('m'), /map "m": "transform" must be a function/],
    ['filter without a name', () => untyped.filter!(() => true), /"predicate" must be a function/],
    [
      'onDrop',
      () =>
        run(
          data.filter('f', () => false),
          { onDrop: 1 },
        ),
      /onDrop is 1; it must be a function/,
    ],
    [
      'split key',
      () => untyped.split!({ ...half, part: 'train', key: ['a'] }),
      /key is \["a"\]; it must be a column or a function/,
    ],
    [
      'split fraction',
      () => untyped.splitOf!({ a: 1 }, { ...half, testFraction: '.5' }),
      /testFraction is "\.5"; it must be a number above 0 and below 1/,
    ],
    ['splitOf without a rule', () => untyped.splitOf!({ a: 1 }), /splitOf: options must be an object, got undefined/],
    [
      'a key that throws',
      () => run(data.split({ ...half, part: 'train', key: (row) => (row.x as string).length })).collect(),
      /row 1, field "key": the function of the row threw/,
    ],
    [
      'a task that was not made',
      () => collect(untyped.taskRows!(data.arithmetic, {})),
      /Call the function that makes the task/,
    ],
    ['a verifier of one task', () => untyped.taskVerifier!(data.arithmetic()), /tasks must be a list of tasks/],
    [
      'a date for a row',
      () => untyped.writeJsonl!(path('a'), [new Date(0)]),
      /row 1: a row must be an object of columns, got Date/,
    ],
    ['a map for a row', () => run(data.map('m', () => new Map() as never)).collect(), /got Map/],
    [
      'an onDrop that throws',
      () =>
        run(
          data.filter('f', () => false),
          { onDrop: () => boom() },
        ).collect(),
      /step "f", row 1: its onDrop threw: boom/,
    ],
    [
      'an apply that throws',
      () => run({ name: 'own', apply: boom }).collect(),
      /step "own", row 0: its apply threw: boom/,
    ],
    [
      'an apply that throws in the middle',
      () => run({ name: 'own', apply: failing }).collect(),
      /step "own", row 1: its apply threw: boom/,
    ],
    [
      'an error of the step before, which keeps its name',
      () =>
        (untyped.pipeline!(rows, [{ name: 'own', apply: failing }, data.take(3)]) as { collect(): unknown }).collect(),
      /step "own", row 1: its apply threw: boom/,
    ],
    ['no apply', () => run({ name: 'own' }), /step 1 must be { name, apply }/],
    [
      'a source that throws',
      () => (untyped.pipeline!(failing(rows), [data.take(3)]) as { collect(): unknown }).collect(),
      /step "pipeline", row 2: what gives the rows threw: boom/,
    ],
    [
      'no report',
      () => untyped.formatReport!(undefined),
      /formatReport: .*report\(\) of a pipeline gives, got undefined/,
    ],
    [
      'a pipeline for its report',
      () => untyped.formatReport!(data.pipeline(rows, [])),
      /got an object with rows, report/,
    ],
    ['rows for a report', () => untyped.formatReport!([{ a: 1 }, null]), /got \[an object with a, null\]/],
    [
      'arguments of writeRows swapped',
      () => untyped.writeRows!(rows, 'a.jsonl'),
      /It comes first, and the rows behind it/,
    ],
    ['validate of no format', () => untyped.validate!('x'), /validate: format is "x"; it must be one of /],
    ['no row', () => untyped.maybeConvertToChatml!(undefined), /must be an object of columns, got undefined/],
    [
      'no time in JSON',
      () => data.writeJsonl(path('a'), [{ a: new Date(Number.NaN) }]),
      /row 1, field "a": is a Date without/,
    ],
    [
      'no time in CSV',
      () => data.writeCsv(path('a'), [{ a: new Date(Number.NaN) }]),
      /row 1, field "a": is a Date without/,
    ],
  ])('%s is an error that says where and what', async (_, misuse, message) => {
    const error = await errorOf(async () => misuse());
    expect(isPosttrainError(error)).toBe(true);
    expect(error.message).toMatch(message);
  });
});

describe('testDataStep', () => {
  interface Text {
    readonly text: string;
    readonly i: number;
  }

  const sentence = 'one two three four five six seven eight nine ten';
  const rows: Text[] = Array.from({ length: 12 }, (_, i) => ({
    i,
    text: `${sentence} ${i % 4} ${'x'.repeat(1 + (i % 4))}`,
  }));

  describe('testDataStep', () => {
    testDataStep(it, () => filter('even', ({ i }: Text) => i % 2 === 0), { rows });
    testDataStep(it, () => map('size', ({ text }: Text) => ({ size: text.length })), { rows });
    testDataStep(it, () => split({ part: 'train', testFraction: 0.3, seed: 1 }), { rows });
    testDataStep(it, () => validate('language-modeling'), { rows });
    testDataStep(it, () => shuffle({ seed: 1 }), { rows, sharded: false });
    testDataStep(it, () => take(12), { rows, sharded: false });
    testDataStep(it, () => minhashDeduplicate(), { rows });
    testDataStep(it, () => exactSubstringDeduplicate({ length: 15 }), { rows });
    testDataStep(it, () => semDeDup({ embedder: letterCounts, clusters: 2 }), { rows });

    const step = (more: Partial<AnyStep>): DataStep<Text, object, never> => ({
      name: 'wrong',
      version: '1',
      apply: (given: AsyncIterable<object>) => given,
      ...(more as object),
    });
    let calls = 0;
    it.each<[string, Partial<AnyStep>, RegExp]>([
      ['says what it is', { version: '' }, /needs a version/],
      [
        'counts every row, and says why it drops one',
        {
          passes: true,
          apply: async function* (given: AsyncIterable<Text>) {
            for await (const row of given) if (row.i > 3) yield row;
          },
        },
        /kept and dropped are not what it read/,
      ],
      [
        'changes no row that it was given',
        {
          apply: async function* (given: AsyncIterable<Text>) {
            for await (const row of given) yield Object.assign(row, { changed: true });
          },
        },
        /changed/,
      ],
      [
        'gives the same rows, in the same order, each time',
        {
          apply: async function* (given: AsyncIterable<Text>) {
            for await (const row of given) yield { ...row, call: calls++ };
          },
        },
        /call/,
      ],
      [
        'stops when the signal fires',
        {
          apply: async function* (given: AsyncIterable<Text>) {
            try {
              for await (const row of given) yield row;
            } catch {
              // Hides it.
            }
          },
        },
        /hid that it was stopped/,
      ],
      [
        'gives the same rows in one shard and in three',
        {
          apply: async function* (given: AsyncIterable<Text>) {
            let first = true;
            for await (const row of given) {
              if (!first) yield row;
              first = false;
            }
          },
        },
        /deep/,
      ],
    ])('finds a step that breaks: %s', async (what, wrong, message) => {
      const checks = new Map<string, () => Promise<void>>();
      const copies = rows.map((row) => ({ ...row }));
      testDataStep(
        (name, body) => checks.set(name, body),
        () => step(wrong),
        { rows: copies },
      );
      await expect(checks.get(`step "wrong" ${what}`)!()).rejects.toThrow(message);
    });
  });
});

describe('stable hash', () => {
  test('canonical JSON does not depend on key order, and parses back', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('the fraction is the first 48 bits of SHA-256', () => {
    // sha256("abc") = ba7816bf8f01cfea..., from FIPS 180-4.
    expect(hashFraction('abc')).toBe(0xba7816bf8f01 / 2 ** 48);
  });
});
