import { Key } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, options } from '@posttrain/interfaces';
import type { Loss } from '../loss/loss.js';
import type { TrainingRow } from '../loss/rows.js';
import { weightedSum } from '../loss/token-loss.js';
import { drawnTokens } from '../readouts/drawn-tokens.js';
import { logProbsOf } from '../readouts/log-probs-of.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';
import { meanOverRows } from './row-means.js';

const fisherDiagonalOptions = options('fisherDiagonal', {
  /** How often labels are drawn for every row. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Of the labels. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `fisherDiagonal`. */
export type FisherDiagonalOptions = Given<typeof fisherDiagonalOptions>;

const UNIFORMS = 'label_uniforms';
const LABELS = 'drawn_labels';
const drawn = drawnTokens({ uniforms: UNIFORMS });

/** -log p of labels that are annotations of the rows. */
const ofLabels: Loss = (() => {
  const readout = logProbsOf({ ids: LABELS, k: 1 });
  return {
    name: 'nll of drawn labels',
    annotations: readout.annotations!,
    computeFrom: (read, { weights }) => ({ loss: weightedSum(read(readout).squeeze(2).neg(), weights), metrics: {} }),
  };
})();

/**
 * The diagonal of the Fisher information of what a model predicts, by parameter: the mean over rows of E[(∂ Σ_t log p(ŷ_t | x_<t) /
 * ∂θ)²], where every label ŷ_t is drawn from the model itself and x_<t is the row's own text (EWC, arXiv 1612.00796; why labels of
 * the data will not do: arXiv 1905.12558). The scores of the labels of a row have mean 0 and are independent, so that this is Σ_t
 * E[(∂ log p(ŷ_t) / ∂θ)²], the diagonal of `fisher()` at weights of 1. One pass with a gradient for each row and sample, and
 * one without.
 *
 * @throws OptionError; PosttrainError IMPORTANCE without rows; what `Trainer.read` and `reduceGradients` throw
 */
export async function fisherDiagonal<M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  given: FisherDiagonalOptions = {},
): Promise<Named> {
  const { samples, seed } = fisherDiagonalOptions.read(given);
  const labelled: TrainingRow[] = [];
  for (let sample = 0; sample < samples; sample++) {
    const key = Key.fromSeed(seed).child(sample);
    const asked = rows.map((row, i) => {
      const uniforms = Float32Array.from(key.child(i).uniformHost(row.tokens.length - 1));
      return { ...row, annotations: { ...row.annotations, [UNIFORMS]: uniforms } };
    });
    const labels = await trainer.read(asked, drawn);
    labelled.push(
      ...rows.map((row, i) => ({
        ...row,
        annotations: { ...row.annotations, [LABELS]: Int32Array.from(labels[i]!) },
      })),
    );
  }
  return meanOverRows(trainer, labelled, ofLabels, 'squares');
}

/**
 * The diagonal of the empirical Fisher information of rows, by parameter: the mean over rows of (∂ log p(row) / ∂θ)², where log p
 * is that of the row's own labels, summed over the predictions whose weight is not 0. It is not the Fisher information (arXiv
 * 1905.12558): where a model knows its rows it is near 0, and `fisherDiagonal` is not.
 *
 * @throws PosttrainError IMPORTANCE without rows; what `Trainer.reduceGradients` throws
 */
export const empiricalFisherDiagonal = <M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
): Promise<Named> => meanOverRows(trainer, rows, loss, 'squares');
