import { compile, scalar, type Tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named, type Optimizer } from '@posttrain/core-tensor/optim';
import { custom, type Given, number, options, PosttrainError } from '@posttrain/interfaces';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** The state of `pathIntegral`. */
export interface PathIntegralState {
  /** That of the optimizer within. */
  readonly inner: object;
  /** ω, by parameter. */
  readonly path: Named;
  /** The parameters before the first update. */
  readonly start: Named;
}

/**
 * The path integral of synaptic intelligence (SI, arXiv 1703.04200, eq. 3) around an optimizer: every update adds -g Δθ
 * to ω, how much of the fall of the loss each parameter had a part in. ω is part of the optimizer's state, and so of
 * checkpoints. g is the gradient as the optimizer gets it: clipped, and with those of penalties.
 */
export function pathIntegral(optimizer: Optimizer<object>): Optimizer<PathIntegralState> {
  const { refresh, ...rule } = optimizer;
  return {
    ...rule,
    name: `path-integral(${optimizer.name})`,
    init: (parameters) => ({
      inner: optimizer.init(parameters),
      path: mapNamed(parameters, (p) => p.mul(0)),
      start: mapNamed(parameters, (p) => p.add(0)),
    }),
    update(parameters, gradients, { inner, path, start }, learningRate) {
      const result = optimizer.update(parameters, gradients, inner, learningRate);
      const longer = mapNamed(path, (sum, name) =>
        gradients[name] ? sum.sub(gradients[name].mul(result.parameters[name]!.sub(parameters[name]!))) : sum,
      );
      return { parameters: result.parameters, state: { inner: result.state, path: longer, start } };
    },
    ...(refresh && {
      refresh: (gradients: Named, state: PathIntegralState, step: number) =>
        refresh(gradients, state.inner, step)?.then((inner) => ({ ...state, inner })),
    }),
  };
}

const importanceOptions = options('synapticImportance', {
  /** ξ, added to the square of how far a parameter has gone. Default 0.1, as in the paper. */
  xi: number({ default: 0.1, above: 0 }),
  /** Ω of the tasks before, to which that of this one is added. Default: none. */
  previous: custom<Named>()('tensors by parameter', (value) => typeof value === 'object' && value !== null, {
    default: {},
    decisive: false,
  }),
});
/** Options of `synapticImportance`. */
export type SynapticImportanceOptions = Given<typeof importanceOptions>;

/**
 * Ω of SI (arXiv 1703.04200, eq. 5) after a task: Σ over tasks of ω / ((θ - θ_start)² + ξ), of a trainer whose optimizer
 * is a `pathIntegral` and was made for this task. The penalty c Σ Ω (θ - θ*)² is `ewc({ anchors:
 * await trainer.copyParameters(), fisher: Ω, lambda: 2 * c })`.
 *
 * @throws OptionError; PosttrainError SYNAPTIC_INTELLIGENCE where the optimizer keeps no path integral
 */
export async function synapticImportance<M extends TrainableModel>(
  trainer: Trainer<M>,
  given: SynapticImportanceOptions = {},
): Promise<Named> {
  const { xi, previous } = importanceOptions.read(given);
  const { engine } = trainer.model.network;
  const kept = mapNamed(trainer.variables, (_, name) => trainer.optimizerState[name]!.path!);
  const start = mapNamed(kept, (_, name) => trainer.optimizerState[name]!.start!);
  const missing = Object.keys(kept).find((name) => !kept[name] || !start[name]);
  if (missing !== undefined) {
    const problem = `synapticImportance: the optimizer keeps no path of ${missing}; give pathIntegral(optimizer)`;
    throw new PosttrainError('SYNAPTIC_INTELLIGENCE', problem);
  }
  const importance = compile(
    (paths: Named, from: Named, to: Named, before: Named, damping: Tensor): Named =>
      mapNamed(paths, (path, name) => {
        const own = path.div(to[name]!.sub(from[name]!).square().add(damping));
        return before[name] ? own.add(before[name]) : own;
      }),
    { name: 'synapticImportance', engine },
  );
  return importance(kept, start, trainer.variables, previous, scalar(xi));
}
