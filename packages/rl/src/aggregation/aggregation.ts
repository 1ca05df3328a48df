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

/** The mean over completions of the mean over their tokens (GRPO): 1 / (B |o_i|). Tokens of long completions count less. */
export const sequenceMean = (): Aggregation => ({
  name: 'sequence-mean',
  settings: {},
  weights: (lengths) => lengths.map((length) => 1 / (lengths.length * Math.max(length, 1))),
});

/** The mean over completions of the sum over their tokens (REINFORCE): 1 / B, the unbiased gradient of the mean reward. */
export const sequenceSum = (): Aggregation => ({
  name: 'sequence-sum',
  settings: {},
  weights: (lengths) => lengths.map(() => 1 / lengths.length),
});

/** The mean over all tokens of the step (DAPO, arXiv 2503.14476): 1 / Σ|o|. Long completions count more. */
export const tokenMean = (): Aggregation => ({
  name: 'token-mean',
  settings: {},
  weights: (lengths) => lengths.map(() => 1 / Math.max(total(lengths), 1)),
});

/**
 * The sum over tokens divided by a constant (Dr. GRPO, arXiv 2503.20783): 1 / (B · maxCompletionLength). What a token
 * weighs does not depend on how long any completion is.
 */
export const constantLength = (): Aggregation => ({
  name: 'constant-length',
  settings: {},
  weights: (lengths, { maxCompletionLength }) => lengths.map(() => 1 / (lengths.length * maxCompletionLength)),
});
