import { custom, type Given, integer, options } from '@posttrain/interfaces';
import type { DataType, Schema } from 'apache-arrow';
import { DataOptionError } from '../../errors.js';
import { isPlainObject, type RowSource } from '../../rows.js';
import { type WriteSummary, writeFileAtomically } from '../atomic-file.js';
import { assertNotCompressed } from '../compression.js';
import { inGroups } from '../parquet/write-parquet.js';
import {
  inferParquetSchema,
  type ParquetColumnType,
  type ParquetSchema,
  toParquetValues,
} from '../parquet/write-schema.js';
import { arrowPackage } from './read-arrow.js';

type Arrow = typeof import('apache-arrow');

const writeArrowOptions = options('writeArrow', {
  /** Column types. Default: inferred from the first batch; later rows must fit, or there is an error. */
  schema: custom<ParquetSchema>()('an object: the type of each column by its name', isPlainObject, { optional: true }),
  /** Rows per record batch, which is what is held in memory. Default 1000, as `datasets` has it. */
  batchSize: integer({ default: 1000, min: 1, max: 10_000_000 }),
  /** `file` is what pyarrow and pandas call Feather version 2; `stream` what `datasets` keeps. Default `file`. */
  format: custom<'file' | 'stream'>()("'file' or 'stream'", (value) => value === 'file' || value === 'stream', {
    default: 'file',
  }),
});
/** Options of `writeArrow`. */
export type WriteArrowOptions = Given<typeof writeArrowOptions>;

/**
 * Writes rows as Arrow, whole or not at all, streaming by record batch, without compression. Types are those of `writeParquet`: objects become structs,
 * arrays lists, dates timestamps of milliseconds in UTC. Needs the package `apache-arrow`.
 *
 * @throws OptionError, DataOptionError, DataFileError; RowError for a value that does not fit
 */
export async function writeArrow(
  path: string,
  rows: RowSource<object>,
  given: WriteArrowOptions = {},
): Promise<WriteSummary> {
  assertNotCompressed(path, 'Arrow');
  const settings = writeArrowOptions.read(given);
  const arrow = await arrowPackage('writeArrow');
  let count = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const { sink, taken } = collecting(arrow);
    const writer = settings.format === 'file' ? new arrow.RecordBatchFileWriter() : new arrow.RecordBatchStreamWriter();
    let schema = settings.schema;
    let fields: Schema | undefined;
    const begin = (group: readonly object[]): { columns: ParquetSchema; fields: Schema } => {
      schema ??= inferParquetSchema(group);
      if (fields === undefined) {
        fields = new arrow.Schema(fieldsOf(arrow, schema));
        writer.reset(sink, fields);
      }
      return { columns: schema, fields };
    };
    for await (const group of inGroups('writeArrow', rows, settings.batchSize)) {
      const started = begin(group);
      const values = group.map((row) => toParquetValues(row, started.columns, ++count));
      const columns = started.fields.fields.map((field, i) =>
        arrow.vectorFromArray(
          values.map((row) => row[i]),
          field.type as DataType,
        ),
      );
      const struct = arrow.makeData({
        type: new arrow.Struct(started.fields.fields),
        length: group.length,
        nullCount: 0,
        children: columns.map((column) => column.data[0]!),
      });
      writer.write(new arrow.RecordBatch(started.fields, struct));
      yield* taken();
    }
    if (schema === undefined) throw new DataOptionError('writeArrow', 'there are no rows; give a "schema".');
    begin([]);
    writer.finish();
    yield* taken();
  }
  const bytes = await writeFileAtomically(path, chunks());
  return { rows: count, bytes };
}

/** A sink that gives up what was written to it, where the package's own holds all until somebody reads. */
function collecting({ AsyncByteQueue }: Arrow) {
  let pieces: Uint8Array[] = [];
  class Sink extends AsyncByteQueue {
    override write(value: Uint8Array): void {
      // The bytes of a column may be written anew before they are taken.
      if (value.byteLength > 0) pieces.push(Uint8Array.from(value));
    }
  }
  const taken = (): Uint8Array[] => {
    const all = pieces;
    pieces = [];
    return all;
  };
  return { sink: new Sink(), taken };
}

const fieldsOf = (arrow: Arrow, schema: ParquetSchema) =>
  Object.entries(schema).map(([name, type]) => new arrow.Field(name, arrowType(arrow, type), true));

function arrowType(arrow: Arrow, type: ParquetColumnType): DataType {
  if (typeof type === 'object') {
    if ('list' in type) return new arrow.List(new arrow.Field('item', arrowType(arrow, type.list), true));
    return new arrow.Struct(fieldsOf(arrow, type.struct));
  }
  switch (type) {
    case 'string':
      return new arrow.Utf8();
    case 'int64':
      return new arrow.Int64();
    case 'double':
      return new arrow.Float64();
    case 'boolean':
      return new arrow.Bool();
    case 'timestamp':
      return new arrow.Timestamp(arrow.TimeUnit.MILLISECOND, 'UTC');
    case 'binary':
      return new arrow.Binary();
  }
}
