import { ShapeError } from '../errors.js';
import { concat, sumToShape, type Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

/**
 * Inputs x [b, heads, s, d], cos and sin [b or 1, s, d / 2]; rotates the pairs (x_i, x_{i + d/2}) by the angles
 * (arXiv 2104.09864, in the half-split layout of Hugging Face checkpoints).
 */
export const rotaryKernel: Kernel<Record<string, never>> = {
  name: 'rotary',
  infer: ([x, cos, sin]) => {
    checkFloats('rotary', x!, cos!, sin!);
    const [b, , s, d] = x!.shape;
    const fits = (t: { shape: readonly number[] }) =>
      t.shape.length === 3 && (t.shape[0] === 1 || t.shape[0] === b) && t.shape[1] === s && t.shape[2] === d! / 2;
    if (x!.shape.length !== 4 || !fits(cos!) || !fits(sin!)) {
      throw new ShapeError(
        'rotary',
        [x!.shape, cos!.shape, sin!.shape],
        'needs [b, heads, s, d] and twice [b or 1, s, d / 2]',
      );
    }
    return [x!];
  },
  decompose: ([x, cos, sin]) => {
    const half = x!.shape[3]! / 2;
    const [first, second] = [x!.slice(3, 0, half), x!.slice(3, half)];
    const [c, s] = [cos!.expandDims(1), sin!.expandDims(1)];
    return [concat([first.mul(c).sub(second.mul(s)), second.mul(c).add(first.mul(s))], 3)];
  },
  vjp: ({ inputs: [x, cos, sin], cotangents: [dy], needed }) => {
    // A rotation's transpose is the rotation by the opposite angle.
    const dx = rotary(dy!, cos!, sin!.neg());
    if (!needed[1] && !needed[2]) return [dx, undefined, undefined];
    const halves = (t: Tensor) => [t.slice(3, 0, t.shape[3]! / 2), t.slice(3, t.shape[3]! / 2)] as const;
    const [[x1, x2], [dy1, dy2]] = [halves(x!), halves(dy!)];
    const overHeads = (t: Tensor, angles: Tensor) => sumToShape(t.sum(1), angles.shape);
    return [dx, overHeads(x1.mul(dy1).add(x2.mul(dy2)), cos!), overHeads(x1.mul(dy2).sub(x2.mul(dy1)), sin!)];
  },
};

/** Rotary position embedding: x [b, heads, s, d], cos and sin [b or 1, s, d / 2]. */
export const rotary = (x: Tensor, cos: Tensor, sin: Tensor): Tensor => applyKernel(rotaryKernel, [x, cos, sin], {})[0]!;
