import type { Tensor } from '../tensor.js';
import { concat } from '../tensor.js';
import type { AttentionConfig } from './attention.js';
import {
  type AttentionMaskOptions,
  alibiBias,
  alibiSlopes,
  biasOf,
  type ScoreBlock,
  visibilityOf,
  visibleIn,
} from './attention-mask.js';

/** What the tiled attention kernel is compiled for. */
export interface FlashAttentionConfig extends AttentionConfig, AttentionMaskOptions {
  /** Adds slope · (j - i) to the scores: see `alibiSlopes`. Default false. */
  readonly alibi?: boolean;
  /** Rows and columns of the scores that exist at one time. */
  readonly blockSize: number;
  /** Which optional inputs follow q, k and v, in this order. */
  readonly hasSegments: boolean;
  readonly hasSinks: boolean;
}

export type Four = [number, number, number, number];

/** The optional inputs by name. */
export function named(inputs: readonly Tensor[], { hasSegments, hasSinks }: FlashAttentionConfig) {
  const [q, k, v, ...rest] = inputs as [Tensor, Tensor, Tensor, ...Tensor[]];
  const segments = hasSegments ? rest[0] : undefined;
  return { q, k, v, segments, sinks: hasSinks ? rest[hasSegments ? 1 : 0] : undefined };
}

const blocksOf = (length: number, size: number): (readonly [number, number])[] =>
  Array.from({ length: Math.ceil(length / size) }, (_, i) => [i * size, Math.min(length, (i + 1) * size)]);

/** The rows of blocks that some score of is seen, each with its columns: the others are never computed. */
export function visibleBlocks(length: number, config: FlashAttentionConfig): (readonly ScoreBlock[])[] {
  const blocks = blocksOf(length, config.blockSize);
  return blocks.map((rows) =>
    blocks.map((columns) => ({ rows, columns })).filter((block) => visibilityOf(block, config) !== 'none'),
  );
}

/**
 * Scores of one block, capped and biased, in float32 [b, kv, group · rows, columns]; and the tanh of the cap, which its
 * gradient needs. `q` is that of the block's rows, [b, kv, group · rows, d].
 */
export function scoresOf(
  q: Tensor,
  k: Tensor,
  segments: Tensor | undefined,
  block: ScoreBlock,
  config: FlashAttentionConfig,
) {
  const { rows, columns } = block;
  const { scale, softCap, alibi = false } = config;
  const [b, kv, stacked] = q.shape as Four;
  const [height, width] = [rows[1] - rows[0], columns[1] - columns[0]];
  const group = stacked / height;
  const raw = q.matmul(k.slice(2, ...columns), { transposeB: true }).cast('float32');
  const tanh = softCap === undefined ? undefined : raw.mul(scale / softCap).tanh();
  const scores = tanh ? tanh.mul(softCap!) : raw.mul(scale);
  const part = (range: readonly [number, number]) => segments!.slice(1, ...range);
  const visible = visibleIn(block, config, segments && { rows: part(rows), columns: part(columns) });
  const mask = visible && biasOf(visible).reshape([visible.shape[0]!, 1, 1, height, width]);
  const slope = alibi && alibiBias(alibiSlopes(kv * group), block).reshape([1, kv, group, height, width]);
  const bias = mask && slope ? mask.add(slope) : mask || slope;
  if (!bias) return { scores, tanh };
  const grouped = scores.reshape([b, kv, group, height, width]).add(bias);
  return { scores: grouped.reshape([b, kv, stacked, width]), tanh };
}

/** The transpose of `stackedRows` over all blocks of rows. */
export function unstackedRows(parts: readonly Tensor[], blocks: readonly (readonly ScoreBlock[])[], h: number): Tensor {
  const shaped = parts.map((part, i) => {
    const [b, kv, stacked, d] = part.shape as Four;
    const [start, end] = blocks[i]![0]!.rows;
    return part.reshape([b, kv, stacked / (end - start), end - start, d]);
  });
  const joined = concat(shaped, 3);
  return joined.reshape([joined.shape[0]!, h, joined.shape[3]!, joined.shape[4]!]);
}
