import type { DecisiveSettings } from '@posttrain/interfaces';

/** What an aggregation knows beside the lengths. */
export interface AggregationContext {
  /** Most tokens a completion may have. */
  readonly maxCompletionLength: number;
}

/** How the losses of single tokens add up to one number, said as weights. */
export interface Aggregation {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /**
   * @param lengths trained tokens of every completion of the step, in order; 0 for one that is left out
   * @returns the weight of each token of each completion
   */
  weights(lengths: readonly number[], context: AggregationContext): number[];
}

export const total = (lengths: readonly number[]): number => lengths.reduce((a, b) => a + b, 0);
