import {
  type DecisiveSettings,
  isPosttrainError,
  type OnProgress,
  OptionError,
  showValue,
} from '@posttrain/interfaces';
import { contentHash, rowsIdentity } from './identity.js';
import { isRowSource } from './row-source.js';
import { type RunOptions, warn } from './run-options.js';

/** Rows as a trainer takes them: a list, or anything to iterate over, such as what `readRows` gives. */
export type Rows<Row> = Iterable<Row> | AsyncIterable<Row>;

/** A row of a file, whose columns no type knows: it is checked when it is read. */
export type UncheckedRow = Readonly<Record<string, unknown>>;
/** Such rows as `readRows` of `@posttrain/data` gives them. */
export type UncheckedRows = AsyncIterable<UncheckedRow>;

/** What the option `rows` must be. */
export const ROWS = 'a list of rows, or an iterable or async iterable of rows';

/** A file or a data set that was named and not read, or a source where rows are read whole. */
export const rowsHint = (value: unknown): string | undefined => {
  if (isRowSource(value)) {
    return 'It is a source, asked anew for every update; here rows are read whole: readRows(file), of @posttrain/data, or a list.';
  }
  if (value instanceof Promise) return 'Await it first.';
  if (typeof value === 'function') return 'Call it.';
  if (typeof value !== 'string') return undefined;
  return `Read the file: rows: readRows(${showValue(value)}), of @posttrain/data.`;
};

/** Whether a value is rows: a list, or an iterable or async iterable. */
export const isRows = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);

export interface CollectedRows<Row> {
  readonly rows: readonly Row[];
  /** What stands for all that is in them, in order. */
  readonly identity: DecisiveSettings;
}

/** How many rows are read between two reports. */
const REPORT_EVERY = 10_000;

/**
 * Materialises all rows, in order, before the first step, since every epoch has a permutation of its own. Warns of rows
 * that are there several times.
 *
 * @param option the one that the rows were given as, for errors
 * @throws OptionError when there are none, or one is no object
 */
export async function collectRows<Row>(
  where: string,
  rows: Rows<Row> | UncheckedRows,
  options: { readonly onProgress?: OnProgress } & Pick<RunOptions, 'onWarning'> = {},
  option: 'rows' | 'evaluationRows' = 'rows',
): Promise<CollectedRows<Row>> {
  const wrong = (problem: string, cause?: unknown) =>
    Object.assign(new OptionError('INVALID_OPTION', where, option, `${option}: ${problem}`), cause ? { cause } : {});
  const all: Row[] = [];
  const digests: string[] = [];
  const read = (cause: unknown): unknown => {
    // A reader's own error says where in the file it is.
    if (isPosttrainError(cause)) return cause;
    const message = cause instanceof Error ? cause.message : showValue(cause);
    return wrong(`what gives them failed at row ${all.length}: ${message}`, cause);
  };
  for await (const row of saying(read, rows as Rows<Row>)) {
    const at = `row ${all.length}`;
    if (typeof row !== 'object' || row === null || Array.isArray(row)) {
      throw wrong(`${at} is ${showValue(row)}; every row must be an object.`);
    }
    try {
      digests.push(contentHash([row]));
    } catch (cause) {
      throw wrong(`${at} cannot be written as JSON: ${(cause as Error).message}`, cause);
    }
    all.push(row);
    if (all.length % REPORT_EVERY === 0)
      options.onProgress?.({ stage: `${where}: reading ${option}`, done: all.length });
  }
  if (all.length === 0) throw wrong(`there are no rows to ${option === 'rows' ? 'train on' : 'evaluate'}.`);
  const duplicates = all.length - new Set(digests).size;
  if (duplicates > 0) {
    warn(
      options,
      `${where}: ${duplicates} of ${all.length} ${option} are there already, with the same columns; they count more.`,
    );
  }
  return { rows: all, identity: rowsIdentity(digests) };
}

/** The same rows, where an error of what gives them is replaced by what `about` makes of it. */
async function* saying<Row>(about: (cause: unknown) => unknown, rows: Rows<Row>): AsyncGenerator<Row> {
  try {
    yield* rows as AsyncIterable<Row>;
  } catch (cause) {
    throw about(cause);
  }
}
