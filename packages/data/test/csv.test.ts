import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeFaults, fuzz } from '../../../testing/fuzz.js';
import {
  DataFileError,
  maybeUnpairPreferenceDataset,
  RowError,
  readCsv,
  readRows,
  unpairPreferenceDataset,
  validateRow,
  writeCsv,
  writeJsonl,
  writeRows,
} from '../src/index.js';
import { DICTIONARY, FORMATS } from './fuzz-targets.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

describe('csv', () => {
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
      ['an unclosed quote', 'a,b\r1,2\r\n"3,4\n\n', 3, /quote that opens in this line is not closed/],
      ['a quote in the middle of a field', 'a,b\n1,2"3"\n', 2, /field 2 has a quote in its middle/],
      ['text behind a closing quote', 'a,b\n"x\ny" z,2\n', 3, /field 1 has text behind its closing quote/],
      ['a record without an end', `a\n1\n"${'x'.repeat(2000)}`, 3, /longer than "maxRowBytes", 1000/],
      ['an endless field', `a\n1\n${'x'.repeat(2000)}\n`, 3, /longer than "maxRowBytes", 1000/],
      ['fields without number', `a\n1\n${','.repeat(100_001)}\n`, 3, /(more than 100000 fields|longer than)/],
      ['a repeated column', 'a,a\n1,2\n', 1, /"a" occurs twice/],
      ['a column without a name', 'a,\n1,2\n', 1, /column 2 has no name/],
    ])('%s is an error with file and line', async (_, text, line, message) => {
      writeFileSync(path('bad.csv'), text);
      const error = await errorOf(() => collect(readCsv(path('bad.csv'), { maxRowBytes: 1000 })));
      expect(error).toBeInstanceOf(DataFileError);
      expect(error.message).toMatch(message);
      expect(error).toMatchObject({ line, path: path('bad.csv') });
    });

    test('text that is not UTF-8 is an error, not replacement characters', async () => {
      writeFileSync(path('bad.csv'), Buffer.from('a\ncaf\xe9\n', 'latin1'));
      expect((await errorOf(() => collect(readCsv(path('bad.csv'))))).message).toContain('not UTF-8');
    });

    test('any mixture of line ends ends a record; within quotes each is kept; chunks may end anywhere', async () => {
      const end = fc.constantFrom('\n', '\r\n', '\r');
      const value = fc.oneof(fc.constantFrom('', 'x', 'a\rb', 'a\r\nb', '\n', 'say "hi"', ',', '\r', '"'), fc.string());
      const record = fc.tuple(value, value, end, fc.boolean());
      const records = fc.array(record, { minLength: 1, maxLength: 6 });
      // Files are read in chunks of 64 KiB: with the padding one ends at every place.
      const padding = fc.integer({ min: 65_480, max: 65_536 });
      await fc.assert(
        fc.asyncProperty(records, end, end, padding, async (table, first, second, width) => {
          const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
          const field = (text: string, always: boolean) =>
            always || text === '' || /[",\r\n]/.test(text) ? quoted(text) : text;
          const lines = table.map(([a, b, close, always]) => `${field(a, always)},${field(b, always)}${close}`);
          writeFileSync(path('a.csv'), `a,b${first}${'p'.repeat(width)},q${second}${lines.join('')}`);
          const [, ...rows] = await collect(readCsv(path('a.csv')));
          expect(rows).toEqual(table.map(([a, b]) => ({ a, b })));
        }),
        { numRuns: 60 },
      );
    });

    test('names that objects inherit are columns like others', async () => {
      writeFileSync(path('a.csv'), '__proto__,constructor,toString\n1,2,3\n');
      const [row] = await collect(readCsv(path('a.csv')));
      expect(Object.entries(row!)).toEqual([
        ['__proto__', '1'],
        ['constructor', '2'],
        ['toString', '3'],
      ]);
      await writeCsv(path('b.csv'), [row!, { constructor: 'c' }]);
      expect(readFileSync(path('b.csv'), 'utf8')).toBe('__proto__,constructor,toString\n1,2,3\n,c,\n');
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
      expect((await errorOf(() => writeCsv(path('a.csv'), [{ a: '\udc00' }]))).message).toContain('surrogate');
      for (const name of ['a.csv', 'a.parquet']) {
        expect((await errorOf(() => writeRows(path(name), [{ '\udc00': 1 }]))).message).toContain('surrogate');
      }
      expect((await errorOf(() => writeCsv(path('a.csv'), [{}]))).message).toContain('needs a name');
      expect((await errorOf(() => writeCsv(path('a.csv'), [], { columns: ['a', 'a'] }))).message).toContain(
        '"a" twice',
      );
      expect((await errorOf(() => writeCsv(path('a.csv'), []))).message).toContain('"columns"');
      expect(readdirSync(path())).toEqual([]);
    });
  });

  test('an unknown extension is an error that lists the known ones', () => {
    expect(() => readRows(path('a.xml'))).toThrow(/".xml".*jsonl/);
    expect(() => writeRows(path('a'), [])).toThrow(/without extension.*parquet/);
  });
});

