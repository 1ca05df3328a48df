import { boolean, custom, type Given, options } from '@posttrain/interfaces';
import { iota, ones, tensor } from '../create.js';
import { DTypeError, ShapeError } from '../errors.js';
import { addAlongAxis, concat, Tensor, where } from '../tensor.js';

const tokenMergingOptions = options('bipartiteSoftMatching', {
  /** How many original tokens each token [b, n] stands for. Default: one each. */
  sizes: custom<Tensor>()('a tensor', (value) => value instanceof Tensor, { optional: true }),
  /** Never merge token 0 (a class token) into another. Default false. */
  protectFirst: boolean({ default: false }),
});
/** Options of token merging (ToMe, arXiv 2210.09461). */
export type TokenMergingOptions = Given<typeof tokenMergingOptions>;

/** Which tokens become one. The matching has no gradient; what is merged by it has. */
export interface TokenMerging {
  /** int32 [b, n]: where each token went, 0 … n - r - 1. */
  readonly source: Tensor;
  /** float32 [b, n - r]: how many original tokens each merged token stands for. */
  readonly sizes: Tensor;
  /** x [b, n, c] → [b, n - r, c]: means, weighted by size, of the tokens that became one. */
  merge(x: Tensor): Tensor;
  /** y [b, n - r, c] → [b, n, c]: every token gets that of the one it went to. */
  unmerge(y: Tensor): Tensor;
}

/**
 * Token merging, ToMe (arXiv 2210.09461), by bipartite soft matching on metric [b, n, c] (the keys, averaged over heads):
 * tokens at even places each choose the most similar (cosine) token at an odd place, and the r best pairs merge:
 *
 *     x' = Σ s x / Σ s over the tokens that become one, with sizes s;  attention afterwards adds log s' to the scores
 *
 * The kept even tokens come first, in their order, then the odd ones. Throws `ShapeError` unless 0 ≤ r ≤ half of the
 * tokens (without the protected one).
 */
export function bipartiteSoftMatching(metric: Tensor, r: number, given: TokenMergingOptions = {}): TokenMerging {
  const { sizes, protectFirst } = tokenMergingOptions.read(given);
  if (metric.rank !== 3) throw new ShapeError('bipartiteSoftMatching', [metric.shape], 'needs a metric [b, n, c]');
  const [b, n] = metric.shape as [number, number, number];
  const most = Math.floor((n - Number(protectFirst)) / 2);
  if (!Number.isInteger(r) || r < 0 || r > most) {
    throw new ShapeError('bipartiteSoftMatching', [metric.shape], `r = ${r} must be a whole number from 0 to ${most}`);
  }
  if (sizes && (sizes.rank !== 2 || sizes.shape[0] !== b || sizes.shape[1] !== n)) {
    throw new ShapeError('bipartiteSoftMatching', [metric.shape, sizes.shape], 'the sizes must be [b, n]');
  }
  if (sizes && sizes.dtype !== 'float32') {
    throw new DTypeError('bipartiteSoftMatching', [sizes.dtype], 'the sizes must be float32');
  }
  const source = r === 0 ? iota([b, n], 1) : matching(metric, r, protectFirst);
  const before = (sizes ?? ones([b, n])).reshape([b, n, 1]);
  const collect = (x: Tensor) =>
    addAlongAxis(source.reshape([b, n, 1]).broadcastTo(x.shape), x, { axis: 1, size: n - r });
  const after = collect(before);
  return {
    source,
    sizes: after.reshape([b, n - r]),
    merge: (x) => {
      checkTokens('merge', x, b, n);
      return collect(x.mul(before.cast(x.dtype))).div(after.cast(x.dtype));
    },
    unmerge: (y) => {
      checkTokens('unmerge', y, b, n - r);
      return y.takeAlongAxis(source.reshape([b, n, 1]).broadcastTo([b, n, y.shape[2]!]), 1);
    },
  };
}

function checkTokens(name: string, x: Tensor, b: number, n: number): void {
  if (x.rank === 3 && x.shape[0] === b && x.shape[1] === n) return;
  throw new ShapeError(name, [x.shape], `needs tokens [${b}, ${n}, c]`);
}

/** Where each token goes, int32 [b, n], for r > 0. */
function matching(metric: Tensor, r: number, protectFirst: boolean): Tensor {
  const [b, n] = metric.shape as [number, number, number];
  const unit = metric.div(metric.square().sum(-1, { keepDims: true }).sqrt());
  const [even, odd] = [unit.slice(1, 0, n, 2), unit.slice(1, 1, n, 2)];
  const [evens, odds] = [even.shape[1]!, odd.shape[1]!];
  const similarities = even.matmul(odd, { transposeB: true });
  const nearest = similarities.argMax(-1);
  const best = similarities.max(-1);
  // Cosines are at least -1.
  const similarity = protectFirst ? where(iota([1, evens], 1).equal(0), -2, best) : best;
  const { indices: order } = similarity.topK(evens);
  const places = iota([b, evens], 1);
  const isMerged = places.putAlongAxis(order, places, 1).less(r);
  const kept = isMerged.not().cast('int32').cumsum(1, { exclusive: true });
  const behind = evens - r;
  const fromEven = where(isMerged, nearest.add(behind), kept);
  const fromOdd = iota([b, odds], 1).add(behind);
  const inOrder = Int32Array.from({ length: n }, (_, i) => (i % 2 === 0 ? i / 2 : evens + (i - 1) / 2));
  return concat([fromEven, fromOdd], 1).gather(tensor(inOrder), 1);
}

/**
 * The bias of proportional attention: sizes [b, t] → [b, 1, rows, t] with log s, so that a merged token weighs as much as
 * the tokens it stands for.
 */
export function proportionalAttentionBias(sizes: Tensor, rows: number): Tensor {
  const [b, t] = sizes.shape as [number, number];
  return sizes.log().reshape([b, 1, 1, t]).broadcastTo([b, 1, rows, t]);
}
