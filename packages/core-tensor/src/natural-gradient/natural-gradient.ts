import { type Given, number, options } from '@posttrain/interfaces';
import { compile } from '../compile.js';
import { type Tensor, where } from '../tensor.js';
import { leavesOf, withLeaves } from '../tree.js';
import {
  type ConjugateGradientResult,
  conjugateGradient,
  conjugateGradientShape,
  type LinearOperator,
} from './conjugate-gradient.js';

const naturalGradientOptions = options('naturalGradient', {
  ...conjugateGradientShape,
  /**
   * Scale the direction s to the length at which the model of the divergence is this large: ½ sᵀ (F + damping I) s = maxKl, in nats
   * (TRPO, arXiv 1502.05477). Left out, s is not scaled.
   */
  maxKl: number({ optional: true, above: 0 }),
});
/** Options of `naturalGradient`. */
export type NaturalGradientOptions = Given<typeof naturalGradientOptions>;

/**
 * The natural gradient s = (F + damping I)⁻¹ g (Amari 1998), by conjugate gradients over Fisher-vector products, so that F is not made:
 * the steepest direction when distance is measured by what the parameters do to the distribution.
 *
 * @param fisher v ↦ F v: a compiled `fisherVectorProduct` or `empiricalFisherVectorProduct`
 * @param gradient g, a tree of tensors; the result's `solution` is one like it
 */
export async function naturalGradient<T>(
  fisher: LinearOperator<T>,
  gradient: T,
  given: NaturalGradientOptions = {},
): Promise<ConjugateGradientResult<T>> {
  const { maxKl, ...solving } = naturalGradientOptions.read(given);
  const result = await conjugateGradient(fisher, gradient, solving);
  if (maxKl === undefined) return result;
  const scale = compile(
    (s: Tensor[], fs: Tensor[]) => {
      const bend = s.map((x, i) => x.mul(fs[i]!.add(x.mul(solving.damping))).sum()).reduce((a, b) => a.add(b));
      // No direction, no length: a gradient of zeros stays what it is.
      const factor = where(
        bend.equal(0),
        0,
        bend
          .reciprocal()
          .mul(2 * maxKl)
          .sqrt(),
      );
      return s.map((x) => x.mul(factor));
    },
    { name: 'naturalGradient' },
  );
  try {
    const leaves = (tree: T) => leavesOf(tree).map(({ tensor }) => tensor);
    const scaled = await scale(leaves(result.solution), leaves(await fisher(result.solution)));
    return { ...result, solution: withLeaves(gradient, scaled) };
  } finally {
    await scale.dispose();
  }
}
