import { zeros } from '../create.js';
import { isFloat } from '../dtype.js';
import { AutodiffError } from '../errors.js';
import { sameShape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { leavesOf, withLeaves } from '../tree.js';
import { backward, variable } from './backward.js';

/**
 * Forward-mode differentiation: f's output at `args` and its derivative along `tangents`, J v, both trees as f gives them.
 * `tangents` has the structure of `args`; those of integer tensors are ignored, and integer outputs have the tangent 0.
 *
 * By transposing twice: Jᵀ u is linear in u, so the pullback of u ↦ Jᵀ u is J, whatever u is. Every primitive, kernel and
 * `customVjp` that has a gradient thereby has a tangent, without a second table of rules; what depends on u is not computed.
 *
 * @throws AutodiffError when a tangent is missing or has another shape or dtype
 */
export function jvp<Args extends readonly unknown[], Out>(
  f: (...args: Args) => Out,
  args: Args,
  tangents: NoInfer<Args>,
): { output: Out; tangent: Out } {
  const [leaves, directions] = [leavesOf(args), leavesOf(tangents)];
  const inputs = leaves.map(({ tensor }) => (isFloat(tensor.dtype) ? variable(tensor) : tensor));
  const pairs = leaves.flatMap(({ path, tensor }, i) => {
    const direction = directions[i];
    if (!isFloat(tensor.dtype)) return [];
    const fits =
      direction?.path === path &&
      direction.tensor.dtype === tensor.dtype &&
      sameShape(direction.tensor.shape, tensor.shape);
    if (!fits) {
      const what = direction ? `is ${direction.tensor} at ${direction.path}` : 'is missing';
      throw new AutodiffError(
        `jvp: the tangent of ${path}, ${tensor}, ${what}; tangents have the shape of the arguments`,
      );
    }
    return [{ input: inputs[i]!, direction: direction.tensor }];
  });
  const output = f(...withLeaves(args, inputs));
  const outputs = leavesOf(output).map(({ tensor }) => tensor);
  const floats = outputs.filter(({ dtype }) => isFloat(dtype));
  const cotangents = floats.map((y) => variable(zeros(y.shape, y.dtype)));
  const pulledBack = backward(
    floats,
    cotangents,
    pairs.map(({ input }) => input),
  );
  const pushed = backward(
    pulledBack,
    pairs.map(({ direction }) => direction),
    cotangents,
  );
  const tangentOf = (y: Tensor) => (isFloat(y.dtype) ? pushed[floats.indexOf(y)]! : zeros(y.shape, y.dtype));
  return { output, tangent: withLeaves(output, outputs.map(tangentOf)) };
}
