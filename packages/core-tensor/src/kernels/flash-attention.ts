import { assertKnownOptions } from '@posttrain/interfaces';
import { barrier } from '../autodiff/barrier.js';
import { zeros } from '../create.js';
import { KernelOptionError, ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { type AttentionConfig, checkHeads, checkNumbers, checkSinks } from './attention.js';
import type { AttentionMaskOptions } from './attention-mask.js';
import { checkIndices } from './check.js';
import {
  type FlashAttentionConfig,
  type Four,
  named,
  scoresOf,
  stackedRows,
  unstackedRows,
  visibleBlocks,
} from './flash-attention-blocks.js';
import { centreOf, flashAttentionGradient } from './flash-attention-gradient.js';
import type { Kernel } from './kernel.js';
import { extended, initialState, stackedRows } from './running-softmax.js';

<<<<<<< HEAD
export type { FlashAttentionConfig } from './flash-attention-blocks.js';
=======
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

type Four = [number, number, number, number];

/** The optional inputs by name. */
function named(inputs: readonly Tensor[], { hasSegments, hasSinks }: FlashAttentionConfig) {
  const [q, k, v, ...rest] = inputs as [Tensor, Tensor, Tensor, ...Tensor[]];
  const segments = hasSegments ? rest[0] : undefined;
  return { q, k, v, segments, sinks: hasSinks ? rest[hasSegments ? 1 : 0] : undefined };
}

const blocksOf = (length: number, size: number): (readonly [number, number])[] =>
  Array.from({ length: Math.ceil(length / size) }, (_, i) => [i * size, Math.min(length, (i + 1) * size)]);

/** The rows of blocks that some score of is seen, each with its columns: the others are never computed. */
function visibleBlocks(length: number, config: FlashAttentionConfig): (readonly ScoreBlock[])[] {
  const blocks = blocksOf(length, config.blockSize);
  return blocks.map((rows) =>
    blocks.map((columns) => ({ rows, columns })).filter((block) => visibilityOf(block, config) !== 'none'),
  );
}

/**
 * Scores of one block, capped and biased, in float32 [b, kv, group · rows, columns]; and the tanh of the cap, which its
 * gradient needs. `q` is that of the block's rows, [b, kv, group · rows, d].
 */
function scoresOf(q: Tensor, k: Tensor, segments: Tensor | undefined, block: ScoreBlock, config: FlashAttentionConfig) {
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
function unstackedRows(parts: readonly Tensor[], blocks: readonly (readonly ScoreBlock[])[], h: number): Tensor {
  const shaped = parts.map((part, i) => {
    const [b, kv, stacked, d] = part.shape as Four;
    const [start, end] = blocks[i]![0]!.rows;
    return part.reshape([b, kv, stacked / (end - start), end - start, d]);
  });
  const joined = concat(shaped, 3);
  return joined.reshape([joined.shape[0]!, h, joined.shape[3]!, joined.shape[4]!]);
}
>>>>>>> wbmerge

/**
 * FlashAttention (arXiv 2205.14135, backward as in arXiv 2307.08691): exact attention that holds the scores of one block
 * of rows and columns at a time. Going through the blocks of a row with scores S, it keeps the running maximum m, sum l
 * and output o:
 *
 *     m' = max(m, max S), p = e^(S - m'), l' = e^(m - m') l + Σ p, o' = e^(m - m') o + p v;   at the end o / l
 *
 * Inputs q [b, h, s, d], k and v [b, kv, s, d], maybe int32 segments [b, s] and sinks [h]. Outputs: [b, h, s, d] and
 * the log-sum-exp of the scores, float32 [b, h, s, 1]. The gradient computes the probabilities of a block again from the
 * log-sum-exp: with D = Σ dO ∘ O, P = e^(S - lse), it is dV = Pᵀ dO, dS = P ∘ (dO Vᵀ - D), dQ = dS K, dK = dSᵀ Q.
 * Blocks that the causal mask or the window empties are skipped.
 */
export const flashAttentionKernel: Kernel<FlashAttentionConfig> = {
  name: 'flashAttention',
  infer: (inputs, config) => {
    const [q, k, v] = inputs;
    const segments = config.hasSegments ? inputs[3] : undefined;
    checkHeads('flashAttention', q!, k!, v!);
    checkSinks('flashAttention', q!, config.hasSinks ? inputs.at(-1) : undefined);
    checkNumbers('flashAttention', config);
    const [b, h, s] = q!.shape as Four;
    if (k!.shape[2] !== s) throw new ShapeError('flashAttention', [q!.shape, k!.shape], 'needs a key for every query');
    if (segments) {
      checkIndices('flashAttention', segments, 'segments');
      if (segments.shape.length !== 2 || segments.shape[0] !== b || segments.shape[1] !== s) {
        throw new ShapeError('flashAttention', [q!.shape, segments.shape], 'the segments must be [b, s]');
      }
    }
    return [
      { shape: [b, h, s, v!.shape[3]!], dtype: q!.dtype },
      { shape: [b, h, s, 1], dtype: 'float32' },
    ];
  },

  decompose: (inputs, config) => {
    const { q, k, v, segments, sinks } = named(inputs, config);
    const [b, h, s] = q.shape as Four;
    const kv = k.shape[1]!;
    const width = v.shape[3]!;
    if (s === 0) return [zeros([b, h, 0, width], q.dtype), zeros([b, h, 0, 1])];
    // Only this layer's: masks that layers share would all be kept.
    const ownSegments = segments && barrier(segments, [q]);
    const blocks = visibleBlocks(s, config);
    const results = blocks.map((columns) => {
      const rows = stackedRows(q, kv, columns[0]!.rows);
      let state = initialState(sinks, [...rows.shape.slice(0, 3), width]);
      for (const block of columns) {
        const { scores } = scoresOf(rows, k, ownSegments, block, config);
        state = extended(state, scores, v.slice(2, ...block.columns));
      }
      const { largest, sum, output } = state!;
      return { output: output.div(sum).cast(q.dtype), logSum: largest.add(sum.log()) };
    });
    const all = (key: 'output' | 'logSum') =>
      unstackedRows(
        results.map((result) => result[key]),
        blocks,
        h,
      );
    return [all('output'), all('logSum')];
  },

  vjp: ({ inputs, outputs: [output, logSum], cotangents: [dOutput, dLogSum], config }) => {
    const { q, k, v, segments, sinks } = named(inputs, config);
    if (q.shape[2] === 0) return inputs.map((x) => (x.dtype === 'int32' ? undefined : zeros(x.shape, x.dtype)));
    const dO = dOutput ?? zeros(output!.shape, output!.dtype);
    const gradients = flashAttentionGradient(
      { q, k, v, segments, output: output!, logSum: logSum!, dO, dLogSum },
      config,
    );
    const dSinks = sinks && sinkGradient(sinks, logSum!, centreOf(dO, output!, dLogSum));
    return [...gradients, ...(segments ? [undefined] : []), ...(dSinks ? [dSinks] : [])];
  },
};

/** The sink's own P ∘ (0 - D), summed over the rows of its head. */
function sinkGradient(sinks: Tensor, logSum: Tensor, centre: Tensor): Tensor {
  const probabilities = sinks.cast('float32').reshape([1, sinks.size, 1, 1]).sub(logSum).exp();
  return probabilities.mul(centre).neg().sum([0, 2, 3]).cast(sinks.dtype);
}

/** Options of `flashAttention`. */
export interface FlashAttentionOptions extends AttentionConfig, AttentionMaskOptions {
  /** Adds slope · (j - i) to the scores (arXiv 2108.12409): see `alibiSlopes`. Default false. */
  readonly alibi?: boolean;
  /** int32 [b, s]: positions see those of the same segment only. Padding has a segment of its own. */
  readonly segments?: Tensor;
  /** See `AttentionOptions`. */
  readonly sinks?: Tensor;
  /** Rows and columns per block. Default 128, or as many as make 16 blocks a row. */
  readonly blockSize?: number;
}

export const FLASH_ATTENTION_OPTIONS: readonly (keyof FlashAttentionOptions)[] = [
  'scale',
  'softCap',
  'causal',
  'slidingWindow',
  'alibi',
  'segments',
  'sinks',
  'blockSize',
];

/** Small enough for a processor's cache (measured: `benchmarks/NOTES.md`), but no more than so many blocks a row. */
const BLOCK_SIZE = 128;
const MOST_BLOCKS = 16;

/** Self-attention q [b, h, s, d], k and v [b, kv, s, d] → [b, h, s, d], in blocks: see `flashAttentionKernel`. */
export function flashAttention(q: Tensor, k: Tensor, v: Tensor, options: FlashAttentionOptions): Tensor {
  assertKnownOptions('flashAttention', options, FLASH_ATTENTION_OPTIONS);
  const { segments, sinks, ...config } = options;
  const { blockSize = Math.max(BLOCK_SIZE, Math.ceil(q.shape[2]! / MOST_BLOCKS)) } = options;
  if (!Number.isInteger(blockSize) || blockSize < 1) {
    throw new KernelOptionError('flashAttention', `blockSize must be a positive whole number, not ${blockSize}`);
  }
  const inputs = [q, k, v, ...(segments ? [segments] : []), ...(sinks ? [sinks] : [])];
  const flags = { hasSegments: segments !== undefined, hasSinks: sinks !== undefined };
  return applyKernel(flashAttentionKernel, inputs, { ...config, blockSize, ...flags })[0]!;
}
