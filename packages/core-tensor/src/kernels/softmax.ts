import { ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

/** softmax over the last axis: e^(x - max) / Σ e^(x - max). */
export const softmaxKernel: Kernel<Record<string, never>> = {
  name: 'softmax',
  infer: ([x]) => {
    checkFloats('softmax', x!);
    if (!x!.shape.at(-1)) throw new ShapeError('softmax', [x!.shape], 'needs a last axis that is not empty');
    return [x!];
  },
  decompose: ([x]) => {
    const exponentials = x!.sub(x!.max(-1, { keepDims: true })).exp();
    return [exponentials.div(exponentials.sum(-1, { keepDims: true }))];
  },
  vjp: ({ outputs: [p], cotangents: [dp] }) => [p!.mul(dp!.sub(p!.mul(dp!).sum(-1, { keepDims: true })))],
};

/** Probabilities over the last axis. Shape in = shape out. */
export const softmax = (x: Tensor): Tensor => applyKernel(softmaxKernel, [x], {})[0]!;

/** log Σ e^x over the last axis, without overflow; the axis is kept with size 1. */
export function logSumExp(x: Tensor): Tensor {
  const largest = x.max(-1, { keepDims: true });
  return x.sub(largest).exp().sum(-1, { keepDims: true }).log().add(largest);
}

/** log softmax over the last axis. Shape in = shape out. */
export const logSoftmax = (x: Tensor): Tensor => x.sub(logSumExp(x));
