import { custom, type Given, integer, options } from '@posttrain/interfaces';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { DataOptionError } from '../../errors.js';
import { eachRow, isPlainObject, type RowSource } from '../../rows.js';
import { type WriteSummary, writeFileAtomically } from '../atomic-file.js';
import { assertNotCompressed } from '../compression.js';
import { addChecksums } from './add-checksums.js';
import { inferParquetSchema, type ParquetSchema, toParquetValues, toSchemaElements } from './write-schema.js';

const writeParquetOptions = options('writeParquet', {
  /** Column types. Default: inferred from the first row group; later rows must fit, or there is an error. */
  schema: custom<ParquetSchema>()('an object: the type of each column by its name', isPlainObject, { optional: true }),
  /** Rows per row group, which is what is held in memory. Default 10 000. */
  rowGroupSize: integer({ default: 10_000, min: 1, max: 10_000_000 }),
});
/** Options of `writeParquet`. */
export type WriteParquetOptions = Given<typeof writeParquetOptions>;

/**
 * Writes rows as Parquet (Snappy, version 2 metadata), whole or not at all, streaming by row group. Objects become
 * structs and arrays lists, so `datasets` and pyarrow read messages as messages. Missing values become null. Every page has
 * a checksum, by which `readParquet`, and pyarrow when asked, find damage.
 */
export async function writeParquet(
  path: string,
  rows: RowSource<object>,
  given: WriteParquetOptions = {},
): Promise<WriteSummary> {
  assertNotCompressed(path, 'Parquet');
  const settings = writeParquetOptions.read(given);
  const { rowGroupSize } = settings;
  let count = 0;

  async function* chunks(): AsyncGenerator<Uint8Array> {
    const bytes = new ByteWriter();
    let { schema } = settings;
    let writer: ParquetWriter | undefined;
    const begin = (group: readonly object[]): { writer: ParquetWriter; schema: ParquetSchema } => {
      schema ??= inferParquetSchema(group);
      writer ??= new ParquetWriter({ writer: bytes, schema: toSchemaElements(schema), createdBy: 'posttrain' });
      return { writer, schema };
    };
    const takeBytes = (): Uint8Array => {
      const taken = bytes.getBytes().slice();
      bytes.index = 0;
      return taken;
    };
    for await (const group of inGroups('writeParquet', rows, rowGroupSize)) {
      const started = begin(group);
      const values = group.map((row) => toParquetValues(row, started.schema, ++count));
      const columnData = Object.keys(started.schema).map((name, i) => {
        const data = values.map((row) => row[i]);
        // In the writer's dictionaries -0 and 0 are one value.
        return { name, data, ...(data.some(hasNegativeZero) && { encoding: 'PLAIN' as const }) };
      });
      await started.writer.write({ columnData, rowGroupSize: group.length });
      const base = bytes.offset - bytes.index;
      yield addChecksums(takeBytes(), base, started.writer);
    }
    if (schema === undefined) throw new DataOptionError('writeParquet', 'there are no rows; give a "schema".');
    await begin([]).writer.finish();
    yield takeBytes();
  }

  const bytes = await writeFileAtomically(path, chunks());
  return { rows: count, bytes };
}

function hasNegativeZero(value: unknown): boolean {
  if (Object.is(value, -0)) return true;
  if (Array.isArray(value)) return value.some(hasNegativeZero);
  return isPlainObject(value) && Object.values(value).some(hasNegativeZero);
}

export async function* inGroups(where: string, rows: RowSource<object>, size: number): AsyncGenerator<object[]> {
  let group: object[] = [];
  for await (const row of eachRow(where, rows)) {
    group.push(row);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
