import type { Adapter } from '@posttrain/lm';
import {
  contentHash,
  type EvaluationOnRows,
  type Trainer,
  type TrainingRow,
  type TrainingSettings,
  type UpdateResult,
} from '@posttrain/training';

/** What preferences are made ready with. */
export interface PreferenceSettings
  extends Pick<TrainingSettings, 'model' | 'adapter' | 'maxTokensPerPass' | 'onWarning' | 'onProgress'> {
  readonly reference: Adapter;
  readonly maxLength: number;
}

/** Rows that are ready to be trained on. */
export interface PreferenceData {
  /** What they are as tokens, for the identity of a run. */
  readonly rows: readonly object[];
  /** Left out because their prompt alone fills `maxLength`. */
  readonly dropped: number;
  /** Left out because there is no difference to learn. */
  readonly identical: number;
  /** One update with some of the rows. */
  update(trainer: Trainer, indices: readonly number[], rate: number): Promise<UpdateResult>;
  /** Evaluation on all of them. */
  readonly evaluation: () => EvaluationOnRows;
}

/** What is done with rows of one kind: pairs, single completions, rankings. One for a run, as losses are compiled once. */
export interface PreferenceKind<Row> {
  /** What messages call the rows. */
  readonly called: string;
  /** What a row must have beside a prompt that is short enough; for the error of a run that is left with none. */
  readonly needs: string;
  /** The code of that error. */
  readonly code: string;
  /**
   * Rows as tokens, with what the reference thinks of them where the loss asks for that. Those that teach nothing are left out.
   *
   * @throws PreferenceRowError
   */
  ready(rows: readonly Row[]): Promise<PreferenceData>;
}

/** An evaluation by one function. */
export const measuring = (
  rows: readonly TrainingRow[],
  measure: (trainer: Trainer) => Promise<Pick<UpdateResult, 'loss' | 'metrics'>>,
): EvaluationOnRows => ({
  digest: contentHash(rows),
  async measure(trainer, signal) {
    signal?.throwIfAborted();
    const { loss, metrics } = await measure(trainer);
    return { loss, ...metrics };
  },
});
