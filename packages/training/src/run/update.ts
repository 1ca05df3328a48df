import type { ForwardBackwardResult } from '../trainer/pass-sum.js';
import type { TrainingRow } from '../trainer/rows.js';
import type { TokenLoss } from '../trainer/token-loss.js';
import type { Trainer } from '../trainer/trainer.js';

/** What `update` gives: the loss, metrics and the norm of the gradient. */
export interface UpdateResult extends ForwardBackwardResult {
  readonly gradNorm: number;
}

/** One update of the weights: gradients of the rows, then a step. Where loss scaling had to scale down, it is done again. */
export async function update(
  trainer: Trainer,
  rows: readonly TrainingRow[],
  loss: TokenLoss,
  learningRate: number,
): Promise<UpdateResult> {
  for (;;) {
    const result = await trainer.forwardBackward(rows, loss);
    const { gradNorm, skipped } = await trainer.optimStep({ learningRate });
    if (!skipped) return { ...result, gradNorm };
  }
}
