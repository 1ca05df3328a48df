import { ShapeError } from '../errors.js';
import type { TensorSpec } from '../graph/node.js';
import { sumToShape, type Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

/** What a norm is compiled for. */
export interface NormConfig {
  /** Added to the mean square (RMSNorm) or the variance (LayerNorm) before the root. */
  readonly epsilon: number;
}

const statistics = (x: TensorSpec): TensorSpec => ({ shape: [...x.shape.slice(0, -1), 1], dtype: x.dtype });

function checkNorm(name: string, x: TensorSpec, ...vectors: TensorSpec[]): void {
  checkFloats(name, x, ...vectors);
  for (const vector of vectors) {
    if (vector.shape.length !== 1 || vector.shape[0] !== x.shape.at(-1)) {
      throw new ShapeError(name, [x.shape, vector.shape], 'the weight must be a vector as long as the last axis');
    }
  }
}

/**
 * Inputs x [..., d], weight [d]; outputs y [..., d] and the inverse root mean square [..., 1], which the gradient
 * reuses. y = x · rsqrt(mean(x²) + ε) · weight (arXiv 1910.07467).
 */
export const rmsNormKernel: Kernel<NormConfig> = {
  name: 'rmsNorm',
  infer: ([x, weight]) => {
    checkNorm('rmsNorm', x!, weight!);
    return [x!, statistics(x!)];
  },
  decompose: ([x, weight], { epsilon }) => {
    const inverse = x!.square().mean(-1, { keepDims: true }).add(epsilon).rsqrt();
    return [x!.mul(inverse).mul(weight!), inverse];
  },
  vjp: ({ inputs: [x, weight], outputs: [, inverse], cotangents: [dy, dInverse] }) => {
    const width = x!.shape.at(-1)!;
    // Only a gradient of a gradient reaches the saved statistics: d rsqrt(u) = -½ u^(-3/2) du with u = mean(x²) + ε.
    const throughInverse = dInverse
      ?.mul(inverse!.pow(3))
      .mul(x!)
      .mul(-1 / width);
    if (!dy) return [throughInverse, undefined];
    const normalized = x!.mul(inverse!);
    const scaled = dy.mul(weight!);
    const projection = scaled.mul(normalized).mean(-1, { keepDims: true });
    const throughOutput = scaled.sub(normalized.mul(projection)).mul(inverse!);
    const dx = throughInverse ? throughOutput.add(throughInverse) : throughOutput;
    return [dx, sumToShape(dy.mul(normalized), weight!.shape)];
  },
};

/** Root-mean-square normalisation over the last axis: x [..., d], weight [d]. */
export const rmsNorm = (x: Tensor, weight: Tensor, config: NormConfig): Tensor =>
  applyKernel(rmsNormKernel, [x, weight], config)[0]!;

/** Inputs x [..., d], weight [d], bias [d]; y = (x - mean) · rsqrt(var + ε) · weight + bias (arXiv 1607.06450). */
export const layerNormKernel: Kernel<NormConfig> = {
  name: 'layerNorm',
  infer: ([x, weight, bias]) => {
    checkNorm('layerNorm', x!, weight!, bias!);
    return [x!];
  },
  decompose: ([x, weight, bias], { epsilon }) => {
    const centered = x!.sub(x!.mean(-1, { keepDims: true }));
    const inverse = centered.square().mean(-1, { keepDims: true }).add(epsilon).rsqrt();
    return [centered.mul(inverse).mul(weight!).add(bias!)];
  },
};

/** Layer normalisation over the last axis: x [..., d], weight [d], bias [d]. */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, config: NormConfig): Tensor =>
  applyKernel(layerNormKernel, [x, weight, bias], config)[0]!;
