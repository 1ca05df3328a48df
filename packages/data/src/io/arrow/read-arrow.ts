import { type FileHandle, open } from 'node:fs/promises';
import type { RecordBatch, RecordBatchReader } from 'apache-arrow';
import { assertPath, DataFileError, messageOf } from '../../errors.js';
import { optionalPackage } from '../../optional-package.js';
import type { Row } from '../../rows.js';
import { assertNotCompressed } from '../compression.js';
import { accessor } from './arrow-values.js';
import { registerCodecs } from './codecs.js';

type Arrow = typeof import('apache-arrow');

/** The package that reads and writes Arrow. */
export const arrowPackage = (where: string): Promise<Arrow> =>
  optionalPackage(where, 'apache-arrow', () => import('apache-arrow'));

/**
 * Rows of an Arrow file (`.arrow`, `.feather` of version 2) or stream (what `datasets` keeps in its cache), one record batch in memory at a
 * time; buffers may be compressed with LZ4 or zstd. Values are those of `readParquet`: nothing is rounded. Unions, durations and intervals
 * are refused by name. Needs the package `apache-arrow`.
 *
 * @throws DataFileError; DataOptionError where the package is not installed
 */
export async function* readArrow(path: string): AsyncGenerator<Row> {
  assertPath(path);
  assertNotCompressed(path, 'Arrow');
  const arrow = await arrowPackage('readArrow');
  await registerCodecs(arrow);
  let handle: FileHandle | undefined;
  let number = 0;
  try {
    handle = await open(path, 'r');
    const magic = await magicOf(handle);
    if (magic === 'FEA1') throw new Error('Feather version 1 is not supported; write version 2');
    if (magic !== 'ARRO' && magic !== '\xff\xff\xff\xff')
      throw new Error('it begins neither as a file nor as a stream');
    // Its type has the readers of what is given at once only.
    const reader = (await arrow.RecordBatchReader.from(handle as never)) as unknown as RecordBatchReader &
      AsyncIterable<RecordBatch>;
    for await (const batch of reader) {
      number++;
      const names = batch.schema.fields.map(({ name }) => name);
      const twice = names.find((name, i) => names.indexOf(name) < i);
      if (twice !== undefined) throw new Error(`the column "${twice}" is there twice`);
      const columns = batch.schema.fields.map(
        (field, i) => [field.name, accessor(arrow, batch.getChildAt(i)!)] as const,
      );
      for (let row = 0; row < batch.numRows; row++)
        yield Object.fromEntries(columns.map(([name, read]) => [name, read(row)]));
    }
  } catch (error) {
    if (error instanceof DataFileError) throw error;
    const where = number === 0 ? '' : ` (record batch ${number})`;
    throw new DataFileError({ path }, `cannot be read as Arrow${where}: ${messageOf(error)}`, { cause: error });
  } finally {
    await handle?.close().catch(() => undefined);
  }
}

async function magicOf(handle: FileHandle): Promise<string> {
  // What a short file lacks stays 0.
  const { buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0);
  return buffer.toString('latin1');
}
