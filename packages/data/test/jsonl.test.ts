import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { DataFileError, RowError, readJsonl, readRows, writeFileAtomically, writeJsonl } from '../src/index.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();

describe('readJsonl', () => {
  test('byte order mark, CRLF, blank lines and a last line without line feed', async () => {
    writeFileSync(path('a.jsonl'), '\uFEFF{"a":1}\r\n\r\n  \n{"a":"\u2028é🎉"}\n{"a":3}');
    expect(await collect(readJsonl(path('a.jsonl')))).toEqual([{ a: 1 }, { a: '\u2028é🎉' }, { a: 3 }]);
  });

  test('an empty file has no rows', async () => {
    writeFileSync(path('a.jsonl'), '');
    expect(await collect(readJsonl(path('a.jsonl')))).toEqual([]);
  });

  test('a line larger than many read chunks', async () => {
    const text = 'é'.repeat(1_500_000);
    writeFileSync(path('a.jsonl'), `{"a":"${text}"}\n{"a":"b"}\n`);
    const rows = await collect(readJsonl(path('a.jsonl')));
    expect(rows.length).toBe(2);
    expect(rows[0]!.a === text).toBe(true);
  });

  test.each([
    ['truncated', '{"a":1}\n\n{"a":', 3],
    ['not an object', '{"a":1}\n[1]\n', 2],
    ['not JSON', "{'a':1}\n", 1],
    ['NaN', '{"a":1}\n{"a":NaN}\n', 2],
  ])('a malformed line (%s) is an error with file and line', async (_, text, line) => {
    writeFileSync(path('bad.jsonl'), text);
    const error = await errorOf(() => collect(readJsonl(path('bad.jsonl'))));
    expect(error).toBeInstanceOf(DataFileError);
    expect(error).toMatchObject({ code: 'DATA_FILE', path: path('bad.jsonl'), line });
    expect(error.message).toContain(`bad.jsonl:${line}: malformed line`);
  });

  test('a line that is not UTF-8 is malformed', async () => {
    writeFileSync(path('bad.jsonl'), Buffer.from([...Buffer.from('{"a":1}\n{"a":"'), 0xff, ...Buffer.from('"}\n')]));
    expect(await errorOf(() => collect(readJsonl(path('bad.jsonl'))))).toMatchObject({ line: 2 });
  });

  test('malformed lines can be skipped and counted', async () => {
    writeFileSync(path('bad.jsonl'), '{"a":1}\nnope\n{"a":2}\n{"a"');
    const errors: DataFileError[] = [];
    const rows = await collect(readJsonl(path('bad.jsonl'), { onMalformed: (error) => errors.push(error) }));
    expect(rows).toEqual([{ a: 1 }, { a: 2 }]);
    expect(errors.map((error) => error.line)).toEqual([2, 4]);
  });

  test('a file that does not exist, an option that does not exist', async () => {
    expect(await errorOf(() => collect(readJsonl(path('none.jsonl'))))).toMatchObject({ code: 'DATA_FILE' });
    const options = { onMalforned: () => {} } as object;
    const error = await errorOf(() => collect(readJsonl(path('none.jsonl'), options)));
    expect(error.message).toContain('Did you mean "onMalformed"?');
  });

  test('gzipped files, and truncated ones', async () => {
    const text = Array.from({ length: 5000 }, (_, i) => `{"i":${i}}\n`).join('');
    const compressed = gzipSync(text);
    writeFileSync(path('a.jsonl.gz'), compressed);
    expect(await collect(readRows(path('a.jsonl.gz')))).toHaveLength(5000);
    writeFileSync(path('b.jsonl.gz'), compressed.subarray(0, compressed.length / 2));
    const error = await errorOf(() => collect(readRows(path('b.jsonl.gz'))));
    expect(error).toBeInstanceOf(DataFileError);
    expect(error.message).toContain('b.jsonl.gz');
  });
});

