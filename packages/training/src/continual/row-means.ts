import { compile, scalar, type Tensor, zerosBuffer } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { GradientReduction } from '../trainer/row-gradients.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

const sumOf = (name: string, of: (gradient: Tensor) => Tensor): GradientReduction<Named> => ({
  name,
  reduce: (sums, gradients) => ({ state: mapNamed(sums, (sum, key) => sum.add(of(gradients[key]!))) }),
});
const reductions = { squares: sumOf('squares', (g) => g.square()), magnitudes: sumOf('magnitudes', (g) => g.abs()) };

/**
 * Importances: the mean over rows of g² (`squares`) or |g| (`magnitudes`), g being the gradient of one row, by parameter. A mean of
 * the gradients is never taken first: (Σ g)² is another number, and near 0 where a model has been trained to the end. Predictions of
 * weight 0 are left out, all others weigh 1; what belongs to no row (routers' losses, an adapter's penalty) is left out too.
 *
 * @throws PosttrainError IMPORTANCE without rows; what `Trainer.reduceGradients` throws
 */
export async function meanOverRows<M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
  of: keyof typeof reductions,
): Promise<Named> {
  if (rows.length === 0)
    throw new PosttrainError('IMPORTANCE', 'importances are of rows, and there are none; give some');
  const state = mapNamed(trainer.variables, (p) => zerosBuffer(p.shape));
  const { state: sums } = await trainer.reduceGradients(rows.map(counted), loss, reductions[of], {
    state,
    rowsOnly: true,
  });
  const { engine } = trainer.model.network;
  const scaled = compile((all: Named, by: Tensor): Named => mapNamed(all, (x) => x.mul(by)), { name: of, engine });
  return scaled(sums, scalar(1 / rows.length));
}

/** The row with a weight of 1 wherever there was one. */
const counted = (row: TrainingRow): TrainingRow => ({
  ...row,
  weights: Array.from(row.weights, (weight) => (weight === 0 ? 0 : 1)),
});

/** The same rows with weights that add up to 1. */
export function normalised(rows: readonly TrainingRow[]): TrainingRow[] {
  const total = rows.reduce((sum, { weights }) => sum + Array.from(weights).reduce((a, b) => a + b, 0), 0);
  return rows.map((row) => ({ ...row, weights: Array.from(row.weights, (weight) => weight / total) }));
}
