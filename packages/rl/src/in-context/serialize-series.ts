import { type Given, integer, number, OptionError, options } from '@posttrain/interfaces';
import { assertSeries, SeriesError } from './series-error.js';

/** What values are written by, in options that include it. */
export const rescalingShape = {
  /** Digits of a number, the first of them before the (unwritten) point. Default 3: 0.00 to 9.99. */
  digits: integer({ default: 3, min: 1, max: 4 }),
  /** What the range of the series becomes. Default 7, as the authors have it: room for what goes beyond. */
  rescaleFactor: number({ default: 7, above: 0, max: 10 }),
  /** What the least value of the series becomes. Default 1.5. */
  upShift: number({ default: 1.5, min: 0, below: 10 }),
};

const serializeOptions = options('serializeSeries', rescalingShape);
/** Options of `serializeSeries`. */
export type SerializeSeriesOptions = Given<typeof serializeOptions>;

/** A series as a language model reads it, and the way back. */
export interface SerializedSeries {
  /** The numbers as `digits` digits each, without a point: 4.37 is [4, 3, 7] of three. */
  readonly digits: readonly (readonly number[])[];
  /** From the values of the series to [0, 10). A value beyond is at its end when it is written. */
  rescale(value: number): number;
  /** Back from [0, 10). */
  restore(rescaled: number): number;
}

/**
 * A series of numbers as digits (LLMTime, arXiv 2310.07820; as in DICL, arXiv 2410.11711): x ↦ (x − min) / (max − min) · `rescaleFactor` + `upShift`,
 * of which the first `digits` digits are kept and the rest is cut off. `restore` of the middle of the cell that the digits name is within half a
 * cell, (max − min) / `rescaleFactor` · 10^(1 − digits) / 2, of the value. A series that does not move is written as `upShift`.
 *
 * @param scaleBy whose least and greatest value the scale has. Default: those of the series
 * @throws OptionError; SeriesError for a value that is not finite, or a scale by nothing
 */
export function serializeSeries(
  series: ArrayLike<number>,
  given: SerializeSeriesOptions = {},
  scaleBy: ArrayLike<number> = series,
): SerializedSeries {
  const { digits, rescaleFactor, upShift } = serializeOptions.read(given);
  if (rescaleFactor + upShift > 10) {
    const problem = `rescaleFactor ${rescaleFactor} and upShift ${upShift} are more than 10 together, which is all that the digits hold.`;
    throw new OptionError('INVALID_OPTION', 'serializeSeries', 'rescaleFactor', problem);
  }
  assertSeries('serializeSeries', series);
  assertSeries('serializeSeries, scaleBy', scaleBy);
  if (scaleBy.length === 0) throw new SeriesError('serializeSeries', 'there is no value to scale by');
  const all = Array.from(scaleBy);
  const [least, most] = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
  const scale = most > least ? rescaleFactor / (most - least) : 0;
  const rescale = (value: number) => (value - least) * scale + upShift;
  return {
    digits: Array.from(series, (value) => digitsOf(rescale(value), digits)),
    rescale,
    restore: (rescaled) => (scale === 0 ? least : (rescaled - upShift) / scale + least),
  };
}

/** How far below the next digit a number may be and still count as it: what rounding of the rescaling takes away. */
const ROUNDING = 1e-9;

/** The first `count` digits of a number from 0 to 10; what is beyond is the last cell on its side. */
export function digitsOf(value: number, count: number): number[] {
  const cells = 10 ** count;
  const cell = Math.min(cells - 1, Math.max(0, Math.floor((value * cells) / 10 + ROUNDING)));
  return [...String(cell).padStart(count, '0')].map(Number);
}

/** The middle of the cell of [0, 10) that digits name. */
export const valueOfDigits = (digits: readonly number[]): number =>
  (digits.reduce((sum, digit) => 10 * sum + digit, 0) + 0.5) / 10 ** (digits.length - 1);
