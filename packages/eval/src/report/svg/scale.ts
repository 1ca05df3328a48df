import { EvaluationError } from '../../errors.js';

/** Maps values to positions, with the values to be written on the axis. */
export interface Scale {
  readonly ticks: readonly number[];
  readonly low: number;
  readonly high: number;
  position(value: number): number;
}

/** A linear scale from `from` to `to`; its ends are ticks in steps of 1, 2 or 5 · 10^n unless `tight`. */
export function linearScale(
  values: readonly number[],
  from: number,
  to: number,
  options: { tight?: boolean; count?: number } = {},
): Scale {
  let low = Math.min(...bounds(values));
  let high = Math.max(...bounds(values));
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low <= Math.max(1e-9 * size, 1e-100)) {
    const margin = size > 1e-99 ? size / 10 : 1;
    low -= margin;
    high += margin;
  }
  const step = niceStep((high - low) / (options.count ?? 5));
  if (!options.tight) {
    low = Math.floor(low / step + 1e-9) * step;
    high = Math.ceil(high / step - 1e-9) * step;
  }
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    ticks.push(Number((i * step).toPrecision(12)));
  return { ticks, low, high, position: (value) => from + ((value - low) / (high - low)) * (to - from) };
}

/** A logarithmic scale; ticks are powers of 2 when all values are, else 1, 2 and 5 · 10^n. */
export function logScale(values: readonly number[], from: number, to: number): Scale {
  const [low, high] = bounds(values);
  if (!(low > 0)) throw new EvaluationError('BAD_PLOT', `A logarithmic axis needs values above 0, not ${low}.`);
  const powersOfTwo = values.every((value) => Number.isInteger(Math.log2(value)));
  const candidates: number[] = [];
  if (powersOfTwo) for (let e = Math.log2(low); e <= Math.log2(high); e++) candidates.push(2 ** e);
  else {
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
      candidates.push(10 ** e, 2 * 10 ** e, 5 * 10 ** e);
  }
  const inside = candidates.filter((tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
  const every = Math.ceil(inside.length / 7);
  const span = Math.log(high / low) || 1;
  const start = high > low ? from : (from + to) / 2;
  return {
    ticks: inside.filter((_, i) => i % every === 0),
    low,
    high,
    position: (value) => start + (Math.log(value / low) / span) * (to - from),
  };
}

function bounds(values: readonly number[]): [low: number, high: number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const fraction = rough / power;
  return (fraction <= 1 ? 1 : fraction <= 2 ? 2 : fraction <= 5 ? 5 : 10) * power;
}
