import { assertKnownOptions } from '@posttrain/interfaces';
import { compile } from '../compile.js';
import { type Tensor, where } from '../tensor.js';
import { leavesOf, withLeaves } from '../tree.js';
import {
  type ConjugateGradientOptions,
  type ConjugateGradientResult,
  conjugateGradient,
  type LinearOperator,
} from './conjugate-gradient.js';

/** Options of `naturalGradient`. */
export interface NaturalGradientOptions extends ConjugateGradientOptions {
  /**
   * Scale the direction s to the length at which the model of the divergence is this large: ½ sᵀ (F + damping I) s = maxKl, in nats
   * (TRPO, arXiv 1502.05477). Left out, s is not scaled.
   */
  readonly maxKl?: number;
}

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
  options: NaturalGradientOptions = {},
): Promise<ConjugateGradientResult<T>> {
  assertKnownOptions('naturalGradient', options, ['maxIterations', 'tolerance', 'damping', 'maxKl']);
  const { maxKl, ...solving } = options;
  const result = await conjugateGradient(fisher, gradient, solving);
  if (maxKl === undefined) return result;
  const scale = compile(
    (s: Tensor[], fs: Tensor[]) => {
      const bend = s.map((x, i) => x.mul(fs[i]!.add(x.mul(solving.damping ?? 0))).sum()).reduce((a, b) => a.add(b));
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
