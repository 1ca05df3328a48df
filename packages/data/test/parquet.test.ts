import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataFileError, inferParquetSchema, RowError, readParquet, readRows, writeParquet } from '../src/index.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();
const golden = (name: string) => fileURLToPath(new URL(`./goldens/${name}`, import.meta.url));

/** Undoes the tags that make_goldens.py puts on what JSON has no value for. */
const goldenRows = JSON.parse(readFileSync(golden('parquet-rows.json'), 'utf8'), (_, value: unknown) => {
  if (typeof value !== 'object' || value === null) return value;
  if ('$date' in value) return new Date(value.$date as number);
  if ('$bytes' in value) return new Uint8Array(Buffer.from(value.$bytes as string, 'hex'));
  if ('$bigint' in value) return BigInt(value.$bigint as string);
  return value;
}) as Record<string, unknown>[];

describe('readParquet', () => {
  test.each(['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4', 'v2'])('reads what pyarrow wrote: %s', async (name) => {
    expect(await collect(readRows(golden(`pyarrow-${name}.parquet`)))).toEqual(goldenRows);
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
      when: 'timestamp',
      lists: { list: { list: 'int64' } },
      messages: { list: { struct: { role: 'string', content: 'string' } } },
      nested: { struct: { a: { struct: { b: 'int64' } } } },
    } as const;
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 8 }), fc.integer({ min: 1, max: 4 }), async (rows, rowGroupSize) => {
        await writeParquet(path('a.parquet'), rows, { rowGroupSize, schema });
        expect(await collect(readParquet(path('a.parquet')))).toEqual(rows);
      }),
      { numRuns: 30 },
    );
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
