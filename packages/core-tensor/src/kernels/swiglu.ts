import { ShapeError } from '../errors.js';
import { sameShape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { silu, siluSlope } from './activations.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

/**
 * SwiGLU (arXiv 2002.05202): inputs gate and up of one shape, output silu(gate) · up. The gradient keeps the two inputs
 * and computes what lies between again: with s = silu(gate), dup = dy · s and dgate = dy · up · σ(gate) (1 + gate - s).
 */
export const swigluKernel: Kernel<Record<string, never>> = {
  name: 'swiglu',
  infer: ([gate, up]) => {
    checkFloats('swiglu', gate!, up!);
    if (!sameShape(gate!.shape, up!.shape)) {
      throw new ShapeError('swiglu', [gate!.shape, up!.shape], 'gate and up must have one shape');
    }
    return [gate!];
  },
  decompose: ([gate, up]) => [gate!.mul(gate!.sigmoid()).mul(up!)],
  vjp: ({ inputs: [gate, up], cotangents: [dy] }) => {
    const activated = silu(gate!);
    return [dy!.mul(up!).mul(siluSlope(gate!, activated)), dy!.mul(activated)];
  },
};

/** silu(gate) · up, elementwise: see `swigluKernel`. */
export const swiglu = (gate: Tensor, up: Tensor): Tensor => applyKernel(swigluKernel, [gate, up], {})[0]!;
