import { ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

/** Output like the one input, which needs a last axis to sum over. */
const inferRows =
  (name: string): Kernel<Record<string, never>>['infer'] =>
  ([x]) => {
    checkFloats(name, x!);
    if (!x!.shape.at(-1)) throw new ShapeError(name, [x!.shape], 'needs a last axis that is not empty');
    return [x!];
  };

/** softmax over the last axis: e^(x - max) / Σ e^(x - max). */
export const softmaxKernel: Kernel<Record<string, never>> = {
  name: 'softmax',
  infer: inferRows('softmax'),
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

/** log softmax over the last axis: x - log Σ e^x. */
export const logSoftmaxKernel: Kernel<Record<string, never>> = {
  name: 'logSoftmax',
  infer: inferRows('logSoftmax'),
  decompose: ([x]) => [x!.sub(logSumExp(x!))],
  vjp: ({ outputs: [y], cotangents: [dy] }) => [dy!.sub(y!.exp().mul(dy!.sum(-1, { keepDims: true })))],
};

/** log softmax over the last axis. Shape in = shape out. */
export const logSoftmax = (x: Tensor): Tensor => applyKernel(logSoftmaxKernel, [x], {})[0]!;
