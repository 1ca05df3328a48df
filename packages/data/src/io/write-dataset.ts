import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Given, integer, options, text } from '@posttrain/interfaces';
import { makeFolder, temporaryName } from '@posttrain/interfaces/node';
import { assertPath, DataFileError, DataOptionError, messageOf } from '../errors.js';
import { assertRowSource, eachRow, isPlainObject, type RowSource } from '../rows.js';
import { writeFileAtomically } from './atomic-file.js';
import { datasetCard, type WrittenSplit } from './dataset-card.js';
import { writeParquet } from './parquet/write-parquet.js';
import { inferParquetSchema, type ParquetSchema } from './parquet/write-schema.js';

const writeDatasetOptions = options('writeDataset', {
  /** Most rows of a file. Default 100 000. */
  rowsPerFile: integer({ default: 100_000, min: 1 }),
  /** Name of the configuration. Default `default`. */
  config: text({ default: 'default' }),
});
/** Options of `writeDataset`. */
export type WriteDatasetOptions = Given<typeof writeDatasetOptions>;

/**
 * Writes a folder that `datasets.load_dataset(folder)`, the hub and `readDataset` read: `data/SPLIT-00000-of-00001.parquet` for each split, and
 * last a README.md whose front matter names the files and the types of columns. All splits have the columns of the first. Where it fails,
 * there is no README.md and no `data`. A folder that has one of them already is refused.
 *
 * @param splits name of a split to its rows: `{ train: rows, test: others }`
 * @throws OptionError, DataOptionError, DataFileError; RowError for a row with other columns
 */
export async function writeDataset(
  folder: string,
  splits: Readonly<Record<string, RowSource<object>>>,
  given: WriteDatasetOptions = {},
): Promise<readonly WrittenSplit[]> {
  assertPath(folder);
  const { rowsPerFile, config } = writeDatasetOptions.read(given);
  assertSplits(splits);
  const there = await readdir(folder).catch(() => [] as string[]);
  const taken = there.find((name) => name === 'README.md' || name === 'data');
  if (taken !== undefined)
    throw new DataFileError({ path: join(folder, taken) }, 'is there already; give another folder.');
  const data = join(folder, 'data');
  await makeFolder(folder);
  // Not one that another has just made: it goes where this fails.
  await mkdir(data).catch((cause: unknown) => {
    throw new DataFileError({ path: data }, `cannot be made: ${messageOf(cause)}`, { cause });
  });
  try {
    const { written, schema } = await writeSplits(data, splits, rowsPerFile);
    await writeFileAtomically(join(folder, 'README.md'), [datasetCard(config, schema, written)]);
    return written;
  } catch (error) {
    await rm(data, { recursive: true, force: true });
    throw error;
  }
}

async function writeSplits(data: string, splits: Readonly<Record<string, RowSource<object>>>, rowsPerFile: number) {
  const written: WrittenSplit[] = [];
  let schema: ParquetSchema | undefined;
  for (const [name, rows] of Object.entries(splits)) {
    const temporary = temporaryName(data, name);
    await makeFolder(temporary);
    try {
      const files: { readonly rows: number; readonly bytes: number }[] = [];
      for await (const part of parts(rows, rowsPerFile)) {
        schema ??= inferParquetSchema(part.first);
        files.push(await writeParquet(join(temporary, `${files.length}.parquet`), part.rows(), { schema }));
      }
      if (files.length === 0) throw new DataOptionError('writeDataset', `the split "${name}" has no rows.`);
      for (const i of files.keys()) {
        const shard = `${name}-${five(i)}-of-${five(files.length)}.parquet`;
        await rename(join(temporary, `${i}.parquet`), join(data, shard));
      }
      const sum = (of: 'rows' | 'bytes') => files.reduce((total, file) => total + file[of], 0);
      written.push({ name, rows: sum('rows'), bytes: sum('bytes') });
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
  return { written, schema: schema! };
}

const five = (number: number): string => String(number).padStart(5, '0');

function assertSplits(splits: unknown): void {
  if (!isPlainObject(splits) || Object.keys(splits).length === 0) {
    throw new DataOptionError('writeDataset', 'splits must be an object of at least one name and its rows.');
  }
  for (const [name, rows] of Object.entries(splits)) {
    if (!/^\w+(?:\.\w+)*$/.test(name)) {
      throw new DataOptionError('writeDataset', `"${name}" cannot name a split: letters, digits, "_" and "." only.`);
    }
    assertRowSource(`writeDataset, split "${name}"`, rows);
  }
}

/** Rows that the types of the columns are taken from. */
const LOOKED_AT = 10_000;

/** Rows in parts of at most `size`, each with its first ones. */
async function* parts(rows: RowSource<object>, size: number) {
  const source = eachRow('writeDataset', rows);
  for (;;) {
    const first: object[] = [];
    while (first.length < Math.min(size, LOOKED_AT)) {
      const { done, value } = await source.next();
      if (done) break;
      first.push(value);
    }
    if (first.length === 0) return;
    yield {
      first,
      async *rows(): AsyncGenerator<object> {
        yield* first;
        for (let given = first.length; given < size; given++) {
          const { done, value } = await source.next();
          if (done) return;
          yield value;
        }
      },
    };
  }
}
