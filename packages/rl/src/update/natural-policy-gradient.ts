import { compile, perEngine, scalar, type Tensor, withEngine } from '@posttrain/core-tensor';
import { conjugateGradient } from '@posttrain/core-tensor/natural-gradient';
import { globalNorm, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import { fisher, type UpdateRule } from '@posttrain/training';
import { everyTokenAlike } from './every-token-alike.js';

const naturalPolicyGradientOptions = options('naturalPolicyGradient', {
  /** Added to the diagonal of the Fisher information. Default 1e-3. */
  damping: number({ default: 1e-3, min: 0 }),
  /** Iterations of conjugate gradients, each one product with the Fisher information. Default 10. */
  cgIterations: integer({ default: 10, min: 1 }),
});
/** Options of `naturalPolicyGradient`. */
export type NaturalPolicyGradientOptions = Given<typeof naturalPolicyGradientOptions>;

/** Conjugate gradients stop where the residual is this small beside the gradient. */
const TOLERANCE = 1e-8;

const compiled = perEngine(() => ({
  norm: compile((gradients: Named) => globalNorm(gradients), { name: 'naturalPolicyGradient' }),
  moved: compile(
    (parameters: Named, direction: Named, rate: Tensor): Named =>
      mapNamed(parameters, (p, name) => (direction[name] ? p.sub(direction[name].mul(rate)) : p)),
    { name: 'naturalPolicyGradient' },
  ),
}));

/**
 * The natural policy gradient (Kakade, 2001) as the rule of an update: θ ← θ - α (F + λI)⁻¹ ∇L by conjugate gradients, with F the Fisher
 * information of the policy over the whole vocabulary, the mean over the trained tokens, and α the learning rate of the run. Without
 * damping the policy that comes does not depend on how it is parameterised, up to second order in α. It has no trust region (`trpo` has), and the
 * optimizer is not used. The gradient is enough: any surrogate will do.
 *
 * The metrics are `npg/direction_norm`, and `npg/residual`, what conjugate gradients have left of ‖∇L‖.
 *
 * @throws OptionError; what `Trainer.gradients` and `product` throw
 */
export function naturalPolicyGradient(given: NaturalPolicyGradientOptions = {}): UpdateRule {
  const { damping, cgIterations } = naturalPolicyGradientOptions.read(given);
  return {
    name: 'natural-policy-gradient',
    settings: naturalPolicyGradientOptions.settings(given),
    async update(trainer, rows, loss, { learningRate, scalars = {} }) {
      const temperature = 'temperature' in loss ? (loss.temperature ?? 1) : 1;
      const { engine } = trainer.model.network;
      const { norm, moved } = compiled(engine);
      const states = everyTokenAlike(rows);
      const { gradients, ...result } = await trainer.gradients(rows, loss, { scalars });
      const gradNorm = await (await norm(gradients)).item();
      const metrics = { 'npg/direction_norm': 0, 'npg/residual': 0 };
      let { parameters } = trainer;
      if (gradNorm > 0) {
        const curvature = fisher({ temperature });
        const solving = { damping, maxIterations: cgIterations, tolerance: TOLERANCE };
        // What is compiled on the way is for the trainer's engine; a body of `withEngine` must not be a promise itself.
        const { solution, residualNorm } = await withEngine(engine, () => ({
          pending: conjugateGradient((v: Named) => trainer.product(states, curvature, v), gradients, solving),
        })).pending;
        parameters = await moved(parameters, solution, scalar(learningRate));
        metrics['npg/direction_norm'] = await (await norm(solution)).item();
        metrics['npg/residual'] = residualNorm / gradNorm;
      }
      await trainer.assign(parameters, { countsStep: true });
      return { ...result, metrics: { ...result.metrics, ...metrics }, gradNorm };
    },
  };
}