describe('readJson', () => {
  test('reads an array, and JSON Lines under the same name', async () => {
    writeFileSync(path('a.json'), '\uFEFF\n [{"a":1},\n {"a":2}]');
    writeFileSync(path('b.json'), '{"a":1}\n{"a":2}\n');
    expect(await collect(readRows(path('a.json')))).toEqual([{ a: 1 }, { a: 2 }]);
    expect(await collect(readRows(path('b.json')))).toEqual([{ a: 1 }, { a: 2 }]);
  });

  test('a truncated array and an element that is no object are errors', async () => {
    writeFileSync(path('a.json'), '[{"a":1},');
    writeFileSync(path('b.json'), '[{"a":1}, 2]');
    expect((await errorOf(() => collect(readRows(path('a.json'))))).message).toContain('a.json: is not valid JSON');
    expect((await errorOf(() => collect(readRows(path('b.json'))))).message).toContain('element 2');
  });
});

describe('writeJsonl', () => {
  test('any rows come back as they were', async () => {
    const rows = fc.array(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(rows, async (written) => {
        const summary = await writeJsonl(path('a.jsonl'), written);
        expect(summary).toEqual({ rows: written.length, bytes: readFileSync(path('a.jsonl')).length });
        expect(await collect(readJsonl(path('a.jsonl')))).toEqual(JSON.parse(JSON.stringify(written)));
      }),
      { numRuns: 20 },
    );
  });

  test.each([
    ['NaN', { a: [{ b: Number.NaN }] }, 'a[0].b'],
    ['bigint', { a: { b: 1n } }, 'a.b'],
    ['bytes', { a: new Uint8Array(2) }, 'a'],
    ['function', { a: () => 1 }, 'a'],
  ])('%s is an error that names row and field', async (_, row, field) => {
    const error = await errorOf(() => writeJsonl(path('a.jsonl'), [{ a: 1 }, row]));
    expect(error).toBeInstanceOf(RowError);
    expect(error).toMatchObject({ rowNumber: 2, field });
    expect(readdirSync(path())).toEqual([]);
  });

  test('compressed output is refused, not written uncompressed', async () => {
    expect((await errorOf(() => writeJsonl(path('a.jsonl.gz'), []))).message).toContain('.gz');
  });
});

describe('writeFileAtomically', () => {
  test('when the source fails, the old file stays and nothing else', async () => {
    writeFileSync(path('a.jsonl'), 'old');
    async function* rows() {
      yield { a: 1 };
      throw new Error('the source broke');
    }
    await expect(writeJsonl(path('a.jsonl'), rows())).rejects.toThrow('the source broke');
    expect(readFileSync(path('a.jsonl'), 'utf8')).toBe('old');
    expect(readdirSync(path())).toEqual(['a.jsonl']);
  });

  test('on a full disk: a clear error, the old file stays and nothing else', async () => {
    writeFileSync(path('a.jsonl'), 'old');
    const probe = await open(path('a.jsonl'));
    const prototype = Object.getPrototypeOf(probe) as typeof probe;
    await probe.close();
    const realWrite: (data: Uint8Array, offset: number, length: number) => Promise<unknown> = prototype.write;
    let calls = 0;
    const spy = vi.spyOn(prototype, 'writeFile').mockImplementation(async function (this: typeof probe, data) {
      const bytes = data as Uint8Array;
      if (++calls === 1) await realWrite.call(this, bytes, 0, bytes.length);
      else {
        await realWrite.call(this, bytes, 0, 10);
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
      }
    });
    try {
      const rows = Array.from({ length: 30 }, () => ({ text: 'x'.repeat(100_000) }));
      const error = await errorOf(() => writeJsonl(path('a.jsonl'), rows));
      expect(error).toBeInstanceOf(DataFileError);
      expect(error.message).toMatch(/a\.jsonl: was not written, nothing was left behind: ENOSPC/);
    } finally {
      spy.mockRestore();
    }
    expect(calls).toBe(2);
    expect(readFileSync(path('a.jsonl'), 'utf8')).toBe('old');
    expect(readdirSync(path())).toEqual(['a.jsonl']);
  });

  test('a folder that does not exist is an error that names the file', async () => {
    const error = await errorOf(() => writeFileAtomically(path('no', 'a.txt'), ['x']));
    expect(error.message).toContain(path('no', 'a.txt'));
  });
});
