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
  unstackedRows,
  visibleBlocks,
} from './flash-attention-blocks.js';
import { centreOf, flashAttentionGradient } from './flash-attention-gradient.js';
import type { Kernel } from './kernel.js';
import { extended, initialState, stackedRows } from './running-softmax.js';

export type { FlashAttentionConfig } from './flash-attention-blocks.js';

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
