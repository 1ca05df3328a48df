import type { Key } from '@posttrain/core-tensor';
import { type DecisiveSettings, OptionError, showValue } from '@posttrain/interfaces';

/** What a source of rows is asked for. */
export interface RowRequest {
  /** How many rows. */
  readonly count: number;
  /** Training step, counted from 0. */
  readonly step: number;
  /** The random numbers of this request. */
  readonly key: Key;
}

/**
 * Online sampling of rows, asked for every step: a curriculum, replay of what was learnt before, generated problems. It
 * is a function of the request, its settings and its state, so that a resumed run asks for the same rows.
 */
export interface RowSource<Row = unknown> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Exactly `count` rows. */
  next(request: RowRequest): readonly SourcedRow<Row>[] | Promise<readonly SourcedRow<Row>[]>;
  /** All that the next request depends on: JSON, typed arrays, tensors; not changed afterwards. */
  state?(): unknown;
  /** Restores what `state` gave. */
  load?(state: unknown): void | Promise<void>;
}

/** A row that a source gave. */
export interface SourcedRow<Row = unknown> {
  readonly row: Row;
}

/** Whether a value is a source of rows, and no list or iterator of them. */
export const isRowSource = (value: unknown): value is RowSource =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<RowSource>).next === 'function' &&
  !(Symbol.iterator in value || Symbol.asyncIterator in value);

/** The rows that a source gives for a request. @throws OptionError where these are not as many as were asked for */
export async function rowsOfSource<Sourced extends SourcedRow>(
  where: string,
  source: Pick<RowSource, 'name'> & {
    next(request: RowRequest): readonly Sourced[] | Promise<readonly Sourced[]>;
  },
  request: RowRequest,
): Promise<readonly Sourced[]> {
  const given: unknown = await source.next(request);
  if (Array.isArray(given) && given.length === request.count) return given;
  const gave = Array.isArray(given) ? `${given.length} rows` : showValue(given);
  const problem = `rows: the source ${source.name} gave ${gave} where ${request.count} were asked for.`;
  throw new OptionError('INVALID_OPTION', where, 'rows', problem);
}
