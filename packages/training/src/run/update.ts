import type { TrainingRow } from '../loss/rows.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { ForwardBackwardResult } from '../trainer/pass-sum.js';
import type { Penalty } from '../trainer/penalty.js';
import type { OptimStepOptions, StepInputs } from '../trainer/step-options.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** What `update` gives: the loss, metrics and the norm of the gradient. */
export interface UpdateResult extends ForwardBackwardResult {
  readonly gradNorm: number;
}

/** One update of the weights: gradients of the rows, then a step. Retried where dynamic loss scaling had to scale down. */
export const update = <M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
  learningRate: number,
  { penalties, ...inputs }: StepInputs & Pick<OptimStepOptions, 'penalties'> = {},
): Promise<UpdateResult> =>
  updateBy(trainer, () => trainer.forwardBackward(rows, loss, inputs), learningRate, penalties);

/** The same with what adds the gradients, as `forwardBackwardCoupled`. */
export async function updateBy<M extends TrainableModel>(
  trainer: Trainer<M>,
  addGradients: () => Promise<ForwardBackwardResult>,
  learningRate: number,
  penalties: readonly Penalty[] = [],
): Promise<UpdateResult> {
  for (;;) {
    const result = await addGradients();
    const { gradNorm, skipped, penalties: values } = await trainer.optimStep({ learningRate, penalties });
    const named = Object.fromEntries(Object.entries(values).map(([name, value]) => [`penalty/${name}`, value]));
    if (!skipped) return { ...result, metrics: { ...result.metrics, ...named }, gradNorm };
  }
}
