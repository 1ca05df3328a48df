import { type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import { compile } from '../compile.js';
import { scalar, zerosLike } from '../create.js';
import type { Tensor } from '../tensor.js';
import { leavesOf, withLeaves } from '../tree.js';

/** What solving by conjugate gradients takes. */
export const conjugateGradientShape = {
  /** Default 10. */
  maxIterations: integer({ default: 10, min: 0 }),
  /** Stop when the residual is this small beside b: ‖b - (A + damping) x‖ ≤ tolerance ‖b‖. Default 1e-5. */
  tolerance: number({ default: 1e-5, min: 0 }),
  /** Added to the diagonal of A. Default 0. */
  damping: number({ default: 0 }),
};
const conjugateGradientOptions = options('conjugateGradient', conjugateGradientShape);
/** Options of `conjugateGradient`. */
export type ConjugateGradientOptions = Given<typeof conjugateGradientOptions>;

/** What `conjugateGradient` gives. */
export interface ConjugateGradientResult<T> {
  readonly solution: T;
  readonly iterations: number;
  /** ‖b - (A + damping) x‖, as the iteration keeps it. */
  readonly residualNorm: number;
  /** `indefinite`: a direction had no positive curvature; the solution is the one before it. */
  readonly reason: 'converged' | 'maxIterations' | 'indefinite';
}

/** A product with a symmetric positive definite matrix: trees in, trees out; may be a compiled function. */
export type LinearOperator<T> = (vector: T) => T | Promise<T>;

const dot = (a: readonly Tensor[], b: readonly Tensor[]): Tensor =>
  a.map((x, i) => x.mul(b[i]!).sum()).reduce((x, y) => x.add(y));

/** a + factor · b. */
const along = (a: readonly Tensor[], factor: Tensor, b: readonly Tensor[]): Tensor[] =>
  a.map((x, i) => x.add(b[i]!.mul(factor)));

/**
 * Solves (A + damping I) x = b by conjugate gradients (Hestenes and Stiefel 1952), from x = 0: exact after as many iterations as A has
 * distinct eigenvalues, and stopped earlier by `tolerance`. A is only ever multiplied with: give a compiled function.
 *
 * @throws PosttrainError when b or a product is not finite
 */
export async function conjugateGradient<T>(
  product: LinearOperator<T>,
  b: T,
  given: ConjugateGradientOptions = {},
): Promise<ConjugateGradientResult<T>> {
  const { maxIterations, tolerance, damping } = conjugateGradientOptions.read(given);
  const target = leavesOf(b).map(({ tensor }) => tensor);
  const measure = compile((x: Tensor[]) => dot(x, x), { name: 'conjugateGradient' });
  const curvature = compile((p: Tensor[], ap: Tensor[], lambda: Tensor) => dot(p, along(ap, lambda, p)), {
    name: 'conjugateGradient',
  });
  const step = compile(
    (x: Tensor[], r: Tensor[], p: Tensor[], ap: Tensor[], lambda: Tensor, square: Tensor, bend: Tensor) => {
      const alpha = square.div(bend);
      const residual = along(r, alpha.neg(), along(ap, lambda, p));
      const next = dot(residual, residual);
      return { x: along(x, alpha, p), r: residual, p: along(residual, next.div(square), p), square: next };
    },
    { name: 'conjugateGradient' },
  );
  try {
    const lambda = scalar(damping);
    let state = { x: target.map(zerosLike), r: target, p: target, square: await measure(target) };
    let square = await finite('b', state.square);
    const limit = tolerance ** 2 * square;
    const done = (iterations: number, reason: ConjugateGradientResult<T>['reason']) => ({
      solution: withLeaves(b, state.x),
      iterations,
      residualNorm: Math.sqrt(square),
      reason,
    });
    for (let i = 0; i < maxIterations; i++) {
      if (square <= limit) return done(i, 'converged');
      const ap = leavesOf(await product(withLeaves(b, state.p))).map(({ tensor }) => tensor);
      const bend = await curvature(state.p, ap, lambda);
      if ((await finite(`the product of iteration ${i}`, bend)) <= 0) return done(i, 'indefinite');
      state = await step(state.x, state.r, state.p, ap, lambda, state.square, bend);
      square = await finite(`the residual of iteration ${i}`, state.square);
    }
    return done(maxIterations, square <= limit ? 'converged' : 'maxIterations');
  } finally {
    for (const compiled of [measure, curvature, step]) await compiled.dispose();
  }
}

async function finite(what: string, x: Tensor): Promise<number> {
  const value = await x.item();
  if (!Number.isFinite(value)) throw new PosttrainError('NON_FINITE', `conjugateGradient: ${what} is not finite`);
  return value;
}