describe('odd files', () => {
  const path = useTemporaryFolder();

  test('a text of millions of escapes beside a long integer is read', async () => {
    const code = 'a\n"\\'.repeat(2_000_000);
    const text = JSON.stringify({ code, more: '12345678901234567891', n: 'N' }).replace('"N"', '12345678901234567891');
    writeFileSync(path('a.jsonl'), text);
    const [row] = await collect(readRows(path('a.jsonl')));
    expect(row!.code === code).toBe(true);
    expect([row!.more, row!.n]).toEqual(['12345678901234567891', 12345678901234567891n]);
  });

  test('a zero keeps its sign in JSON and CSV', async () => {
    await writeJsonl(path('a.jsonl'), [{ a: -0, b: [0, -0] }]);
    expect(await collect(readRows(path('a.jsonl')))).toStrictEqual([{ a: -0, b: [0, -0] }]);
    await writeCsv(path('a.csv'), [{ a: -0 }]);
    expect(await collect(readRows(path('a.csv')))).toEqual([{ a: '-0' }]);
  });

  test.skipIf(process.platform === 'win32')('a pipe is refused where a file is read twice; it would hang', async () => {
    execFileSync('/usr/bin/env', ['mkfifo', path('a.json')]);
    expect((await errorOf(() => collect(readRows(path('a.json'))))).message).toMatch(/is a pipe.*use readJsonl/);
  });

  test.skipIf(process.platform === 'win32')('writing through a link writes its target', async () => {
    writeFileSync(path('real.jsonl'), '');
    symlinkSync('real.jsonl', path('link.jsonl'));
    await writeJsonl(path('link.jsonl'), [{ a: 1 }]);
    expect(lstatSync(path('link.jsonl')).isSymbolicLink()).toBe(true);
    expect(readFileSync(path('real.jsonl'), 'utf8')).toBe('{"a":1}\n');
  });

  test('a column that is null because other rows have it is not there', async () => {
    const messages = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
    ];
    validateRow({ messages, text: null }, 'language-modeling');
    validateRow({ messages: null, text: 'a' }, 'language-modeling');
    const row = { prompt: 'a', completion: 'b', label: true, chosen: null, rejected: null };
    expect(await collect(maybeUnpairPreferenceDataset([row]))).toEqual([row]);
    const half = [{ chosen: 'a', rejected: null }];
    for (const unpair of [unpairPreferenceDataset, maybeUnpairPreferenceDataset]) {
      expect(await errorOf(() => collect(unpair(half)))).toBeInstanceOf(RowError);
    }
  });
});

const module = new URL('fuzz-targets.ts', import.meta.url);

test.each(FORMATS)('200 mutants of $target: rows or a DataFileError, nothing else', async (format) => {
  const report = await fuzz({ module, ...format, count: 200, dictionary: DICTIONARY });
  expect(describeFaults(report)).toBe('');
  expect(report.accepted + report.refused).toBe(200);
  expect(report.refused).toBeGreaterThan(0);
});
