import type { SourcedRow as AnySourcedRow, RowRequest, RowSource as TrainingRowSource } from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import type { Rollout } from '../rollout.js';
import type { FeedbackContext } from './rollout-source.js';

/** A row to sample from. */
export interface SourcedRow<Row extends PromptRow = PromptRow> extends AnySourcedRow<Row> {
  /** The tokens to go on from, where they are not those of the row's prompt. */
  readonly promptTokens?: readonly number[];
}

/**
 * Prompts that are asked anew for every step, of a source that may say from where in the middle of a trajectory to go on, and that
 * learns from what came of it. What it has learnt from `feedback` is its `state`. With dynamic sampling it is asked several times a
 * step.
 */
export interface RowSource<Row extends PromptRow = PromptRow> extends TrainingRowSource<Row> {
  next(request: RowRequest): readonly SourcedRow<Row>[] | Promise<readonly SourcedRow<Row>[]>;
  /** The last rollouts, after the step's updates. */
  feedback?(rollouts: readonly Rollout<Row>[], context: FeedbackContext): void | Promise<void>;
}
