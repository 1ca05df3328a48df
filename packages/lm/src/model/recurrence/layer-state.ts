import { concat, iota, type Tensor, where, zeros } from '@posttrain/core-tensor';

/** What a recurrence keeps of the tokens so far, by name: [b, …] each. */
export type LayerState = Readonly<Record<string, Tensor>>;

/** The shape of a layer's state without the axis of rows, by name. */
export type StateShape = Readonly<Record<string, readonly number[]>>;

/** What a recurrence over the tokens [b, s] of a pass is given: see `ForwardInput.recur`. */
export interface RecurrentPast {
  /** What tokens before the pass have left, in float32. Left out: nothing is before it. */
  readonly state?: LayerState;
  /**
   * int32 [b, s]: how many tokens of its own sequence are before each; at 0 a sequence begins, and nothing before it counts. Left out: sequences
   * begin at the first token of a row or before it.
   */
  readonly since?: Tensor;
  /** int32 [b]: how many of a row's tokens are some; the others are padding behind them, which changes no state. Left out: all. */
  readonly counts?: Tensor;
  /** What every sequence that begins in the pass begins with, [1, …]: the state after virtual tokens. Left out: zeros. */
  readonly initial?: LayerState;
}

/** What a recurrence gives. */
export interface Recurred {
  /** [b, s, …]. */
  readonly output: Tensor;
  /** After the last token of each row that counts. */
  readonly state: LayerState;
}

/** The states of rows in a pool [slots, size], and where in it those after the pass go. Slot 0 is nobody's. */
export interface StateSlots {
  /** int32 [b] each. */
  readonly from: Tensor;
  readonly to: Tensor;
}

/** Elements of a state. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Which rows [b, s] of a pass are tokens: bool. */
export const countedOf = (counts: Tensor, s: number): Tensor => iota([1, s], 1).less(counts.reshape([counts.size, 1]));

/**
 * A causal convolution over time of each feature by itself: x [b, s, c] and filters [c, 1, taps] → [b, s, c], and the last taps − 1 rows, which are
 * the state `past.state.conv` [b, taps − 1, c] of the next pass.
 */
export function causalConvolution(
  x: Tensor,
  filters: Tensor,
  bias: Tensor | undefined,
  { state, since, counts, initial }: RecurrentPast,
): { readonly output: Tensor; readonly conv: Tensor } {
  const [b, s, c] = x.shape as [number, number, number];
  const taps = filters.shape[2]!;
  const before = state ? state.conv!.cast(x.dtype) : zeros([b, taps - 1, c], x.dtype);
  const all = taps === 1 ? x : concat([before, x], 1);
  const at = (distance: number): Tensor => {
    const rows = all.slice(1, taps - 1 - distance, taps - 1 - distance + s);
    if (!since || distance === 0) return rows;
    const own = where(since.greaterEqual(distance).expandDims(2), rows, 0);
    if (!initial) return own;
    // Row taps − 1 + j of the state is that at distance −j before a sequence's first token.
    const place = since
      .sub(distance)
      .add(taps - 1)
      .clamp(0, taps - 2);
    const prefix = initial
      .conv!.cast(x.dtype)
      .reshape([taps - 1, c])
      .gather(place);
    return where(since.less(distance).expandDims(2), prefix, own);
  };
  const sum = Array.from({ length: taps }, (_, distance) =>
    at(distance).mul(filters.slice(2, taps - 1 - distance, taps - distance).reshape([1, 1, c])),
  ).reduce((one, other) => one.add(other));
  return { output: bias ? sum.add(bias) : sum, conv: lastRows(all, taps - 1, counts) };
}

/** The `kept` rows of [b, kept + s, c] before and among the tokens that count, up to the last of them. */
function lastRows(all: Tensor, kept: number, counts: Tensor | undefined): Tensor {
  const [b, length, c] = all.shape as [number, number, number];
  if (!counts || kept === 0) return all.slice(1, length - kept, length);
  const places = counts.reshape([b, 1, 1]).add(iota([1, kept, 1], 1));
  return all.takeAlongAxis(places.broadcastTo([b, kept, c]), 1);
}
