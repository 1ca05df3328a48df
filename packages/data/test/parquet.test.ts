import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataFileError, inferParquetSchema, RowError, readParquet, readRows, writeParquet } from '../src/index.js';
import { decompress } from '../src/io/parquet/decompress.js';
import { schemaTree } from '../src/io/parquet/schema-tree.js';
import type { ThriftValue } from '../src/io/parquet/thrift.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();
const golden = (name: string) => fileURLToPath(new URL(`./goldens/${name}`, import.meta.url));

/** Undoes the tags that make_goldens.py puts on what JSON has no value for. */
const tagged = (name: string) =>
  JSON.parse(readFileSync(golden(name), 'utf8'), (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    if ('$date' in value) return new Date(value.$date as number);
    if ('$bytes' in value) return new Uint8Array(Buffer.from(value.$bytes as string, 'hex'));
    if ('$bigint' in value) return BigInt(value.$bigint as string);
    return value;
  }) as Record<string, unknown>[];
const goldenRows = tagged('parquet-rows.json');

describe('readParquet', () => {
  test.each(['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4', 'v2'])('reads what pyarrow wrote: %s', async (name) => {
    expect(await collect(readRows(golden(`pyarrow-${name}.parquet`)))).toEqual(goldenRows);
  });

  test.each(['types', 'types-plain', 'types-v2'])('reads every type exactly as pyarrow wrote it: %s', async (name) => {
    const rows = await collect(readRows(golden(`pyarrow-${name}.parquet`)));
    for (const [i, row] of tagged('parquet-types.json').entries()) {
      for (const column of Object.keys(row)) expect([column, rows[i]![column]]).toStrictEqual([column, row[column]]);
      expect(Object.keys(rows[i]!)).toEqual(Object.keys(row));
    }
    expect(Object.keys(rows[0]!.odd as object)).toEqual(['__proto__', 'constructor', 'toString']);
    expect(Object.keys(rows[0]!.map as object)).toEqual(['__proto__', 'b']);
  });

  test.each(['delta', 'delta-length'])(
    'reads the encodings of differences and split bytes, over pages: %s',
    async (name) => {
      const want = Array.from({ length: 400 }, (_, n) => ({
        n,
        i: (n * n) % 77,
        s: `row ${Math.floor(n / 3)}`,
        f: n / 8,
      }));
      expect(await collect(readRows(golden(`pyarrow-${name}.parquet`)))).toEqual(want);
    },
  );

  test('reads pages of several zstd blocks, and of several frames', async () => {
    const want = Array.from({ length: 14_000 }, (_, i) => ({ text: `${(i * 7919) % 1009} times` }));
    expect(await collect(readRows(golden('pyarrow-zstd-blocks.parquet')))).toEqual(want);
    const frame = (head: readonly number[], ...rest: readonly number[]) => [0x28, 0xb5, 0x2f, 0xfd, ...head, ...rest];
    // "ab" as it is; a frame to skip; five times "c" with a checksum (not looked at); an empty one.
    const frames = [
      ...frame([0x20, 2], 0x11, 0, 0, 0x61, 0x62),
      ...[0x5f, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9],
      ...frame([0x04, 0x58], 0x2b, 0, 0, 0x63, 1, 2, 3, 4),
      ...frame([0x20, 0], 1, 0, 0),
    ];
    const read = (bytes: readonly number[], size: number) =>
      String.fromCharCode(...decompress(Uint8Array.from(bytes), 'ZSTD', size));
    expect(read(frames, 7)).toBe('abccccc');
    expect(() => read(frames, 6)).toThrow(/longer than|cannot be decompressed/);
    expect(() => read(frames, 8)).toThrow(/shorter than its header says/);
    expect(() => read(frames.slice(0, -1), 7)).toThrow(/cut short/);
    expect(() => read(frame([0x21, 9, 2], 0x11, 0, 0, 0x61, 0x62), 2)).toThrow(/needs a dictionary/);
  });

  test.each([
    ['one-bit-hang', /the number of children is impossible.*damaged/],
    ['process-death', /column "answer" has an unknown repetition.*damaged/],
  ])('a file that once hung or ended the process is an error: %s', async (name, message) => {
    const error = await errorOf(() => collect(readRows(golden(`damaged/${name}.parquet`))));
    expect(error).toBeInstanceOf(DataFileError);
    expect(error.message).toMatch(message);
  });

  test('a changed bit of any page is found by its checksum; no other place changes rows without an error', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => ({
      text: `row ${i % 7}`,
      n: i,
      tags: i % 3 ? ['a', null] : null,
    }));
    await writeParquet(path('a.parquet'), rows, { rowGroupSize: 20 });
    const bytes = readFileSync(path('a.parquet'));
    const footer = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8);
    let found = 0;
    for (let i = 0; i < footer; i++) {
      const flipped = Uint8Array.from(bytes);
      flipped[i]! ^= 1 << (i % 8);
      writeFileSync(path('b.parquet'), flipped);
      try {
        // A page header says some things that nobody needs.
        expect(await collect(readParquet(path('b.parquet')))).toEqual(rows);
      } catch (error) {
        if (!(error instanceof DataFileError)) throw error;
        found++;
      }
    }
    expect(found).toBeGreaterThan(0.9 * footer);
  });

  test('a page that claims more than it can hold, or than the budget, is refused before memory is taken', async () => {
    await writeParquet(path('a.parquet'), [{ a: 'x'.repeat(1000) }, { a: 'y' }]);
    const error = await errorOf(() => collect(readParquet(path('a.parquet'), { maxRowGroupBytes: 500 })));
    expect(error).toBeInstanceOf(DataFileError);
    expect(error.message).toMatch(/row group 1, column "a".*more memory than "maxRowGroupBytes" allows/);
    expect(await collect(readParquet(path('a.parquet'), { maxRowGroupBytes: 5000 }))).toHaveLength(2);
    const bytes = gzipSync(new Uint8Array(1 << 20));
    expect(() => decompress(bytes, 'GZIP', 1000)).toThrow(/cannot be decompressed/);
    expect(() => decompress(bytes, 'GZIP', 2 ** 31)).toThrow(/cannot become/);
    expect(() => decompress(brotliCompressSync(new Uint8Array(1 << 20)), 'BROTLI', 1000)).toThrow(/cannot be/);
    // A block of one byte 128 KiB long; the header of a frame without a size; twice what the page says.
    const zstd = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x03, 0x00, 0x10, 0x61]);
    expect(decompress(zstd, 'ZSTD', 1 << 17)).toEqual(new Uint8Array(1 << 17).fill(0x61));
    expect(() => decompress(zstd, 'ZSTD', 1 << 16)).toThrow(/longer than its header|cannot be/);
    expect(() => decompress(zstd, 'ZSTD', 1 << 18)).toThrow(/shorter than its header/);
  });

  test('a decimal of more digits than any writer has is refused before they are counted', () => {
    const text = (value: string) => new TextEncoder().encode(value);
    const tree = (precision: number, scale: number) => {
      const decimal = [
        [1, 6],
        [3, 0],
        [4, text('x')],
        [6, 5],
        [7, scale],
        [8, precision],
      ] as const;
      return () =>
        schemaTree([
          new Map<number, ThriftValue>([
            [4, text('schema')],
            [5, 1],
          ]),
          new Map<number, ThriftValue>(decimal),
        ]);
    };
    expect(tree(77, 77)().leafCount).toBe(1);
    for (const digits of [101, 1e8, 2 ** 40])
      expect(tree(digits, 2)).toThrow(/"x" has values that its type cannot have/);
    expect(tree(1e8, 1e8)).toThrow(/cannot have/);
  });

  test('reads chosen columns; an unknown one is an error with the nearest name', async () => {
    const rows = await collect(readParquet(golden('pyarrow-snappy.parquet'), { columns: ['id', 'flag'] }));
    expect(rows[1]).toEqual({ id: 1, flag: false });
    const reading = collect(readParquet(golden('pyarrow-snappy.parquet'), { columns: ['scores'] }));
    await expect(reading).rejects.toThrow(/Did you mean "score"/);
  });

  test('truncated files, other files and missing files are errors that name the file', async () => {
    const bytes = readFileSync(golden('pyarrow-none.parquet'));
    writeFileSync(path('start.parquet'), bytes.subarray(0, bytes.length - 100));
    writeFileSync(path('end.parquet'), bytes.subarray(200));
    writeFileSync(path('text.parquet'), '{"a":1}\n');
    writeFileSync(path('empty.parquet'), '');
    for (const name of ['start', 'end', 'text', 'empty', 'missing']) {
      const error = await errorOf(() => collect(readParquet(path(`${name}.parquet`))));
      expect(error).toBeInstanceOf(DataFileError);
      expect(error.message).toContain(`${name}.parquet: cannot be read as Parquet`);
    }
  });
});

