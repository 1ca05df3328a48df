import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataFileError, RowError, readCsv, readRows, writeCsv, writeRows } from '../src/index.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();

describe('readCsv', () => {
  test('quotes, line breaks in fields, CRLF, byte order mark, blank lines, no final line feed', async () => {
    writeFileSync(path('a.csv'), '\uFEFFq,a\r\n"say ""hi"", twice","x\r\ny"\r\n\r\n 1 ,\r\n__proto__,"é"');
    expect(await collect(readCsv(path('a.csv')))).toEqual([
      { q: 'say "hi", twice', a: 'x\r\ny' },
      { q: ' 1 ', a: '' },
      { q: '__proto__', a: 'é' },
    ]);
  });

  test.each([
    ['too few fields', 'a,b\n1,2\n\n3\n', 4, /has 1 fields, the header 2/],
    ['too many fields', 'a,b\n1,2,3\n', 2, /has 3 fields/],
    ['an unclosed quote', 'a,b\n1,2\n"3,4\n', undefined, /Quote Not Closed/],
    ['a repeated column', 'a,a\n1,2\n', 1, /"a" occurs twice/],
    ['a column without a name', 'a,\n1,2\n', 1, /column 2 has no name/],
  ])('%s is an error with file and line', async (_, text, line, message) => {
    writeFileSync(path('bad.csv'), text);
    const error = await errorOf(() => collect(readCsv(path('bad.csv'))));
    expect(error).toBeInstanceOf(DataFileError);
    expect(error.message).toMatch(message);
    expect(error.message).toContain(path('bad.csv'));
    if (line !== undefined) expect(error).toMatchObject({ line });
  });

  test('text that is not UTF-8 is an error, not replacement characters', async () => {
    writeFileSync(path('bad.csv'), Buffer.from('a\ncaf\xe9\n', 'latin1'));
    expect((await errorOf(() => collect(readCsv(path('bad.csv'))))).message).toContain('not UTF-8');
  });

  test('reading may stop early', async () => {
    writeFileSync(path('a.csv'), `a\n${'1\n'.repeat(100_000)}`);
    for await (const row of readCsv(path('a.csv'))) {
      expect(row).toEqual({ a: '1' });
      break;
    }
  });
});

describe('writeCsv', () => {
  test('any strings come back as they were, with any delimiter', async () => {
    const column = fc.constantFrom('a', 'b "quoted"', 'c,d', ' e', '\uFEFFf');
    const table = fc
      .tuple(fc.uniqueArray(column, { minLength: 1 }), fc.constantFrom(',', ';', '\t'))
      .chain(([columns, delimiter]) => {
        const value = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', '\n', '"', ',', '\uFEFF', ' x '));
        const row = fc.record(Object.fromEntries(columns.map((name) => [name, value])));
        return fc.record({ delimiter: fc.constant(delimiter), rows: fc.array(row, { minLength: 1, maxLength: 5 }) });
      });
    await fc.assert(
      fc.asyncProperty(table, async ({ rows, delimiter }) => {
        await writeCsv(path('a.csv'), rows, { delimiter });
        expect(await collect(readCsv(path('a.csv'), { delimiter }))).toEqual(rows);
      }),
      { numRuns: 30 },
    );
  });

  test('numbers, booleans and nulls as text; the columns of the first row; tsv by extension', async () => {
    await writeRows(path('a.tsv'), [{ a: 1.5, b: true }, { b: null }]);
    expect(readFileSync(path('a.tsv'), 'utf8')).toBe('a\tb\n1.5\ttrue\n\t\n');
    expect(await collect(readRows(path('a.tsv')))).toEqual([
      { a: '1.5', b: 'true' },
      { a: '', b: '' },
    ]);
  });

  test('nested values and unknown columns are errors, and no file is left', async () => {
    const nested = await errorOf(() => writeCsv(path('a.csv'), [{ a: 1 }, { a: [1] }]));
    expect(nested).toBeInstanceOf(RowError);
    expect(nested).toMatchObject({ rowNumber: 2, field: 'a' });
    expect(await errorOf(() => writeCsv(path('a.csv'), [{ a: 1 }, { b: 1 }]))).toMatchObject({ field: 'b' });
    expect((await errorOf(() => writeCsv(path('a.csv'), []))).message).toContain('"columns"');
    expect(readdirSync(path())).toEqual([]);
  });
});

test('an unknown extension is an error that lists the known ones', () => {
  expect(() => readRows(path('a.xml'))).toThrow(/".xml".*jsonl/);
  expect(() => writeRows(path('a'), [])).toThrow(/without extension.*parquet/);
});
