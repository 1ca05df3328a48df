import { compile, Key, normal, perEngine, scalar, type Tensor, zerosBuffer } from '@posttrain/core-tensor';
import { globalNorm, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import { hessian } from '../curvature/hessian.js';
import { NonFiniteError } from '../trainer/non-finite-error.js';
import { type UpdateRule, UpdateRuleError } from './update-rule.js';

const sophiaOptions = options('sophia', {
  /** β₁, decay of the mean of the gradients. Default 0.96. */
  beta1: number({ default: 0.96, min: 0, below: 1 }),
  /** β₂, decay of the mean of the estimates. Default 0.99. */
  beta2: number({ default: 0.99, min: 0, below: 1 }),
  /** γ: the smaller, the more coordinates are clipped to one length. Default 0.01, as for the Hutchinson estimator. */
  gamma: number({ default: 0.01, above: 0 }),
  /** Least that a coordinate is divided by. Default 1e-12. */
  epsilon: number({ default: 1e-12, above: 0 }),
  /** k: the diagonal is estimated in every k-th update, the first among them. Default 10. */
  updatePeriod: integer({ default: 10, min: 1 }),
  /** λ, decoupled: θ ← θ (1 - η λ) before the step. Default 0. */
  weightDecay: number({ default: 0, min: 0 }),
  /** Of the vectors u, which depend on it and the number of the step. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `sophia`, with the defaults of the paper. */
export type SophiaOptions = Given<typeof sophiaOptions>;

/** Scalars of a step, inputs of its graph. */
export interface SophiaScalars extends Named {
  readonly rate: Tensor;
  readonly beta1: Tensor;
  readonly gamma: Tensor;
  readonly epsilon: Tensor;
  readonly decay: Tensor;
}

/** h ← β₂ h + (1 - β₂) ĥ. */
export const sophiaEstimate = (diagonal: Named, estimate: Named, beta2: Tensor | number): Named =>
  mapNamed(diagonal, (h, name) => h.sub(estimate[name]!).mul(beta2).add(estimate[name]!));

/** m ← β₁ m + (1 - β₁) g; θ ← θ (1 - η λ) - η clip(m / max(γ h, ε), 1). */
export function sophiaStep(
  parameters: Named,
  gradients: Named,
  mean: Named,
  diagonal: Named,
  { rate, beta1, gamma, epsilon, decay }: SophiaScalars,
): { readonly parameters: Named; readonly mean: Named; readonly clipped: Tensor } {
  const next = mapNamed(mean, (m, name) => m.mul(beta1).add(gradients[name]!.mul(beta1.neg().add(1))));
  const divisor = mapNamed(diagonal, (h) => h.mul(gamma).maximum(epsilon));
  const moved = mapNamed(next, (m, name) => {
    const step = m.div(divisor[name]!).maximum(-1).minimum(1);
    return parameters[name]!.mul(rate.mul(decay).neg().add(1)).sub(step.mul(rate));
  });
  const [sizes, counts] = [
    Object.values(next).map(({ size }) => size),
    Object.entries(next).map(([name, m]) => {
      return m.abs().greaterEqual(divisor[name]!).cast('float32').sum();
    }),
  ];
  const clipped = counts.reduce((a, b) => a.add(b)).div(sizes.reduce((a, b) => a + b, 0));
  return { parameters: moved, mean: next, clipped };
}

const compiled = perEngine(() => ({
  draw: compile((keys: Named, like: Named): Named => mapNamed(like, (x, name) => normal(keys[name]!, x.shape)), {
    name: 'sophia',
  }),
  estimate: compile(
    (diagonal: Named, vector: Named, product: Named, beta2: Tensor): Named =>
      sophiaEstimate(
        diagonal,
        mapNamed(vector, (u, name) => u.mul(product[name]!)),
        beta2,
      ),
    { name: 'sophia' },
  ),
  norm: compile((gradients: Named) => globalNorm(gradients), { name: 'sophia' }),
  step: compile(sophiaStep, { name: 'sophia' }),
}));

/**
 * Sophia-H (arXiv 2305.14342, algorithm 3) as the rule of an update: θ ← θ - η clip(m / max(γ h, ε), 1), by coordinate, with m the
 * mean of the gradients and h that of estimates of the Hessian's diagonal, u ⊙ ∇²L u with u ~ N(0, I) (Hutchinson) in every k-th
 * update. Where h is not positive a coordinate moves by η, as in sign descent. m and h are its state, in checkpoints as
 * `kept.sophia.mean.…` and `kept.sophia.diagonal.…`. η is the run's learning rate, about that of Lion or a fifth of AdamW's; the
 * trainer's optimizer and its `maxGradNorm` are not used. The estimate costs about four gradients, of the rows of its step.
 *
 * The metrics are `sophia/clipped`, the part of all coordinates that move by η.
 *
 * @throws OptionError; NonFiniteError before a bad update; what `Trainer.gradients` and `product` throw
 */
export function sophia(given: SophiaOptions = {}): UpdateRule {
  const { beta1, beta2, gamma, epsilon, updatePeriod, weightDecay, seed } = sophiaOptions.read(given);
  const under = (prefix: string, named: Named) => Object.entries(named).map(([name, x]) => [`${prefix}.${name}`, x]);
  const of = (state: Named, prefix: string, like: Named): Named =>
    mapNamed(like, (_, name) => state[`${prefix}.${name}`]!);
  return {
    name: 'sophia',
    settings: sophiaOptions.settings(given),
    init(variables) {
      const zeros = () => mapNamed(variables, (p) => zerosBuffer(p.shape));
      return Object.fromEntries([...under('mean', zeros()), ...under('diagonal', zeros())]);
    },
    async update(trainer, rows, loss, { learningRate, ...inputs }, state) {
      if (!state) throw new UpdateRuleError('sophia', trainer.step, 'call it by updateByRule, which holds its state.');
      const { variables, parameters, step } = trainer;
      const { draw, estimate, norm, step: take } = compiled(trainer.model.network.engine);
      const { gradients, ...result } = await trainer.gradients(rows, loss, inputs);
      const gradNorm = await (await norm(gradients)).item();
      if (!Number.isFinite(gradNorm)) throw NonFiniteError.ofStep('the gradient norm', gradNorm, step, undefined);
      let diagonal = of(state, 'diagonal', variables);
      if (step % updatePeriod === 0) {
        const key = Key.fromSeed(seed).child(step);
        const keys = Object.keys(variables).map((name, i) => [name, key.child(i).toTensor()] as const);
        const vector = await draw(Object.fromEntries(keys), variables);
        const product = await trainer.product(rows, hessian(loss), vector, inputs);
        diagonal = await estimate(diagonal, vector, product, scalar(beta2));
      }
      const scalars = { rate: learningRate, beta1, gamma, epsilon, decay: weightDecay };
      const inGraph = Object.fromEntries(Object.entries(scalars).map(([name, x]) => [name, scalar(x)]));
      const next = await take(variables, gradients, of(state, 'mean', variables), diagonal, inGraph as SophiaScalars);
      await trainer.assign({ ...parameters, ...next.parameters }, { countsStep: true });
      return {
        ...result,
        metrics: { ...result.metrics, 'sophia/clipped': await next.clipped.item() },
        gradNorm,
        state: Object.fromEntries([...under('mean', next.mean), ...under('diagonal', diagonal)]),
      };
    },
  };
}
