import { ShapeError, type Tensor } from '@posttrain/core-tensor';

/** Options of `suffixSums` and `prefixSums`. */
export interface ScanOptions {
  /** γ: an entry k further away counts γᵏ. Default 1. */
  readonly discount?: number;
  /** Leave the entry itself out. Default false. */
  readonly exclusive?: boolean;
}

/**
 * Σ_{t' ≥ t} γ^(t' - t) x_t' over the sequence that entry t is of: returns, the log-ratios that are still to come. A
 * row may pack several sequences; none sees another.
 *
 * Differentiable, in ⌈log₂ t⌉ additions of the whole grid (Hillis and Steele 1986), which are the same numbers
 * however a sequence is packed.
 *
 * @param x [b, s - 1], one a prediction, or [b, s], one a token
 * @param segments int32 [b, s], of `LossInputs` or a pass: which sequence of its row a token is of, from 1; 0 on
 * padding. A prediction is
 * of the sequence of both of its tokens; where a sequence follows another, and on padding, the sum is 0, and x counts
 * for none
 * @throws ShapeError where the two do not fit
 */
export const suffixSums = (x: Tensor, segments: Tensor, options: ScanOptions = {}): Tensor =>
  scan('suffixSums', x, segments, options, (grid, by) => grid.slice(1, by).pad(1, 0, by));

/** Σ_{t' ≤ t} γ^(t - t') x_t' over the sequence that entry t is of; otherwise as `suffixSums`. */
export const prefixSums = (x: Tensor, segments: Tensor, options: ScanOptions = {}): Tensor =>
  scan('prefixSums', x, segments, options, (grid, by) => grid.slice(1, 0, grid.shape[1]! - by).pad(1, by, 0));

/**
 * x of the next entry behind t, in the same sequence, at which `mask` is 1; 0 where there is none: what the next
 * action's state is worth, whatever stands between. Shapes and segments are those of `suffixSums`.
 *
 * @param mask of the shape of x, 0 or 1; no gradient
 */
export function nextOf(x: Tensor, mask: Tensor, segments: Tensor): Tensor {
  const of = segmentsOf('nextOf', x, segments);
  const behind = (grid: Tensor, by: number) => grid.slice(1, by).pad(1, 0, by);
  const sees = (by: number) => of.equal(behind(of, by)).cast('float32');
  const own = mask.mul(of.greater(0).cast('float32'));
  // The first of what is behind: those further away count where nothing was found.
  let [found, values] = [behind(own, 1).mul(sees(1)), behind(x.mul(own), 1).mul(sees(1))];
  for (let by = 1; by < x.shape[1]!; by *= 2) {
    const missing = sees(by).mul(found.neg().add(1));
    values = values.add(behind(values, by).mul(missing));
    found = found.add(behind(found, by).mul(missing));
  }
  return values;
}

function scan(
  name: string,
  x: Tensor,
  segments: Tensor,
  { discount = 1, exclusive = false }: ScanOptions,
  /** The entries that are `by` further away, in the places of those that look at them. */
  from: (grid: Tensor, by: number) => Tensor,
): Tensor {
  const of = segmentsOf(name, x, segments);
  const sees = (by: number) => of.equal(from(of, by)).cast('float32');
  let sums = x.mul(of.greater(0).cast('float32'));
  for (let by = 1; by < x.shape[1]!; by *= 2) {
    sums = sums.add(
      from(sums, by)
        .mul(sees(by))
        .mul(discount ** by),
    );
  }
  // What the neighbour sees, and not a difference, of which rounding would leave less.
  return exclusive && x.shape[1]! > 1 ? from(sums, 1).mul(sees(1)).mul(discount) : exclusive ? sums.mul(0) : sums;
}

/** int32, of the shape of x: the sequence that an entry is of, from 1; 0 where it is of none. */
function segmentsOf(name: string, x: Tensor, segments: Tensor): Tensor {
  const [b, s] = segments.shape as [number, number];
  const [rows, entries] = x.shape;
  if (x.rank === 2 && rows === b && entries === s) return segments;
  if (x.rank !== 2 || rows !== b || entries !== s - 1) {
    throw new ShapeError(name, [x.shape, segments.shape], `x must be [${b}, ${s - 1}] or [${b}, ${s}]`);
  }
  const target = segments.slice(1, 1);
  return target.mul(target.equal(segments.slice(1, 0, s - 1)).cast('int32'));
}
