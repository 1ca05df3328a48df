import { applyKernel } from '../kernels/apply-kernel.js';
import { attention, type CachedAttentionConfig, cachedAttention } from '../kernels/attention.js';
import { attentionBias } from '../kernels/attention-mask.js';
import { type FlashAttentionOptions, flashAttention, flashAttentionKernel } from '../kernels/flash-attention.js';
import type { Shape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { type CaseInput, type ConformanceCase, defineCase, given, sample } from './case.js';

/** Three packed documents and padding, per row. */
const SEGMENTS = given([0, 0, 0, 1, 1, 0, 1, 1, 2, 2], 'int32', [2, 5]);

const heads = (b: number, h: number, kv: number, s: number, t: number, d: number, dv = d): CaseInput[] => [
  sample([b, h, s, d]),
  sample([b, kv, t, d], 'float32', { seed: 1 }),
  sample([b, kv, t, dv], 'float32', { seed: 2 }),
];

export function attentionCases(): ConformanceCase[] {
  const bias = (shape: Shape) => sample(shape, 'float32', { seed: 3, low: -3, high: 1 });
  const plain = (inputs: CaseInput[], note: string) =>
    defineCase('attention', inputs, (q, k, v, b) => attention(q!, k!, v!, b!, { scale: 0.37 }), { note });
  const masked = (note: string, options: { slidingWindow?: number }) =>
    defineCase(
      'attention',
      [...heads(2, 4, 2, 5, 5, 4), SEGMENTS],
      (q, k, v, segments) => attention(q!, k!, v!, attentionBias(segments!, options), { scale: 0.5 }),
      { note },
    );
  return [
    plain([...heads(2, 2, 2, 3, 3, 4), bias([2, 1, 3, 3])], 'a bias per row'),
    plain([...heads(2, 2, 2, 3, 3, 4), bias([1, 1, 3, 3])], 'one bias'),
    plain([...heads(1, 6, 2, 2, 5, 2), bias([1, 1, 2, 5])], 'grouped queries, more keys'),
    plain([...heads(1, 4, 1, 3, 3, 2), bias([1, 1, 3, 3])], 'one key head'),
    plain([...heads(1, 2, 1, 2, 3, 4, 3), bias([1, 1, 2, 3])], 'values of another width'),
    plain([...heads(1, 1, 1, 1, 1, 1), bias([1, 1, 1, 1])], 'size 1'),
    plain([...heads(0, 2, 1, 2, 2, 2), bias([1, 1, 2, 2])], 'no rows'),
    plain([...heads(1, 4, 2, 3, 3, 2), bias([1, 4, 3, 3])], 'a bias per head'),
    defineCase(
      'attention',
      [...heads(2, 4, 2, 3, 4, 2), bias([2, 1, 3, 4]), sample([4], 'float32', { seed: 4 })],
      (q, k, v, b, sinks) => attention(q!, k!, v!, b!, { scale: 0.4, softCap: 1.5, sinks: sinks! }),
      { note: 'soft cap and sinks' },
    ),
    masked('causal, packed', {}),
    masked('causal, packed, sliding window 2', { slidingWindow: 2 }),
  ];
}

/** Several calls over one cache: the prompt, then tokens one by one, for rows of different length. */
function cachedCase(
  note: string,
  config: CachedAttentionConfig,
  [h, kv, d]: readonly [number, number, number],
  sinks?: readonly number[],
): ConformanceCase {
  const [b, prompt, steps, capacity] = [3, 4, 3, 8];
  const width = prompt + steps;
  const inputs = [
    sample([b, h, width, d]),
    sample([b, kv, width, d], 'float32', { seed: 1 }),
    sample([b, kv, width, d], 'float32', { seed: 2 }),
    // What the cache holds beyond the tokens written so far must never be seen.
    given(new Array(b * kv * capacity * d).fill(50), 'float32', [b, kv, capacity, d]),
    given([4, 1, 2], 'int32'),
    ...(sinks ? [given(sinks)] : []),
  ];
  const run = (q: Tensor, k: Tensor, v: Tensor, cache: Tensor, real: Tensor, sink?: Tensor): Tensor[] => {
    const part = (x: Tensor, start: number, end: number) => x.slice(2, start, end);
    const call = (start: number, end: number, pastKeys: Tensor, pastValues: Tensor, lengths: Tensor) =>
      cachedAttention(
        {
          ...{ q: part(q, start, end), k: part(k, start, end), v: part(v, start, end), pastKeys, pastValues, lengths },
          ...(sink ? { sinks: sink } : {}),
        },
        config,
      );
    let lengths = real.mul(0);
    let state = call(0, prompt, cache, cache.neg(), lengths);
    const outputs = [state.output];
    lengths = real;
    for (let step = 0; step < steps; step++) {
      state = call(prompt + step, prompt + step + 1, state.keys, state.values, lengths);
      outputs.push(state.output);
      lengths = lengths.add(1);
    }
    // Beyond each row's own tokens the cache holds its padding and then what was there before.
    return [...outputs, state.keys, state.values];
  };
  return defineCase('cachedAttention', inputs, run as (...inputs: Tensor[]) => Tensor[], {
    note,
    variables: sinks ? [0, 1, 2, 5] : [0, 1, 2],
  });
}

export function cachedAttentionCases(): ConformanceCase[] {
  return [
    cachedCase('several steps, ragged lengths', { scale: 0.5 }, [2, 2, 4]),
    cachedCase('grouped queries', { scale: 0.4 }, [4, 2, 4]),
    cachedCase('sliding window 3', { scale: 0.4, slidingWindow: 3 }, [2, 1, 4]),
    cachedCase('heads of 8', { scale: 0.35 }, [3, 1, 8]),
    cachedCase('soft cap and ALiBi', { scale: 0.4, softCap: 2, alibi: true }, [2, 1, 4]),
    cachedCase('sinks', { scale: 0.4 }, [2, 2, 4], [0.3, -0.7]),
  ];
}

export function flashAttentionCases(): ConformanceCase[] {
  const flash = (inputs: CaseInput[], note: string, options: Omit<FlashAttentionOptions, 'scale'>) =>
    defineCase('flashAttention', inputs, (q, k, v) => flashAttention(q!, k!, v!, { scale: 0.45, ...options }), {
      note,
    });
  const packed = (note: string, options: Omit<FlashAttentionOptions, 'scale'>) =>
    defineCase(
      'flashAttention',
      [...heads(2, 4, 2, 5, 5, 2), SEGMENTS, sample([4], 'float32', { seed: 4 })],
      (q, k, v, segments, sinks) =>
        flashAttention(q!, k!, v!, { scale: 0.45, segments: segments!, sinks: sinks!, blockSize: 2, ...options }),
      { note },
    );
  return [
    flash(heads(2, 2, 2, 5, 5, 4), 'blocks of 2', { blockSize: 2 }),
    flash(heads(1, 4, 2, 5, 5, 2, 3), 'grouped queries, one block, values of another width', {}),
    flash(heads(1, 2, 1, 6, 6, 2), 'every position, blocks of 4', { causal: false, blockSize: 4 }),
    flash(heads(1, 2, 1, 7, 7, 2), 'sliding window 2, blocks of 2', { slidingWindow: 2, blockSize: 2 }),
    flash(heads(1, 2, 1, 7, 7, 2), 'a window both ways', { slidingWindow: 3, causal: false, blockSize: 2 }),
    flash(heads(1, 3, 3, 5, 5, 2), 'soft cap and ALiBi', { softCap: 1.5, alibi: true, blockSize: 3 }),
    flash(heads(1, 1, 1, 1, 1, 1), 'size 1', {}),
    flash(heads(0, 2, 1, 2, 2, 2), 'no rows', {}),
    packed('causal, packed, sinks', {}),
    packed('packed, window, soft cap, ALiBi, sinks', { slidingWindow: 2, softCap: 2, alibi: true }),
    defineCase(
      'flashAttention',
      heads(1, 2, 1, 4, 4, 2),
      (q, k, v) =>
        applyKernel(flashAttentionKernel, [q!, k!, v!], {
          scale: 0.5,
          blockSize: 2,
          hasSegments: false,
          hasSinks: false,
        }),
      { note: 'with its log-sum-exp' },
    ),
  ];
}
