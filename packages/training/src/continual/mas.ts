import type { Named } from '@posttrain/core-tensor/optim';
import type { Loss } from '../loss/loss.js';
import type { TrainingRow } from '../loss/rows.js';
import { weightedSum } from '../loss/token-loss.js';
import { squaredLogits } from '../readouts/squared-logits.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';
import { meanOverRows } from './row-means.js';

/** Σ w ‖z‖² of the logits z of predictions. */
const outputNorm: Loss = (() => {
  const readout = squaredLogits();
  return {
    name: 'squared output',
    annotations: [],
    computeFrom: (read, { weights }) => ({ loss: weightedSum(read(readout), weights), metrics: {} }),
  };
})();

/**
 * Importances of memory aware synapses (MAS, arXiv 1711.09601, eq. 3 and 4), by parameter: Ω = the mean over rows of |∂ ‖F(row)‖² /
 * ∂θ|, how much the output moves with a parameter. F is the logits of the predictions whose weight is not 0, so that labels have
 * no part in it: any text will do that is like what is to be remembered. Over tasks they are added up (`addImportance`). The
 * penalty λ Σ Ω (θ - θ*)² of the paper is `ewc({ anchors, fisher: Ω, lambda: 2 * λ })`.
 *
 * @throws PosttrainError IMPORTANCE without rows; what `Trainer.reduceGradients` throws
 */
export const masImportance = <M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
): Promise<Named> => meanOverRows(trainer, rows, outputNorm, 'magnitudes');
