import { iota, type Tensor, where } from '@posttrain/core-tensor';

/** What is so far below that its exponential is 0, and its gradient no NaN. */
export const NEVER = -1e4;

/** How the states and tokens of a chunk of Q tokens fade: see `chunkDecays`. h stands for the axes of heads. */
export interface ChunkDecays {
  /** [b, h, n, Q, Q]: of token j as token i ≥ j of the same sequence sees it, 0 for others. */
  readonly between: Tensor;
  /** [b, h, n, Q]: of what was there before the chunk as token i sees it; 0 where a sequence has begun since. */
  readonly carried: Tensor;
  /** [b, h, n, Q]: of token j at the end of the chunk; 0 where a sequence has begun since. */
  readonly toEnd: Tensor;
  /** [b, h, n]: of what was there before the chunk at its end; 0 where a sequence has begun since. */
  readonly through: Tensor;
  /** [b, h, n]: its logarithm, as if none had begun. */
  readonly logThrough: Tensor;
  /** The same of what the last sequence that begins in the chunk begins with: [b, h, n, Q] and [b, h, n]. Left out: none begins there. */
  readonly begun?: { readonly seen: Tensor; readonly end: Tensor };
  /** int32 [b, 1, n]: how many sequences begin in each chunk. Left out: none. */
  readonly begins?: Tensor;
}

/**
 * The decays within chunks of Q tokens (arXiv 2405.21060, section 6), of log-decays [b, h, n, Q] ≤ 0. `begins` bool [b, n, Q] says where sequences
 * begin, beyond which nothing is seen; products of decays are exponentials of differences of sums, which never cross such a place.
 */
export function chunkDecays(logs: Tensor, begins: Tensor | undefined): ChunkDecays {
  const [b, , n, q] = logs.shape as [number, number, number, number];
  const sums = logs.cumsum(3);
  const [i, j] = [iota([1, 1, 1, q, 1], 3), iota([1, 1, 1, 1, q], 4)];
  const end = (x: Tensor) => x.slice(3, q - 1, q);
  const differences = sums.expandDims(4).sub(sums.expandDims(3));
  const fromEnd = end(sums).sub(sums);
  const logThrough = end(sums).squeeze(3);
  if (!begins) {
    return {
      between: where(i.greaterEqual(j), differences, NEVER).exp(),
      carried: sums.exp(),
      toEnd: fromEnd.exp(),
      through: logThrough.exp(),
      logThrough,
    };
  }
  const starts = begins.cast('int32').reshape([b, 1, n, q]);
  const sequence = starts.cumsum(3);
  const isSame = sequence.expandDims(4).equal(sequence.expandDims(3)).and(i.greaterEqual(j));
  const isCarried = sequence.equal(0);
  // Of the tokens from a sequence's first on: a sum over them, since differences would cross its beginning.
  const own = isSame.cast(logs.dtype).matmul(logs.expandDims(4)).squeeze(4);
  const last = end(sequence);
  return {
    between: where(isSame, differences, NEVER).exp(),
    carried: where(isCarried, sums, NEVER).exp(),
    toEnd: where(sequence.equal(last), fromEnd, NEVER).exp(),
    through: where(last.equal(0).squeeze(3), logThrough, NEVER).exp(),
    logThrough,
    begun: {
      seen: where(isCarried, NEVER, own).exp(),
      end: where(last.equal(0), NEVER, end(own)).exp().squeeze(3),
    },
    begins: last.squeeze(3),
  };
}

/** x [b, s, …] as chunks [b, n, q, …] of q tokens, with zeros behind the last. */
export function inChunks(x: Tensor, q: number): Tensor {
  const [b, s, ...rest] = x.shape as [number, number, ...number[]];
  const n = Math.ceil(s / q);
  return (n * q === s ? x : x.pad(1, 0, n * q - s)).reshape([b, n, q, ...rest]);
}

/** How what is of each head, [b, s, h, …], and of each group, [b, s, g, …], lies in chunks of q tokens: [b, g, r, n, q, …], groups of r heads. */
export const chunkLayout = (q: number, g: number) => ({
  ofHeads: (x: Tensor) => {
    const chunks = inChunks(x, q);
    const [b, n, , h] = chunks.shape as [number, number, number, number];
    return chunks.reshape([b, n, q, g, h / g, -1]).transpose([0, 3, 4, 1, 2, 5]);
  },
  ofGroups: (x: Tensor) => inChunks(x, q).transpose([0, 3, 1, 2, 4]).expandDims(2),
});

/** Where sequences begin as chunks of q tokens: see `chunkDecays`. */
export const beginsOf = (since: Tensor | undefined, q: number): Tensor | undefined =>
  since && inChunks(since.equal(0).cast('int32'), q).greater(0);
