import { compile, perEngine, scalar, type Tensor, withEngine } from '@posttrain/core-tensor';
import { naturalGradient } from '@posttrain/core-tensor/natural-gradient';
import { globalNorm, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import { fisher, type UpdateRule } from '@posttrain/training';
import { everyTokenAlike } from './every-token-alike.js';

export const trpoShape = {
  /** δ: the largest KL(π_old ‖ π) of an update in nats, the mean over trained tokens. Default 0.01. */
  maxKl: number({ default: 0.01, above: 0 }),
  /** Added to the diagonal of the Fisher information. Default 0.1. */
  damping: number({ default: 0.1, min: 0 }),
  /** Iterations of conjugate gradients, each one product with the Fisher information. Default 10. */
  cgIterations: integer({ default: 10, min: 1 }),
  /** What a step is multiplied by where it is refused. Default 0.8. */
  backtrackCoefficient: number({ default: 0.8, above: 0, below: 1 }),
  /** Lengths that are tried before the update is given up. Default 10. */
  backtrackIterations: integer({ default: 10, min: 1 }),
};
const trpoOptions = options('trpo', trpoShape);
/** Options of `trpo`, with the defaults of Spinning Up. */
export type TrpoOptions = Given<typeof trpoOptions>;

/** Conjugate gradients stop where the residual is this small beside the gradient. */
const TOLERANCE = 1e-8;

const compiled = perEngine(() => ({
  norm: compile((gradients: Named) => globalNorm(gradients), { name: 'trpo' }),
  trial: compile(
    (parameters: Named, step: Named, factor: Tensor): Named =>
      mapNamed(parameters, (p, name) => (step[name] ? p.sub(step[name].mul(factor)) : p)),
    { name: 'trpo' },
  ),
}));

/**
 * Trust region policy optimisation (arXiv 1502.05477) as the rule of an update: min L(θ) subject to mean KL(π_old ‖
 * π_θ) ≤ δ. The direction is x = (F + λI)⁻¹ ∇L by conjugate gradients, with F the Fisher information of the policy over
 * the whole vocabulary, the longest step √(2δ / xᵀ(F + λI)x) x; backtracking takes the first length c^j at which the
 * loss is lower and the KL, as it is measured, at most δ. Where there is none, the policy stays. The learning rate is
 * not used, and neither is the optimizer.
 *
 * The loss must have a value that improves where the policy does: of the objective, the ratio must not be `noRatio`
 * (see `policyObjectives.trpo`). The metrics are `trpo/kl`, `trpo/surrogate_change` and `trpo/step`, the accepted c^j
 * or 0.
 *
 * @throws what `Trainer.gradients`, `product` and `divergence` throw
 */
export function trpo(given: TrpoOptions = {}): UpdateRule {
  const { maxKl, damping, cgIterations, backtrackCoefficient, backtrackIterations } = trpoOptions.read(given);
  return {
    name: 'trpo',
    settings: trpoOptions.settings(given),
    needsValue: true,
    async update(trainer, rows, loss, { scalars = {} }) {
      const temperature = 'temperature' in loss ? (loss.temperature ?? 1) : 1;
      const { engine } = trainer.model.network;
      const { norm, trial } = compiled(engine);
      const start = trainer.parameters;
      const states = everyTokenAlike(rows);
      const { gradients, ...before } = await trainer.gradients(rows, loss, { scalars });
      const gradNorm = await (await norm(gradients)).item();
      const found = { kl: 0, change: 0, step: 0 };
      let parameters = start;
      if (gradNorm > 0) {
        const curvature = fisher({ temperature });
        const search = { maxKl, damping, maxIterations: cgIterations, tolerance: TOLERANCE };
        // What is compiled on the way is for the trainer's engine; a body of `withEngine` must not be a promise itself.
        const { solution } = await withEngine(engine, () => ({
          pending: naturalGradient((v: Named) => trainer.product(states, curvature, v), gradients, search),
        })).pending;
        for (let j = 0; j < backtrackIterations; j++) {
          const factor = backtrackCoefficient ** j;
          const candidate = await trial(start, solution, scalar(factor));
          const kl = await trainer.divergence(states, candidate, { temperature });
          if (!(kl <= maxKl)) continue;
          const { loss: after } = await trainer.evaluate(rows, loss, { scalars, parameters: candidate });
          if (!(after < before.loss)) continue;
          Object.assign(found, { kl, change: after - before.loss, step: factor });
          parameters = candidate;
          break;
        }
      }
      await trainer.assign(parameters, { countsStep: true });
      const metrics = { 'trpo/kl': found.kl, 'trpo/surrogate_change': found.change, 'trpo/step': found.step };
      return { ...before, metrics: { ...before.metrics, ...metrics }, gradNorm };
    },
  };
}
