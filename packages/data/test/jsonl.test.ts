import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { isPosttrainError } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import {
  DataFileError,
  dataFiles,
  map,
  pipeline,
  type Row,
  RowError,
  readDataset,
  readJson,
  readJsonl,
  readRows,
  type StreamRowsOptions,
  streamRows,
  writeFileAtomically,
  writeJsonl,
  writeParquet,
  writeRows,
} from '../src/index.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();

describe('readJsonl', () => {
  test('byte order mark, CRLF, blank lines and a last line without line feed', async () => {
    writeFileSync(path('a.jsonl'), '\uFEFF{"a":1}\r\n\r\n  \n{"a":"\u2028é🎉"}\n{"a":3}');
    expect(await collect(readJsonl(path('a.jsonl')))).toEqual([{ a: 1 }, { a: '\u2028é🎉' }, { a: 3 }]);
  });

  test('lines end at LF, CRLF or CR, wherever chunks end', async () => {
    const end = fc.constantFrom('\n', '\r\n', '\r', '\r\r\n\n');
    const padding = fc.integer({ min: 65_490, max: 65_536 });
    await fc.assert(
      fc.asyncProperty(fc.array(end, { minLength: 1, maxLength: 8 }), padding, async (ends, width) => {
        const lines = ends.map((close, i) => `{"i":${i}}${close}`);
        writeFileSync(path('a.jsonl'), `{"p":"${'p'.repeat(width)}"}${ends[0]}${lines.join('')}`);
        const [, ...rows] = await collect(readJsonl(path('a.jsonl')));
        expect(rows).toEqual(ends.map((_, i) => ({ i })));
      }),
      { numRuns: 40 },
    );
  });

  test('a line that is too long can be skipped like another malformed one, and nothing of it is kept', async () => {
    writeFileSync(path('a.jsonl'), `{"a":1}\n{"a":"${'x'.repeat(300_000)}"}\r\n{"a":3}`);
    const errors: DataFileError[] = [];
    const onMalformed = (error: DataFileError) => errors.push(error);
    const rows = await collect(readJsonl(path('a.jsonl'), { onMalformed, maxRowBytes: 1000 }));
    expect(rows).toEqual([{ a: 1 }, { a: 3 }]);
    expect(errors.map((error) => [error.line, error.message])).toEqual([
      [2, expect.stringMatching(/longer than "maxRow/)],
    ]);
    writeFileSync(path('a.json'), `[{"a":1},\n{"a":"${'x'.repeat(300_000)}"},\n{"a":3}]`);
    expect(await collect(readJson(path('a.json'), { onMalformed, maxRowBytes: 1000 }))).toEqual(rows);
    expect(errors.map((error) => error.line)).toEqual([2, 2]);
    // Without onMalformed the rest of the line is not waited for.
    if (existsSync('/dev/zero')) {
      symlinkSync('/dev/zero', path('endless.jsonl'));
      expect(await errorOf(() => collect(readJsonl(path('endless.jsonl'), { maxRowBytes: 1000 })))).toMatchObject({
        line: 1,
      });
    }
    expect((await errorOf(() => collect(readJsonl('a', { maxRowBytes: 2 ** 40 })))).message).toMatch(/maxRowBytes/);
  });

  test('keys that objects inherit are keys like others, and nothing is polluted', async () => {
    const text = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":2}},"toString":"x"}\n';
    writeFileSync(path('a.jsonl'), text);
    await writeJsonl(
      path('b.jsonl'),
      pipeline(readJsonl(path('a.jsonl')), [map('same', (row: Row) => ({ ...row }))]).rows,
    );
    expect(readFileSync(path('b.jsonl'), 'utf8')).toBe(text);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
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
    ['nested too deeply', `{"a":1}\r{"a":${'['.repeat(1001)}${']'.repeat(1001)}}\n`, 2],
    ['too long', `{"a":1}\n{"a":"${'x'.repeat(200_000)}"}\n`, 2],
    ['without an end', `{"a":1}\r\n\r\n{"a":"${'x'.repeat(200_000)}`, 3],
  ])('a malformed line (%s) is an error with file and line', async (_, text, line) => {
    writeFileSync(path('bad.jsonl'), text);
    const error = await errorOf(() => collect(readJsonl(path('bad.jsonl'), { maxRowBytes: 100_000 })));
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

  test.each([
    ['truncated', '[{"a":1},', 1, /cut short/],
    ['truncated in a text', '[{"a":1},\n{"a":"', 2, /cut short/],
    ['an element that is no object', '[{"a":1},\n\n 2]', 3, /a row must be a JSON object, got number/],
    ['an element that is no JSON', '[{"a":1},\n{"a":nope}]', 2, /malformed/],
    ['two commas', '[{"a":1},\r\n,{"a":2}]', 2, /missing between two commas/],
    ['a comma at the end', '[{"a":1},]', 1, /missing/],
    ['something behind the end', '[{"a":1}]\n[', 2, /follows its end/],
    ['a bracket too many', '[{"a":1}}]', 1, /what is not open/],
    ['nested too deeply', `[${'['.repeat(2000)}`, 1, /nested more than 1000 deep/],
    ['an element without an end', `[{"a":1},\n{"a":"${'x'.repeat(2000)}"}]`, 2, /longer than "maxRowBytes", 1000/],
  ])('an array with %s is an error with its line', async (_, text, line, message) => {
    writeFileSync(path('a.json'), text);
    const error = await errorOf(() => collect(readJson(path('a.json'), { maxRowBytes: 1000 })));
    expect(error).toBeInstanceOf(DataFileError);
    expect(error).toMatchObject({ line, message: expect.stringMatching(message) });
  });

  test('any array comes back, however it is spaced and wherever chunks end', async () => {
    const rows = fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 4 });
    const space = fc.constantFrom(undefined, 2, '\t');
    await fc.assert(
      fc.asyncProperty(rows, space, fc.integer({ min: 65_500, max: 65_536 }), async (written, indent, width) => {
        const text = JSON.stringify(written, null, indent);
        writeFileSync(path('a.json'), `${' '.repeat(width)}${text}\r\n`);
        expect(await collect(readJson(path('a.json')))).toEqual(JSON.parse(text));
      }),
      { numRuns: 40 },
    );
    writeFileSync(path('a.json'), '[\n]');
    expect(await collect(readJson(path('a.json')))).toEqual([]);
  });
});

function circular(): object {
  const row: Record<string, unknown> = {};
  row.a = row;
  return row;
}

describe('writeJsonl', () => {
  test('any rows come back as they were', async () => {
    const rows = fc.array(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(rows, async (written) => {
        const summary = await writeJsonl(path('a.jsonl'), written);
        expect(summary).toEqual({ rows: written.length, bytes: readFileSync(path('a.jsonl')).length });
        // -0 too, which JSON.stringify makes 0.
        expect(await collect(readJsonl(path('a.jsonl')))).toEqual(written);
      }),
      { numRuns: 20, examples: [[[{ a: -0, b: [{ '': -0 }], c: 1e20, d: 2 ** 53 + 2, e: -1.2345678901234567e20 }]]] },
    );
  });

  test.each([
    ['NaN', { a: [{ b: Number.NaN }] }, 'a[0].b'],
    ['bytes', { a: new Uint8Array(2) }, 'a'],
    ['function', { a: () => 1 }, 'a'],
    ['what contains itself', circular(), expect.stringMatching(/^a\.a\.a/)],
  ])('%s is an error that names row and field', async (_, row, field) => {
    const error = await errorOf(() => writeJsonl(path('a.jsonl'), [{ a: 1 }, row]));
    expect(error).toBeInstanceOf(RowError);
    expect(error).toMatchObject({ rowNumber: 2, field });
    expect(readdirSync(path())).toEqual([]);
  });

  test.each<[string, unknown, RegExp]>([
    ['null', [{ a: 1 }, null], /writeJsonl.*row 2: a row must be an object of columns, got null/],
    ['a list', [[1]], /row 1: .*got array/],
    ['no iterable', 3, /rows must be an iterable or an async iterable of objects, got number/],
    ['a text', '{}', /got string/],
    ['a promise', Promise.resolve([]), /got Promise. It is a promise: await it first/],
  ])('rows that are none are an error that says so: %s', async (_, rows, message) => {
    for (const name of ['a.jsonl', 'a.csv', 'a.parquet']) {
      const error = await errorOf(() => writeRows(path(name), rows as object[]));
      expect(error.message.replace(/write(Csv|Parquet)/, 'writeJsonl')).toMatch(message);
      expect(isPosttrainError(error)).toBe(true);
    }
    expect(readdirSync(path())).toEqual([]);
  });

  test('integers come back exactly: as bigints where no number holds them', async () => {
    const text =
      '{"a":[9007199254740993,-12345678901234567890,9007199254740991,0.1234567890123456],"9007199254740993":"9007199254740993"}\n';
    writeFileSync(path('a.jsonl'), text);
    const rows = await collect(readJsonl(path('a.jsonl')));
    expect(rows[0]!.a).toEqual([9007199254740993n, -12345678901234567890n, 9007199254740991, 0.1234567890123456]);
    await writeJsonl(path('b.jsonl'), rows);
    expect(readFileSync(path('b.jsonl'), 'utf8')).toBe(text);
    writeFileSync(path('c.json'), `[${text}]`);
    expect(await collect(readJson(path('c.json')))).toEqual(rows);
    for (const bad of ['{9007199254740993:1}', '{"a":09007199254740993}', '{"a":9007199254740993n}']) {
      writeFileSync(path('bad.jsonl'), bad);
      expect(await errorOf(() => collect(readJsonl(path('bad.jsonl'))))).toMatchObject({ line: 1 });
    }
    await fc.assert(
      fc.asyncProperty(fc.array(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n })), async (a) => {
        await writeJsonl(path('a.jsonl'), [{ a }]);
        const [row] = await collect(readJsonl(path('a.jsonl')));
        expect((row!.a as (number | bigint)[]).map(BigInt)).toEqual(a);
      }),
      { numRuns: 20 },
    );
  });

  test('a name that ends in .gz is written compressed, also where there are no rows', async () => {
    await writeJsonl(path('a.jsonl.gz'), []);
    expect(await collect(readRows(path('a.jsonl.gz')))).toEqual([]);
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
    const realWrite: (data: Uint8Array, offset: number, length: number) => Promise<{ bytesWritten: number }> =
      prototype.write;
    let calls = 0;
    const write = async function (this: typeof probe, bytes: Uint8Array, offset: number, length: number) {
      if (++calls === 1) return realWrite.call(this, bytes, offset, length);
      await realWrite.call(this, bytes, offset, 10);
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
    };
    const spy = vi.spyOn(prototype, 'write').mockImplementation(write as never);
    try {
      const rows = Array.from({ length: 30 }, () => ({ text: 'x'.repeat(100_000) }));
      const error = await errorOf(() => writeJsonl(path('a.jsonl'), rows));
      expect(error).toBeInstanceOf(DataFileError);
      expect(error.message).toMatch(/a\.jsonl: was not written, nothing was left behind: .*ENOSPC/);
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

describe('a data set of files', () => {
  /** Files of one row each, which has the name of its file. */
  const layOut = (...files: string[]) => {
    for (const file of files) {
      mkdirSync(path(file, '..'), { recursive: true });
      writeFileSync(path(file), `{"file":"${file}"}\n`);
    }
  };
  const filesOf = async (source: string, options = {}) =>
    (await collect(readDataset(source, options))).map(({ file }) => String(file).replace(/^set\//, ''));

  test('is a file, a folder by its splits, as the datasets library names them, or a glob', async () => {
    layOut(
      'set/data/train-00001-of-00002.jsonl',
      'set/data/train-00000-of-00002.jsonl',
      'set/data/test-00000-of-00001.jsonl',
    );
    layOut(
      'set/README.md',
      'set/dataset_infos.json',
      'set/.cache/train.jsonl',
      'set/data/my_dev.jsonl',
      'set/test/trained.jsonl',
    );
    expect(await filesOf(path('set'))).toEqual(['data/train-00000-of-00002.jsonl', 'data/train-00001-of-00002.jsonl']);
    expect(await filesOf(path('set'), { split: 'test' })).toEqual([
      'data/test-00000-of-00001.jsonl',
      'test/trained.jsonl',
    ]);
    expect(await filesOf(path('set'), { split: 'validation' })).toEqual(['data/my_dev.jsonl']);
    expect(await filesOf(path('set/data/my_dev.jsonl'))).toEqual(['data/my_dev.jsonl']);
    expect(await filesOf(path('set/data/*-0000?-of-*.jsonl'))).toHaveLength(3);
    expect(await filesOf(path('set/**/t*.jsonl'))).toHaveLength(4);
    expect(await filesOf(path('set/{data,test}/trai*.jsonl'))).toHaveLength(3);
    layOut('plain/b.jsonl', 'plain/a.jsonl');
    expect(await filesOf(path('plain'))).toEqual(['plain/a.jsonl', 'plain/b.jsonl']);
  });

  test('says what there is where nothing is found', async () => {
    layOut('set/train.jsonl', 'set/notes.md');
    const said = async (source: string, options = {}) => (await errorOf(() => dataFiles(source, options))).message;
    expect(await said(path('set'), { split: 'test' })).toMatch(
      /no files of the split "test". Of its 1 files of rows all are of train/,
    );
    expect(await said(path('set/*.md'))).toMatch(/no file of rows matches. It matches 1 files that are none of rows/);
    expect(await said(path('none/*.jsonl'))).toMatch(/cannot be read as a folder/);
    expect(await said('some-org/some-set')).toMatch(
      /there is no such file or folder. For a data set of the hub: readDataset\(await downloadDataset/,
    );
    expect(await said(path('set'), { split: 'dev' })).toMatch(/split/);
  });
});

describe('streamRows', () => {
  const numbered = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ n: from + i, text: 'é🎉'.repeat(i % 7) }));
  /** Three files of 10, 7 and 0 rows: the second with odd ends of lines. */
  const lay = async () => {
    await writeJsonl(path('a.jsonl'), numbered(0, 10));
    writeFileSync(
      path('b.jsonl'),
      `\uFEFF${numbered(10, 7)
        .map((row) => JSON.stringify(row))
        .join('\r\n\n')}`,
    );
    writeFileSync(path('c.jsonl'), '');
    return path('*.jsonl');
  };
  const take = async (options: StreamRowsOptions, counts: number[], source = path('*.jsonl')) => {
    const stream = await streamRows(source, options);
    const given: unknown[][] = [];
    for (const count of counts) given.push((await stream.next({ count })).map(({ row }) => row.n));
    await stream.close();
    return given;
  };

  test('gives every row once in a pass, whatever the buffer, in order or shuffled within it', async () => {
    await lay();
    const all = Array.from({ length: 17 }, (_, i) => i);
    for (const bufferSize of [1, 4, 17, 100]) {
      const plain = (await take({ bufferSize, shuffle: false }, [5, 5, 7, 17])).flat();
      expect(plain).toEqual([...all, ...all]);
      const mixed = (await take({ bufferSize }, [5, 5, 7, 17])).flat() as number[];
      expect(mixed.slice(0, 17).sort((a, b) => a - b)).toEqual(all);
      expect(mixed.slice(17).sort((a, b) => a - b)).toEqual(all);
      if (bufferSize > 4) expect(mixed.slice(0, 17)).not.toEqual(mixed.slice(17));
      expect((await take({ bufferSize }, [34])).flat()).toEqual(mixed);
    }
    expect(await take({ seed: 1 }, [17])).not.toEqual(await take({ seed: 2 }, [17]));
  });

  test('goes on from its state at any row, of any format', async () => {
    await lay();
    await writeParquet(path('d.parquet'), numbered(0, 9));
    writeFileSync(
      path('e.jsonl.gz'),
      gzipSync(
        numbered(0, 9)
          .map((row) => JSON.stringify(row))
          .join('\n'),
      ),
    );
    for (const [source, length] of [
      [path('*.jsonl'), 17],
      [path('d.parquet'), 9],
      [path('e.jsonl.gz'), 9],
    ] as const) {
      const options = { bufferSize: 4 };
      const [whole] = await take(options, [2 * length + 3], source);
      for (let at = 0; at <= 2 * length; at += 3) {
        const first = await streamRows(source, options);
        if (at > 0) await first.next({ count: at });
        const state = JSON.parse(JSON.stringify(first.state()));
        await first.close();
        const second = await streamRows(source, options);
        second.load(state);
        const rest = await second.next({ count: 2 * length + 3 - at });
        await second.close();
        expect(rest.map(({ row }) => row.n)).toEqual(whole!.slice(at));
      }
    }
  });

  test('does not go on in files of other rows', async () => {
    for (const [name, write] of [
      ['a.jsonl', (text: string) => writeFileSync(path('a.jsonl'), text)],
      ['a.csv', (text: string) => writeFileSync(path('a.csv'), `n\n${text.replace(/[^\d\n]/g, '')}`)],
    ] as const) {
      write('{"n":1}\n{"n":2}\n{"n":3}\n');
      const stream = await streamRows(path(name), { bufferSize: 3 });
      expect(stream.state()).not.toHaveProperty('digest');
      await stream.next({ count: 2 });
      const state = JSON.parse(JSON.stringify(stream.state()));
      await stream.close();
      for (const text of ['{"n":1}\n{"n":2}\n{"n":4}\n', '{"n":1}\n']) {
        write(text);
        const other = await streamRows(path(name), { bufferSize: 3 });
        other.load(state);
        await expect(other.next({ count: 1 })).rejects.toThrow(/other rows are there than when the state was saved/);
        await other.close();
      }
      write('{"n":1}\n{"n":2}\n{"n":3}\n');
      const same = await streamRows(path(name), { bufferSize: 3 });
      same.load(state);
      expect(same.state()).toEqual(state);
      await same.next({ count: 1 });
      expect(same.state()).not.toHaveProperty('digest');
      await same.close();
    }
  });

  test('says which line is wrong, also after it went on, that there are no rows, and that all have been given', async () => {
    writeFileSync(path('a.jsonl'), '{"n":1}\n\n{"n":2}\n{"n":\n{"n":4}\n');
    const stream = await streamRows(path('a.jsonl'), { bufferSize: 2, shuffle: false });
    expect(await stream.next({ count: 2 })).toEqual([{ row: { n: 1 } }, { row: { n: 2 } }]);
    expect(stream.state()).toMatchObject({ row: 2, place: { line: 4 }, used: 0 });
    await expect(stream.next({ count: 1 })).rejects.toThrow(/a\.jsonl:4: malformed line/);
    writeFileSync(path('c.jsonl'), '\n');
    await expect((await streamRows(path('c.jsonl'))).next({ count: 1 })).rejects.toThrow(/there are no rows/);
    writeFileSync(path('d.jsonl'), '{"n":1}\n{"n":2}\n');
    const once = await streamRows(path('d.jsonl'), { repeat: false });
    expect(await once.next({ count: 2 })).toHaveLength(2);
    await expect(once.next({ count: 3 })).rejects.toThrow(/all rows have been given, and 3 more are asked for/);
    await expect(streamRows([path('none.jsonl')])).rejects.toThrow(/cannot be read/);
  });
});
