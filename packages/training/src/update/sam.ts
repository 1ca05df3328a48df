import { compile, perEngine, scalar, type Tensor } from '@posttrain/core-tensor';
import { globalNorm, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { boolean, type Given, number, options } from '@posttrain/interfaces';
import type { UpdateRule } from './update-rule.js';

const samOptions = options('sam', {
  /** ρ, how far away the worst neighbour is looked for. Default 0.05; with `adaptive` ten times as much is usual. */
  rho: number({ default: 0.05, above: 0 }),
  /** Measure the distance in parts of each weight: ASAM (arXiv 2102.11600). Default false. */
  adaptive: boolean({ default: false }),
});
/** Options of `sam`, by the names of its reference implementations. */
export type SamOptions = Given<typeof samOptions>;

/** Theirs: what is added to the norm that the gradient is divided by. */
const EPSILON = 1e-12;

/** θ + e(θ), and ‖∇L(θ)‖. What has no gradient stays. */
const worstNeighbour = perEngine(() => {
  const compiled = (adaptive: boolean) =>
    compile(
      (parameters: Named, gradients: Named, rho: Tensor) => {
        const scaled = adaptive ? mapNamed(gradients, (g, name) => g.mul(parameters[name]!.abs())) : gradients;
        const length = rho.div(globalNorm(scaled).add(EPSILON));
        const step = (g: Tensor, p: Tensor) => (adaptive ? p.square().mul(g) : g).mul(length);
        const moved = mapNamed(parameters, (p, name) => (gradients[name] ? p.add(step(gradients[name], p)) : p));
        return { moved, norm: globalNorm(gradients) };
      },
      { name: adaptive ? 'asam' : 'sam' },
    );
  return { plain: compiled(false), adaptive: compiled(true) };
});

/**
 * Sharpness-aware minimisation (SAM, arXiv 2010.01412, algorithm 1) as the rule of an update: min max_{‖e‖ ≤ ρ} L(θ +
 * e). The optimizer takes g = ∇L(θ + ρ ∇L / ‖∇L‖) for its gradient; with `adaptive` (ASAM) e is ρ θ² ∇L / ‖θ ∇L‖. It
 * costs a second gradient. Loss and metrics are those at θ, `grad_norm` is ‖g‖; the metrics `sam/sharpness`, L(θ + e)
 * - L(θ), and `sam/first_grad_norm` are of the ascent.
 *
 * Both gradients are of all rows, not of a part each (the m-sharpness of its experiments), and have the same dropout.
 *
 * @throws OptionError; what `Trainer.gradients` and `optimStep` throw
 */
export function sam(given: SamOptions = {}): UpdateRule {
  const { rho, adaptive } = samOptions.read(given);
  return {
    name: adaptive ? 'asam' : 'sam',
    settings: samOptions.settings(given),
    async update(trainer, rows, loss, { learningRate, ...inputs }) {
      const { gradients: ascent, ...result } = await trainer.gradients(rows, loss, inputs);
      const neighbour = worstNeighbour(trainer.model.network.engine)[adaptive ? 'adaptive' : 'plain'];
      const { moved, norm } = await neighbour(trainer.parameters, ascent, scalar(rho));
      const { gradients, loss: worst } = await trainer.gradients(rows, loss, { ...inputs, parameters: moved });
      const { gradNorm } = await trainer.optimStep({ learningRate, gradients });
      const metrics = { 'sam/sharpness': worst - result.loss, 'sam/first_grad_norm': await norm.item() };
      return { ...result, metrics: { ...result.metrics, ...metrics }, gradNorm };
    },
  };
}
