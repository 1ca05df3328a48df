import { type DecisiveSettings, PosttrainError, showValue } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import type { UpdateResult } from '../run/update.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { StepInputs } from '../trainer/step-options.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** What a rule is told beside rows and loss. */
export interface UpdateInputs extends StepInputs {
  /** What the schedule of the run says. */
  readonly learningRate: number;
}

/**
 * How an update is made of rows and a loss, where it is not the gradient's step of an optimizer: within a trust region
 * (TRPO), of gradients of rows (DP-SGD). It is written with what a `Trainer` has and keeps nothing from update to
 * update, so that a run that goes on is the same run.
 */
export interface UpdateRule {
  readonly name: string;
  /** What it was made with, which a resumed run must share. */
  readonly settings: DecisiveSettings;
  /**
   * Whether it compares values of the loss, so that a loss of which the gradient alone is right will not do. Default
   * false.
   */
  readonly needsValue?: boolean;
  /** One update, which `trainer.step` counts: by `optimStep`, or by `assign` with `countsStep`. */
  update<M extends TrainableModel>(
    trainer: Trainer<M>,
    rows: readonly TrainingRow[],
    loss: AnyLoss,
    inputs: UpdateInputs,
  ): Promise<UpdateResult>;
}

/**
 * One update by a rule.
 *
 * @throws PosttrainError UPDATE_RULE for one that gives no loss, metrics or norm of the gradient; what the rule throws
 */
export async function updateByRule<M extends TrainableModel>(
  rule: UpdateRule,
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
  inputs: UpdateInputs,
): Promise<UpdateResult> {
  const result: Partial<UpdateResult> | undefined = await rule.update(trainer, rows, loss, inputs);
  const { loss: value, gradNorm, metrics } = result ?? {};
  const isResult = typeof value === 'number' && typeof gradNorm === 'number' && typeof metrics === 'object' && metrics;
  if (isResult) return result as UpdateResult;
  const problem = `gave ${showValue(result)}; it must give { loss, metrics, gradNorm, tokens }, metrics as {} where it has none`;
  throw new PosttrainError('UPDATE_RULE', `step ${trainer.step}: the update rule ${rule.name} ${problem}`);
}

/** What an update rule may be given as, in words. */
export const UPDATE_RULE = 'a rule for updates, such as dpSgd({ maxGradNorm, noiseMultiplier })';

/** Whether a value is an update rule. */
export const isUpdateRule = (value: unknown): boolean =>
  typeof (value as Partial<UpdateRule> | null | undefined)?.update === 'function';
