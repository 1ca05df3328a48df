import type { DecisiveSettings } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { AnyLoss, TrainingRow } from '@posttrain/training';

/**
 * A loss of rows that are no rollouts, whose gradient is added to that of every update of a policy: what keeps a policy from forgetting
 * how texts are written. A function of the number of the update, so that a resumed run has the same rows.
 */
export interface BesideLoss {
  /** For reports. */
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Its value is added to the loss of the update, and its metrics to that one's. */
  readonly loss: AnyLoss;
  /**
   * The rows of an update, counted from 0 over the whole run. It is asked once before the first step, so that what is wrong with them is
   * known then.
   */
  rows(model: CausalLM, update: number): readonly TrainingRow[];
}
