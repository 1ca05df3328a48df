import { assertKnownOptions } from '@posttrain/interfaces';
import { zeros } from '../create.js';
import type { Tensor } from '../tensor.js';
import { attention, checkNumbers } from './attention.js';
import { alibiBias, alibiSlopes, biasOf, visibleIn } from './attention-mask.js';
import { FLASH_ATTENTION_OPTIONS, type FlashAttentionOptions, flashAttention } from './flash-attention.js';

/** Options of attention of a sequence to itself. */
export interface SelfAttentionOptions extends FlashAttentionOptions {
  /**
   * Up to this much memory for the scores [b, h, s, s] in float32, all are computed at once and the gradient keeps their
   * probabilities; beyond it `flashAttention` goes through them in blocks. Default 8 MiB.
   */
  readonly scoreBytes?: number;
}

const SCORE_BYTES = 8 * 2 ** 20;

/**
 * Self-attention q [b, h, s, d], k and v [b, kv, s, d] → [b, h, s, d] with the masks that language models use: causal
 * (the default), sliding window, packed or padded rows by segment; grouped queries; soft cap, ALiBi and sinks.
 */
export function selfAttention(q: Tensor, k: Tensor, v: Tensor, options: SelfAttentionOptions): Tensor {
  assertKnownOptions('selfAttention', options, [...FLASH_ATTENTION_OPTIONS, 'scoreBytes']);
  checkNumbers('selfAttention', options);
  const { scoreBytes = SCORE_BYTES, ...rest } = options;
  const [b, h, s] = q.shape as [number, number, number, number];
  if (b * h * s * s * 4 > scoreBytes) return flashAttention(q, k, v, rest);
  const { segments, causal, slidingWindow, alibi, blockSize: _, ...config } = rest;
  const all = { rows: [0, s], columns: [0, s] } as const;
  const mask = {
    ...(causal === undefined ? {} : { causal }),
    ...(slidingWindow === undefined ? {} : { slidingWindow }),
  };
  const visible = visibleIn(all, mask, segments && { rows: segments, columns: segments });
  const masked = visible
    ? biasOf(visible, q.dtype).reshape([visible.shape[0]!, 1, s, s])
    : zeros([1, 1, s, s], q.dtype);
  const bias = alibi ? masked.add(alibiBias(alibiSlopes(h).cast(q.dtype), all)) : masked;
  return attention(q, k, v, bias, config);
}
