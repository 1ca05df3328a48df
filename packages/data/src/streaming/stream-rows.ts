import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { boolean, type DecisiveSettings, type Given, integer, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { DataFileError } from '../errors.js';
import { FIRST_LINE, type LinePlace, maxRowBytesShape } from '../io/byte-source.js';
import { dataFiles, namesOf } from '../io/data-files.js';
import { readRows } from '../io/files.js';
import { readJsonlFrom } from '../io/jsonl.js';
import type { Row } from '../rows.js';
import { canonicalJson } from '../stable-hash.js';

const streamRowsOptions = options('streamRows', {
  /** Rows that are in memory at a time, and shuffled among each other. Default 1000. */
  bufferSize: integer({ default: 1000, min: 1 }),
  /** Shuffle the files of every pass, and the rows of every buffer. Default true. */
  shuffle: boolean({ default: true }),
  /** Of the shuffling. Default 42. */
  seed: integer({ default: 42, min: 0 }),
  /** Begin again after the last row. Default true; false: asking for more is an error. */
  repeat: boolean({ default: true }),
  ...maxRowBytesShape,
});
/** Options of `streamRows`. */
export type StreamRowsOptions = Given<typeof streamRowsOptions>;

/** Where a stream is: all of it is in a checkpoint. */
export interface StreamState {
  /** Passes over all files that are done. */
  readonly epoch: number;
  /** Where the buffer that is being given began: the place of the file in the pass, rows of it before, and of JSON Lines where to seek. */
  readonly file: number;
  readonly row: number;
  readonly place: LinePlace;
  /** Rows of the buffer that have been given. */
  readonly used: number;
  /** Of the rows of the buffer, where some have been given: a file that was edited since gives others. */
  readonly digest?: string;
}

/** A source of rows for a run, from files that need not fit memory. */
export interface StreamedRows {
  readonly name: string;
  readonly settings: DecisiveSettings;
  next(request: { readonly count: number }): Promise<readonly { readonly row: Row }[]>;
  state(): StreamState;
  load(state: unknown): void;
  /** Closes what is open. A stream that is asked again goes on where it was. */
  close(): Promise<void>;
}

interface Buffer {
  readonly rows: readonly Row[];
  /** Where the next one begins; undefined where the pass ends with this one. */
  readonly next: Omit<StreamState, 'epoch' | 'used' | 'digest'> | undefined;
}

const digestOf = ({ rows }: Buffer): string => {
  const hash = createHash('sha256');
  for (const row of rows) hash.update(`${canonicalJson(row)}\n`);
  return hash.digest('hex').slice(0, 16);
};

const BEGINNING = { file: 0, row: 0, place: FIRST_LINE } as const;

/**
 * Streams the rows of a data set that need not fit memory, as the option `rows` of `sft` and of every trainer that takes a source of
 * rows: `bufferSize` rows are in memory at a time. A run that is resumed goes on at its row; in JSON Lines files the place is
 * sought, other files (CSV, Parquet, all that is compressed) are read up to it.
 *
 * Shuffled are the files of every pass and the rows of every buffer, which is less than a shuffle of all: rows that are near in a file
 * are near in the run. Shuffle a sorted file beforehand, or raise `bufferSize`.
 *
 * @param source a file, a folder or a glob, as `dataFiles` takes it; or a list of files
 * @throws OptionError; DataFileError, also where there is no row, where `repeat` is off and all rows have been given, and where a stream that
 *   goes on finds other rows than it had given of
 */
export async function streamRows(
  source: string | readonly string[],
  given: StreamRowsOptions = {},
): Promise<StreamedRows> {
  const { bufferSize, shuffle, seed, repeat, maxRowBytes } = streamRowsOptions.read(given);
  const files = typeof source === 'string' ? await dataFiles(source) : [...source];
  const base = typeof source === 'string' ? source : '';
  const sizes = await Promise.all(files.map(async (path) => await sizeOf(path)));
  const names = namesOf(files, base);

  /** A reader that is not sought but read on, and the row that it gives next. */
  let open: { readonly path: string; row: number; readonly rows: AsyncGenerator<Row> } | undefined;
  const close = async () => {
    const closing = open;
    open = undefined;
    await closing?.rows.return(undefined);
  };
  async function* rowsFrom(path: string, row: number, place: LinePlace): AsyncGenerator<{ row: Row; next: LinePlace }> {
    if (/\.(jsonl|ndjson)$/i.test(path)) {
      yield* readJsonlFrom(path, place, maxRowBytes);
      return;
    }
    if (open?.path !== path || open.row !== row) {
      await close();
      open = { path, row: 0, rows: readRows(path) };
      while (open.row < row && !(await open.rows.next()).done) open.row++;
    }
    for (;;) {
      const reading = open;
      const { done, value } = await reading.rows.next();
      if (done) return close();
      reading.row++;
      yield { row: value, next: FIRST_LINE };
    }
  }

  let at: StreamState = { epoch: 0, ...BEGINNING, used: 0 };
  let buffer: Buffer | undefined;
  /** Of the buffer, once somebody has asked. */
  let digest: string | undefined;

  /** The buffer again that a state was in the middle of. */
  const filled = async (): Promise<Buffer> => {
    const found = await fill(at);
    if (digest === undefined || digestOf(found) === digest) return found;
    const problem =
      'other rows are there than when the state was saved: a file was changed. Put it back, or begin anew.';
    throw new DataFileError({ path: base || names.join(', ') }, problem);
  };

  async function fill({ epoch, file: first, row: firstRow, place: firstPlace }: StreamState): Promise<Buffer> {
    const rows: Row[] = [];
    const order = shuffle ? createRandom(seed, 'files', epoch).shuffled(files) : files;
    let [row, place] = [firstRow, firstPlace];
    for (let file = first; file < files.length; file++) {
      for await (const one of rowsFrom(order[file]!, row, place)) {
        rows.push(one.row);
        [row, place] = [row + 1, one.next];
        if (rows.length === bufferSize)
          return { rows: mixed(rows, epoch, first, firstRow), next: { file, row, place } };
      }
      [row, place] = [0, FIRST_LINE];
    }
    return { rows: mixed(rows, epoch, first, firstRow), next: undefined };
  }

  const mixed = (rows: readonly Row[], epoch: number, file: number, row: number): readonly Row[] =>
    shuffle ? createRandom(seed, 'rows', epoch, file, row).shuffled(rows) : rows;

  return {
    name: 'stream',
    settings: {
      ...(streamRowsOptions.settings(given) as DecisiveSettings),
      files: names.map((name, i) => `${name} (${sizes[i]} bytes)`).join(', '),
    },
    async next({ count }) {
      const given: { row: Row }[] = [];
      while (given.length < count) {
        buffer ??= await filled();
        const rows = buffer.rows.slice(at.used, at.used + count - given.length);
        given.push(...rows.map((row) => ({ row })));
        at = { ...at, used: at.used + rows.length };
        if (at.used < buffer.rows.length) continue;
        const isEmpty = at.file === 0 && at.row === 0 && buffer.rows.length === 0;
        if (isEmpty) throw new DataFileError({ path: base || names.join(', ') }, 'there are no rows.');
        if (buffer.next) at = { ...at, ...buffer.next, used: 0 };
        else if (repeat) at = { epoch: at.epoch + 1, ...BEGINNING, used: 0 };
        else if (given.length < count) {
          const problem = `all rows have been given, and ${count - given.length} more are asked for; lower the number of steps, or leave repeat on.`;
          throw new DataFileError({ path: base || names.join(', ') }, problem);
        } else break;
        [buffer, digest] = [undefined, undefined];
      }
      return given;
    },
    state() {
      if (buffer && at.used > 0) digest ??= digestOf(buffer);
      return { ...at, ...(digest !== undefined && { digest }) };
    },
    load(state) {
      ({ digest, ...at } = state as StreamState);
      buffer = undefined;
    },
    close,
  };
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw new DataFileError({ path }, 'cannot be read.', { cause });
  }
}
