import { iota, tensor } from '../create.js';
import type { DType } from '../dtype.js';
import { ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';

/**
 * What a masked score becomes: far below any score, and finite, so that no row can turn into NaN. float16 has no
 * -1e30; its largest scores are below 3e4 in size, or they would overflow when they are scaled.
 */
export const maskedScore = (dtype: DType): number => (dtype === 'float16' ? -3e4 : -1e30);

/** What a token may attend to. */
export interface AttentionMaskOptions {
  /** Position i sees positions j ≤ i only. Default true. */
  readonly causal?: boolean;
  /** Each position sees at most this many positions, itself included (arXiv 2004.05150). Default: all. */
  readonly slidingWindow?: number;
}

/** A rectangle of the matrix of scores: rows and columns `[start, end)`. */
export interface ScoreBlock {
  readonly rows: readonly [start: number, end: number];
  readonly columns: readonly [start: number, end: number];
}

/** Whether a block of the scores has elements that are seen, and elements that are not, by position alone. */
export function visibilityOf(
  { rows, columns }: ScoreBlock,
  { causal = true, slidingWindow = Number.POSITIVE_INFINITY }: AttentionMaskOptions,
): 'all' | 'some' | 'none' {
  const [lowest, highest] = [causal ? 0 : 1 - slidingWindow, slidingWindow - 1];
  // The distance back from a row to a column: the smallest and the largest in the block.
  const [near, far] = [rows[0] - (columns[1] - 1), rows[1] - 1 - columns[0]];
  if (near > highest || far < lowest) return 'none';
  return near >= lowest && far <= highest ? 'all' : 'some';
}

/** The bool [1 or b, rows, columns] of a block: what position and (int32 [b, s], if given) segment let each row see. */
export function visibleIn(
  { rows, columns }: ScoreBlock,
  options: AttentionMaskOptions,
  segments?: { readonly rows: Tensor; readonly columns: Tensor },
): Tensor | undefined {
  const [height, width] = [rows[1] - rows[0], columns[1] - columns[0]];
  const conditions: Tensor[] = [];
  if (visibilityOf({ rows, columns }, options) !== 'all') {
    // Relative to the block, so that blocks on one diagonal have one mask.
    const distance = iota([1, height, width], 1)
      .add(rows[0] - columns[0])
      .sub(iota([1, height, width], 2));
    const { causal = true, slidingWindow } = options;
    if (causal) conditions.push(distance.greaterEqual(0));
    if (slidingWindow !== undefined) conditions.push((causal ? distance : distance.abs()).less(slidingWindow));
  }
  if (segments) {
    const b = segments.rows.shape[0]!;
    conditions.push(segments.rows.reshape([b, height, 1]).equal(segments.columns.reshape([b, 1, width])));
  }
  return conditions.length === 0 ? undefined : conditions.reduce((a, b) => a.and(b));
}

/** 0 where `visible`, very negative elsewhere. */
export const biasOf = (visible: Tensor, dtype: DType = 'float32'): Tensor =>
  visible.not().cast(dtype).mul(maskedScore(dtype));

/**
 * The bias of self-attention over packed rows: int32 segments [b, s] → float32 [b, 1, s, s], 0 where position i may see
 * position j and very negative elsewhere: the same segment, j ≤ i unless `causal` is false, and within the sliding
 * window. Padding gets a segment of its own; it sees only padding and nothing sees it.
 */
export function attentionBias(segments: Tensor, options: AttentionMaskOptions = {}): Tensor {
  const [b, s] = segments.shape as [number, number];
  const all = { rows: [0, s], columns: [0, s] } as const;
  return biasOf(visibleIn(all, options, { rows: segments, columns: segments })!).reshape([b, 1, s, s]);
}

/**
 * The slopes of ALiBi (arXiv 2108.12409), float32 [heads]: 2^(-8 i / n), i = 1 … n, for a power of two n; other numbers
 * of heads take the slopes of the next smaller power of two, then every other one of the next larger.
 */
export function alibiSlopes(heads: number): Tensor {
  if (!Number.isInteger(heads) || heads < 1) throw new ShapeError('alibiSlopes', [[heads]], 'needs at least one head');
  const power = 2 ** Math.floor(Math.log2(heads));
  const series = (n: number) => Array.from({ length: n }, (_, i) => 2 ** ((-8 * (i + 1)) / n));
  const more = series(2 * power).filter((_, i) => i % 2 === 0);
  return tensor(Float32Array.from([...series(power), ...more.slice(0, heads - power)]), [heads]);
}

/** slope · (j - i) for slopes [h]: the bias [1, h, rows, columns] of ALiBi in a block. */
export function alibiBias(slopes: Tensor, { rows, columns }: ScoreBlock): Tensor {
  const shape = [1, 1, rows[1] - rows[0], columns[1] - columns[0]];
  const distance = iota(shape, 3)
    .sub(iota(shape, 2))
    .add(columns[0] - rows[0]);
  return distance.cast(slopes.dtype).mul(slopes.reshape([1, slopes.size, 1, 1]));
}
