import { barrier } from '../autodiff/barrier.js';
import { concat, type Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkHeads } from './attention.js';
import {
  type FlashAttentionConfig,
  type Four,
  named,
  scoresOf,
  unstackedRows,
  visibleBlocks,
} from './flash-attention-blocks.js';
import type { Kernel } from './kernel.js';
import { stackedRows } from './running-softmax.js';

/** What the gradient of the tiled attention is compiled for. */
export interface FlashAttentionGradientConfig extends FlashAttentionConfig {
  /** Whether the log-sum-exp has a cotangent, the last input. */
  readonly hasLogSumCotangent: boolean;
}

/** Σ_j P_ij dP_ij of each row, less what the log-sum-exp itself asks for: float32 [b, h, s, 1]. */
export function centreOf(dO: Tensor, output: Tensor, dLogSum: Tensor | undefined): Tensor {
  const product = dO.cast('float32').mul(output.cast('float32')).sum(-1, { keepDims: true });
  return dLogSum ? product.sub(dLogSum) : product;
}

/**
 * The gradient of `flashAttentionKernel`, block by block (arXiv 2307.08691). Inputs q [b, h, s, d], k and v [b, kv, s, d], maybe int32 segments
 * [b, s], the output and the log-sum-exp of the forward pass, the output's cotangent, and maybe the log-sum-exp's. Outputs dq, dk, dv. The
 * log-sum-exp says all that there is to know of sinks.
 */
export const flashAttentionGradientKernel: Kernel<FlashAttentionGradientConfig> = {
  name: 'flashAttentionGradient',
  infer: ([q, k, v]) => {
    checkHeads('flashAttentionGradient', q!, k!, v!);
    return [q!, k!, v!];
  },
  decompose: (inputs, config) => {
    const { q, k, v, segments } = named(inputs, config);
    const [output, logSum, dO, dLogSum] = inputs.slice(segments ? 4 : 3);
    const [, h, s] = q.shape as Four;
    const kv = k.shape[1]!;
    const centre = centreOf(dO!, output!, dLogSum);
    const blocks = visibleBlocks(s, config);
    const dK = new Map<number, Tensor>();
    const dV = new Map<number, Tensor>();
    const add = (to: Map<number, Tensor>, at: number, x: Tensor) => to.set(at, to.get(at)?.add(x) ?? x).get(at)!;
    let previous: readonly Tensor[] = [dO!];
    const dQ = blocks.map((columns) => {
      const { rows } = columns[0]!;
      const part = (x: Tensor) => stackedRows(x, kv, rows);
      let total: Tensor | undefined;
      for (const block of columns) {
        // One block after the other: else all would be computed for dQ and kept for dK.
        const rowsOfQ = barrier(part(q), previous);
        const { scores, tanh } = scoresOf(rowsOfQ, k, segments && barrier(segments, previous), block, config);
        const probabilities = scores.sub(part(logSum!)).exp();
        const dV_ = add(dV, block.columns[0], probabilities.cast(v.dtype).matmul(part(dO!), { transposeA: true }));
        const dP = part(dO!)
          .matmul(v.slice(2, ...block.columns), { transposeB: true })
          .cast('float32');
        const dCapped = probabilities.mul(dP.sub(part(centre)));
        const dScores = tanh ? dCapped.mul(tanh.square().neg().add(1)) : dCapped;
        const scaled = dScores.cast(q.dtype);
        const dQ_ = scaled.matmul(k.slice(2, ...block.columns)).mul(config.scale);
        total = total?.add(dQ_) ?? dQ_;
        const dK_ = add(dK, block.columns[0], scaled.matmul(rowsOfQ, { transposeA: true }).mul(config.scale));
        previous = [total, dK_, dV_];
      }
      return total!;
    });
    const inOrder = (parts: ReadonlyMap<number, Tensor>) =>
      concat(
        [...parts].sort(([a], [b]) => a - b).map(([, x]) => x),
        2,
      );
    return [unstackedRows(dQ, blocks, h), inOrder(dK), inOrder(dV)];
  },
};

/** dq, dk and dv: see `flashAttentionGradientKernel`. */
export function flashAttentionGradient(
  given: {
    readonly q: Tensor;
    readonly k: Tensor;
    readonly v: Tensor;
    readonly segments: Tensor | undefined;
    readonly output: Tensor;
    readonly logSum: Tensor;
    readonly dO: Tensor;
    readonly dLogSum: Tensor | undefined;
  },
  config: FlashAttentionConfig,
): Tensor[] {
  const { q, k, v, segments, output, logSum, dO, dLogSum } = given;
  const inputs = [q, k, v, segments, output, logSum, dO, dLogSum].filter((tensor) => tensor !== undefined);
  const flags = { hasSinks: false, hasLogSumCotangent: dLogSum !== undefined };
  return applyKernel(flashAttentionGradientKernel, inputs, { ...config, ...flags });
}
