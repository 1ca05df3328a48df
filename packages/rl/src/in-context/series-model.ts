import type { CellMasses } from './series-distribution.js';

/** A series as digits, of which the next number is asked. */
export type SeriesDigits = readonly (readonly number[])[];

/** What is asked about every series. */
export interface SeriesRequest {
  /** Digits of a number. */
  readonly digits: number;
  /** After every number, or after the last only. */
  readonly after: 'every' | 'last';
}

/** Anything that says how a series of numbers goes on: a language model (`languageSeriesModel`), a table in a test. */
export interface SeriesModel {
  readonly name: string;
  /** For each series, in their order, the distribution of the next number after each of its numbers (or after the last: one). */
  predict(series: readonly SeriesDigits[], request: SeriesRequest): Promise<CellMasses[][]>;
}