function circular(): unknown[] {
  const list: unknown[] = [];
  list.push(list);
  return list;
}

describe('writeParquet', () => {
  test('writes, byte for byte, the file that pyarrow and datasets were checked to read', async () => {
    await writeParquet(path('ours.parquet'), goldenRows, { rowGroupSize: 3 });
    const written = readFileSync(path('ours.parquet'));
    // After a change of the writer: set the variable, run this test, then `make_goldens.py verify`.
    if (process.env.UPDATE_GOLDENS !== undefined) writeFileSync(golden('ours.parquet'), written);
    expect(existsSync(golden('ours.parquet'))).toBe(true);
    expect(written.equals(readFileSync(golden('ours.parquet')))).toBe(true);
  });

  test('rows come back as they were, across row groups', async () => {
    const text = fc.option(fc.string({ unit: 'binary' }));
    const row = fc.record({
      text,
      int: fc.option(fc.maxSafeInteger()),
      double: fc.double({ noNaN: true }),
      flag: fc.boolean(),
      bytes: fc.option(fc.uint8Array({ maxLength: 5 })),
      big: fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
      when: fc.date({ noInvalidDate: true, min: new Date('1900-01-01'), max: new Date('2200-01-01') }),
      lists: fc.option(fc.array(fc.array(fc.option(fc.integer()), { maxLength: 3 }), { maxLength: 3 })),
      messages: fc.array(fc.record({ role: fc.constantFrom('user', 'assistant'), content: text }), { maxLength: 3 }),
      nested: fc.option(fc.record({ a: fc.option(fc.record({ b: fc.option(fc.integer()) })) })),
    });
    const schema = {
      text: 'string',
      int: 'int64',
      double: 'double',
      flag: 'boolean',
      bytes: 'binary',
      big: 'int64',
      when: 'timestamp',
      lists: { list: { list: 'int64' } },
      messages: { list: { struct: { role: 'string', content: 'string' } } },
      nested: { struct: { a: { struct: { b: 'int64' } } } },
    } as const;
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 8 }), fc.integer({ min: 1, max: 4 }), async (rows, rowGroupSize) => {
        await writeParquet(path('a.parquet'), rows, { rowGroupSize, schema });
        const narrowed = rows.map(({ big, ...rest }) => ({
          ...rest,
          big: big !== null && Number.isSafeInteger(Number(big)) ? Number(big) : big,
        }));
        expect(await collect(readParquet(path('a.parquet')))).toEqual(narrowed);
      }),
      { numRuns: 30 },
    );
  });

  test('a zero keeps its sign, in lists too', async () => {
    const rows = [0.5, 0, -0, 0, -0, 0.5].map((x) => ({ x, list: [0.5, x], in: { y: x } }));
    await writeParquet(path('a.parquet'), rows);
    expect(await collect(readParquet(path('a.parquet')))).toStrictEqual(rows);
  });

  test('infers the narrowest schema', () => {
    const rows = [
      { a: 1, b: 1, c: null, d: [], e: { x: 1 }, f: 2n ** 60n },
      { a: 2, b: 0.5, c: null, d: [{ y: null }, { y: 'z' }], e: { z: [true] }, f: 1 },
    ];
    expect(inferParquetSchema(rows)).toEqual({
      a: 'int64',
      b: 'double',
      c: 'string',
      d: { list: { struct: { y: 'string' } } },
      e: { struct: { x: 'int64', z: { list: 'boolean' } } },
      f: 'int64',
    });
  });

  test.each([
    ['a mixed column', [{ a: 1 }, { a: 'x' }], 2, 'a'],
    ['a mixed list', [{ a: [{ b: 1 }, { b: 'x' }] }], 1, 'a[].b'],
    ['an object without keys', [{ a: {} }], 1, 'a'],
    ['a function', [{ a: () => 1 }], 1, 'a'],
  ])('%s is an error that names row and field', async (_, rows, rowNumber, field) => {
    const error = await errorOf(() => writeParquet(path('a.parquet'), rows));
    expect(error).toBeInstanceOf(RowError);
    expect(error).toMatchObject({ rowNumber, field });
    expect(readdirSync(path())).toEqual([]);
  });

  test.each<[string, object, RegExp]>([
    ['half a surrogate pair', { a: 'x\ud800' }, /half of a surrogate pair/],
    ['an integer of more than 64 bits', { a: 2n ** 63n }, /more than 64 bits/],
    ['what contains itself', { a: circular() }, /contains itself/],
  ])('%s is refused, not changed', async (_, row, message) => {
    expect((await errorOf(() => writeParquet(path('a.parquet'), [row]))).message).toMatch(message);
    expect(readdirSync(path())).toEqual([]);
  });

  test('columns and keys with the names of what objects inherit come back', async () => {
    const odd = (value: unknown) =>
      Object.fromEntries([
        ['__proto__', value],
        ['constructor', 'c'],
        ['toString', 1],
      ]);
    const rows = [odd(odd('x')), odd(odd(null)), { constructor: 'only' }];
    await writeParquet(path('a.parquet'), rows);
    const back = await collect(readParquet(path('a.parquet')));
    expect(Object.keys(back[0]!)).toEqual(['__proto__', 'constructor', 'toString']);
    expect(JSON.stringify(back[0])).toBe(JSON.stringify(rows[0]));
    expect(JSON.stringify(back[1])).toBe(JSON.stringify(rows[1]));
    expect(JSON.stringify(back[2])).toBe('{"__proto__":null,"constructor":"only","toString":null}');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('a later row that does not fit the inferred schema is an error, and no file is left', async () => {
    const wider = await errorOf(() => writeParquet(path('a.parquet'), [{ a: 1 }, { a: 1.5 }], { rowGroupSize: 1 }));
    expect(wider).toMatchObject({ rowNumber: 2, field: 'a' });
    expect(wider.message).toContain('the number 1.5. Give a "schema"');
    const unknown = await errorOf(() => writeParquet(path('a.parquet'), [{ a: 1 }, { b: 1 }], { rowGroupSize: 1 }));
    expect(unknown).toMatchObject({ rowNumber: 2, field: 'b' });
    expect(readdirSync(path())).toEqual([]);
  });

  test('no rows: an error without a schema, an empty table with one', async () => {
    expect((await errorOf(() => writeParquet(path('a.parquet'), []))).message).toContain('"schema"');
    expect(await writeParquet(path('a.parquet'), [], { schema: { a: 'string' } })).toMatchObject({ rows: 0 });
    expect(await collect(readParquet(path('a.parquet')))).toEqual([]);
  });
});
