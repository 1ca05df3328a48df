import type { TrainingRow } from '../loss/rows.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { ForwardBackwardResult } from '../trainer/pass-sum.js';
import type { StepInputs } from '../trainer/step-options.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** What `update` gives: the loss, metrics and the norm of the gradient. */
export interface UpdateResult extends ForwardBackwardResult {
  readonly gradNorm: number;
}

/** One update of the weights: gradients of the rows, then a step. Where loss scaling had to scale down, it is done again. */
export const update = <M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
  learningRate: number,
  inputs: StepInputs = {},
): Promise<UpdateResult> => updateBy(trainer, () => trainer.forwardBackward(rows, loss, inputs), learningRate);

/** The same with what adds the gradients, as `forwardBackwardCoupled`. */
export async function updateBy<M extends TrainableModel>(
  trainer: Trainer<M>,
  addGradients: () => Promise<ForwardBackwardResult>,
  learningRate: number,
): Promise<UpdateResult> {
  for (;;) {
    const result = await addGradients();
    const { gradNorm, skipped } = await trainer.optimStep({ learningRate });
    if (!skipped) return { ...result, gradNorm };
  }
}
