/** Metrics of one step by name. */
export type Metrics = Readonly<Record<string, number>>;

/** One entry of the log of a run. */
export interface StepMetrics {
  /**
   * Counted from 0. An entry that is a mean over several steps has the last of them, an evaluation the step that it follows:
   * -1 before the first.
   */
  readonly step: number;
  /** Under the names Hugging Face's trainers and TRL log; those of evaluations begin with `eval_`. */
  readonly metrics: Metrics;
}
