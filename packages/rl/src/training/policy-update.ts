import {
  type AnyLoss,
  type ForwardBackwardResult,
  forwardBackwardCoupled,
  type Trainer,
  type TrainingRow,
  type UpdateResult,
  type UpdateRule,
  updateBy,
  updateByRule,
} from '@posttrain/training';
import type { PolicyLoss } from '../loss-objective.js';
import type { ScoredRollout } from '../rollout.js';

/** What an update of a policy is made of. */
export interface PolicyUpdate {
  readonly rows: readonly TrainingRow[];
  readonly loss: PolicyLoss;
  readonly scalars?: Readonly<Record<string, number>> | undefined;
  readonly rule?: UpdateRule | undefined;
  /** Rows that are no rollouts, and their loss: its gradient is added. */
  readonly beside?: { readonly rows: readonly TrainingRow[]; readonly loss: AnyLoss } | undefined;
  readonly learningRate: number;
}

/** One update of a policy: the optimizer's step of any loss, or a rule's. */
export function policyUpdate(
  trainer: Trainer,
  { rows, loss, scalars = {}, rule, beside, learningRate }: PolicyUpdate,
): Promise<UpdateResult> {
  if (rule && !('readout' in loss)) return updateByRule(trainer, rule, rows, loss, { scalars, learningRate });
  const added = async (): Promise<ForwardBackwardResult> => {
    const own = await ('readout' in loss
      ? forwardBackwardCoupled(trainer, rows, loss)
      : trainer.forwardBackward(rows, loss, { scalars }));
    if (!beside) return own;
    const other = await trainer.forwardBackward(beside.rows, beside.loss);
    return {
      loss: own.loss + other.loss,
      metrics: { ...own.metrics, ...other.metrics },
      tokens: own.tokens + other.tokens,
    };
  };
  return updateBy(trainer, added, learningRate);
}

/** Why rows teach nothing at all, so that there is nothing to update by; undefined where they do. */
export function whyNoUpdate(
  rows: readonly TrainingRow[],
  rollouts: readonly ScoredRollout[],
  { maskTruncatedCompletions }: { readonly maskTruncatedCompletions: boolean },
): string | undefined {
  if (rows.length > 0) {
    if (rows.some(({ weights }) => Array.from(weights).some((weight) => weight !== 0))) return undefined;
    return `the objective weighs every token of its ${rows.length} rows 0`;
  }
  const failed = rollouts.find(({ failure }) => failure !== undefined);
  if (failed) {
    const count = rollouts.filter(({ failure }) => failure !== undefined).length;
    return `${count} of ${rollouts.length} episodes failed, the first with: ${failed.failure}`;
  }
  const cut = rollouts.filter(({ finishReason }) => finishReason === 'length').length;
  if (maskTruncatedCompletions && cut > 0) {
    const others = cut < rollouts.length ? ', and the others have no token that is trained' : '';
    return `${cut} of ${rollouts.length} completions reached maxCompletionLength, which maskTruncatedCompletions leaves out${others}`;
  }
  return `none of ${rollouts.length} completions has a token that is trained (their mask is 0, or the objective makes no row of them)`;
}
