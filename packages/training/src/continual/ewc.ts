import { compile, realize, scalar, type Tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { Penalty } from '../trainer/penalty.js';
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

/**
 * The diagonal of the empirical Fisher information of rows, by parameter: the mean over rows of (∂ log p(row) / ∂θ)², where log p
 * is summed over the predictions whose weight is not 0. One pass a row; gradients that were there must have been taken.
 *
 * @throws what `Trainer.forwardBackward` and `takeGradients` throw
 */
export async function fisherDiagonal<M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
): Promise<Named> {
  const { engine } = trainer.model.network;
  const add = compile(
    (sums: Named, gradients: Named, factor: Tensor): Named =>
      mapNamed(gradients, (g, name) => {
        const square = g.square().mul(factor);
        return sums[name] ? sums[name].add(square) : square;
      }),
    { name: 'fisher', engine },
  );
  let sums: Named = {};
  for (const row of rows) {
    const weights = Array.from(row.weights, (weight) => (weight === 0 ? 0 : 1));
    await trainer.forwardBackward([{ ...row, weights }], loss);
    sums = await add(sums, await trainer.takeGradients(), scalar(1 / rows.length));
  }
  await realize(Object.values(sums), { engine });
  return sums;
}
