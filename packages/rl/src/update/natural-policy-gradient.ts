import { compile, perEngine, scalar, type Tensor, withEngine } from '@posttrain/core-tensor';
import { naturalGradient } from '@posttrain/core-tensor/natural-gradient';
import { globalNorm, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import { fisher, type UpdateRule } from '@posttrain/training';
import { everyTokenAlike } from './every-token-alike.js';

export const naturalPolicyGradientShape = {
  /** Added to the diagonal of the Fisher information. Default 0.1. */
  damping: number({ default: 0.1, min: 0 }),
  /** Iterations of conjugate gradients, each one product with the Fisher information. Default 10. */
  cgIterations: integer({ default: 10, min: 1 }),
  /**
   * Scale the step so that, as far as the Fisher information says, the mean KL of an update is this many nats; the learning rate is not used then.
   * Default: the learning rate is the step.
   */
  normalizedKl: number({ optional: true, above: 0 }),
};
const naturalPolicyGradientOptions = options('naturalPolicyGradient', naturalPolicyGradientShape);
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
 * The natural policy gradient (Kakade 2001; Amari 1998) as the rule of an update: θ ← θ - α (F + λI)⁻¹ ∇L(θ), with F the Fisher information of the
 * policy over the whole vocabulary at the trained tokens, by conjugate gradients. Without damping what it does to the policy does not depend on how
 * the policy is parametrised, as far as the step is small. Nothing holds it back where the step is not (`trpo` measures it). The optimizer is not used.
 *
 * The metrics are `natural/kl`, as it is measured, and `natural/step_norm`, the length of the step in parameters.
 *
 * @throws OptionError; what `Trainer.gradients`, `product` and `divergence` throw
 */
export function naturalPolicyGradient(given: NaturalPolicyGradientOptions = {}): UpdateRule {
  const { damping, cgIterations, normalizedKl } = naturalPolicyGradientOptions.read(given);
  return {
    name: 'natural-policy-gradient',
    settings: naturalPolicyGradientOptions.settings(given),
    async update(trainer, rows, loss, { scalars = {}, learningRate }) {
      const temperature = 'temperature' in loss ? (loss.temperature ?? 1) : 1;
      const { engine } = trainer.model.network;
      const { norm, moved } = compiled(engine);
      const states = everyTokenAlike(rows);
      const { gradients, ...before } = await trainer.gradients(rows, loss, { scalars });
      const gradNorm = await (await norm(gradients)).item();
      let [kl, stepNorm, parameters] = [0, 0, trainer.parameters];
      if (gradNorm > 0) {
        const curvature = fisher({ temperature });
        const search = {
          ...{ damping, maxIterations: cgIterations, tolerance: TOLERANCE },
          ...(normalizedKl !== undefined && { maxKl: normalizedKl }),
        };
        // What is compiled on the way is for the trainer's engine; a body of `withEngine` must not be a promise itself.
        const { solution } = await withEngine(engine, () => ({
          pending: naturalGradient((v: Named) => trainer.product(states, curvature, v), gradients, search),
        })).pending;
        const rate = normalizedKl === undefined ? learningRate : 1;
        parameters = await moved(trainer.parameters, solution, scalar(rate));
        kl = await trainer.divergence(states, parameters, { temperature });
        stepNorm = rate * (await (await norm(solution)).item());
      }
      await trainer.assign(parameters, { countsStep: true });
      const metrics = { 'natural/kl': kl, 'natural/step_norm': stepNorm };
      return { ...before, metrics: { ...before.metrics, ...metrics }, gradNorm };
    },
  };
}
