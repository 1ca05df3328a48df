import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { custom, type Given, options } from '@posttrain/interfaces';
import { DataFileError, DataOptionError, messageOf } from '../errors.js';
import { optionalPackage } from '../optional-package.js';
import { isPlainObject, type Row, type RowSource } from '../rows.js';
import { writeParquet } from './parquet/write-parquet.js';

const readSqlOptions = options('readSql', {
  /** A file of a DuckDB database, which is opened to be read. Default: none, for queries over files. */
  database: custom<string>()('the path of a file', (value) => typeof value === 'string' && value !== '', {
    optional: true,
  }),
  /** Values of `$name` in the query. */
  parameters: custom<Readonly<Record<string, unknown>>>()('an object of values by name', isPlainObject, {
    optional: true,
  }),
});
/** Options of `readSql`. */
export type ReadSqlOptions = Given<typeof readSqlOptions>;

const duckdb = (where: string) => optionalPackage(where, '@duckdb/node-api', () => import('@duckdb/node-api'));

/**
 * Rows of an SQL query, streamed, over Parquet, CSV and JSON files and DuckDB databases: `readSql("SELECT text FROM 'data/*.parquet' WHERE length(text) > 200")`.
 * Integers are numbers where that is exact, else bigints; dates and timestamps Dates; lists arrays, structs objects, blobs bytes; decimals and times texts, as are dates that no Date can hold (infinity). Needs the
 * package `@duckdb/node-api`, whose extensions are neither installed nor loaded.
 *
 * @throws OptionError; DataOptionError where the package is not installed; DataFileError for what DuckDB refuses
 */
export async function* readSql(sql: string, given: ReadSqlOptions = {}): AsyncGenerator<Row> {
  const { database, parameters } = readSqlOptions.read(given);
  const api = await duckdb('readSql');
  const where = database ?? 'SQL query';
  const { connection, close } = await open(api, database, where, true);
  try {
    const result = await attempt(where, () => connection.stream(sql, parameters as never));
    const names = result.deduplicatedColumnNames();
    for (;;) {
      const chunk = await attempt(where, () => result.fetchChunk());
      if (chunk === null || chunk.rowCount === 0) return;
      for (const values of chunk.getRows()) {
        yield Object.fromEntries(names.map((name, i) => [name, plain(api, values[i])]));
      }
    }
  } finally {
    close();
  }
}

/**
 * Writes rows as a table of a DuckDB database, which is made where it is not there; a table of that name is replaced, whole or not at all. Types are those of `writeParquet`,
 * through a temporary file of which the rows go.
 *
 * @throws DataOptionError, DataFileError, RowError
 */
export async function writeSql(
  database: string,
  table: string,
  rows: RowSource<object>,
): Promise<{ readonly rows: number }> {
  if (!/^[A-Za-z_]\w*$/.test(table)) {
    throw new DataOptionError(
      'writeSql',
      `"${table}" cannot name a table: letters, digits and "_" only, a letter first.`,
    );
  }
  const api = await duckdb('writeSql');
  const folder = await mkdtemp(join(tmpdir(), 'posttrain-sql-'));
  try {
    const file = join(folder, 'rows.parquet');
    const { rows: count } = await writeParquet(file, rows);
    const { connection, close } = await open(api, database, database, false);
    try {
      await attempt(database, () =>
        connection.run(`CREATE OR REPLACE TABLE "${table}" AS SELECT * FROM read_parquet($file)`, { file }),
      );
    } finally {
      close();
    }
    return { rows: count };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type DuckDb = Awaited<ReturnType<typeof duckdb>>;

async function open(api: DuckDb, database: string | undefined, where: string, readOnly: boolean) {
  const configuration = {
    ...(database !== undefined && readOnly && { access_mode: 'READ_ONLY' }),
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  };
  const instance = await attempt(where, () => api.DuckDBInstance.create(database ?? ':memory:', configuration));
  const connection = await attempt(where, () => instance.connect());
  const close = (): void => {
    connection.closeSync();
    instance.closeSync();
  };
  return { connection, close };
}

async function attempt<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw new DataFileError({ path }, messageOf(cause), { cause });
  }
}

const INFINITE_DAYS = 2 ** 31 - 1;

/** A Date, or the text of what none can hold, such as infinity. */
function dateOr(value: object, milliseconds: number): Date | string {
  const made = new Date(milliseconds);
  return Number.isNaN(made.getTime()) ? String(value) : made;
}

/** A value of DuckDB as a plain one. */
function plain(api: DuckDb, value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof api.DuckDBListValue || value instanceof api.DuckDBArrayValue)
    return value.items.map((item) => plain(api, item));
  if (value instanceof api.DuckDBStructValue) {
    return Object.fromEntries(Object.entries(value.entries).map(([name, entry]) => [name, plain(api, entry)]));
  }
  if (value instanceof api.DuckDBMapValue) {
    return value.entries.map(({ key, value: entry }) => ({ key: plain(api, key), value: plain(api, entry) }));
  }
  if (value instanceof api.DuckDBBlobValue) return Uint8Array.from(value.bytes);
  // Which the package writes as a day of a far year.
  if (value instanceof api.DuckDBDateValue && Math.abs(value.days) === INFINITE_DAYS)
    return value.days < 0 ? '-infinity' : 'infinity';
  if (value instanceof api.DuckDBDateValue) return dateOr(value, value.days * 86_400_000);
  if (value instanceof api.DuckDBTimestampValue || value instanceof api.DuckDBTimestampTZValue) {
    return value.micros % 1000n === 0n ? dateOr(value, Number(value.micros / 1000n)) : String(value);
  }
  return String(value);
}
