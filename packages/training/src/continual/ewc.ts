import { compile, perEngine, scalar, type Tensor, zerosBuffer } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { Penalty } from '../trainer/penalty.js';
import type { GradientReduction } from '../trainer/row-gradients.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** What is known of an earlier task: its weights, and how much each of them matters to it. */
export interface EwcOptions {
  /** θ*, the parameters after the earlier task, by name: `trainer.copyParameters()`. */
  readonly anchors: Named;
  /** F, the diagonal of its Fisher information: `fisherDiagonal`. */
  readonly fisher: Named;
  /** λ, how much the earlier task counts. */
  readonly lambda: number;
}

const distance = (parameters: Named, { lambda, ...tensors }: Named): Tensor => {
  const terms = Object.entries(parameters).map(([name, p]) =>
    p.sub(tensors[`anchors.${name}`]!).square().mul(tensors[`fisher.${name}`]!).sum(),
  );
  return terms
    .reduce((a, b) => a.add(b))
    .mul(lambda!)
    .mul(0.5);
};

/**
 * Elastic weight consolidation (arXiv 1612.00796, eq. 3), as a penalty of `optimStep`: λ/2 Σ F_i (θ_i - θ*_i)².
 *
 * @throws PosttrainError EWC where anchors and Fisher information are not of the same parameters
 */
export function ewc({ anchors, fisher, lambda }: EwcOptions): Penalty {
  const [a, b] = [anchors, fisher].map((named) => Object.keys(named).sort().join());
  if (a !== b) throw new PosttrainError('EWC', 'ewc: anchors and fisher must have the same parameters');
  const under = (prefix: string, named: Named) => Object.entries(named).map(([name, x]) => [`${prefix}.${name}`, x]);
  const tensors = Object.fromEntries([...under('anchors', anchors), ...under('fisher', fisher)]) as Named;
  return { name: 'ewc', tensors: { ...tensors, lambda: scalar(lambda) }, compute: distance };
}

/** Σ g², which starts from zeros. */
const squares: GradientReduction<Named> = {
  name: 'fisher',
  reduce: (sums, gradients) => ({ state: mapNamed(sums, (sum, name) => sum.add(gradients[name]!.square())) }),
};

const mean = perEngine(() =>
  compile((sums: Named, factor: Tensor): Named => mapNamed(sums, (sum) => sum.mul(factor)), { name: 'fisher' }),
);

/**
 * The diagonal of the empirical Fisher information of rows, by parameter: the mean over rows of (∂ log p(row) / ∂θ)², where log p
 * is summed over the predictions whose weight is not 0. One pass a row; what belongs to no row (routers' losses, an adapter's penalty) is
 * no part of log p. Gradients that were added stay.
 *
 * @throws what `Trainer.reduceGradients` throws
 */
export async function fisherDiagonal<M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
): Promise<Named> {
  const whole = rows.map((row) => ({ ...row, weights: Array.from(row.weights, (weight) => (weight === 0 ? 0 : 1)) }));
  const zeros = mapNamed(trainer.variables, (p) => zerosBuffer(p.shape));
  const { state } = await trainer.reduceGradients(whole, loss, squares, { state: zeros, rowsOnly: true });
  return mean(trainer.model.network.engine)(state, scalar(1 / rows.length));
}
