import type { Tensor } from '@posttrain/core-tensor';
import type { Annotation } from './annotation.js';

/** What a loss sees: everything is float32 [b, t], one row a sequence, one column a prediction, 0 on padding. */
export interface TokenLossInputs {
  /** log p of each target token under the model being trained; the only input with a gradient, beside `entropies`. */
  readonly logProbs: Tensor;
  readonly entropies: Tensor;
  /** 1 where the target is the most likely token. */
  readonly isGreedy: Tensor;
  readonly weights: Tensor;
  readonly annotations: Readonly<Record<string, Tensor>>;
}

/** A loss over annotated tokens: the one place where an algorithm meets the model. */
export interface TokenLoss {
  readonly name: string;
  /** The annotations it reads: a name is one number a prediction. */
  readonly annotations: readonly Annotation[];
  /** Rows that belong together (2 for pairs). Default 1. */
  readonly groupSize?: number;
  /** Divides the logits before the softmax. Default 1. */
  readonly temperature?: number;
  /** How the metrics of micro-batches become one, by name. Left out: they are added up. */
  readonly combine?: Readonly<Record<string, 'min' | 'max'>>;
  /**
   * The scalar to minimise, already weighted and normalised: micro-batches are added up, so it must be a sum over rows.
   * `metrics` are scalars that are added up likewise, but for what `combine` says. Padding rows have weight 0 everywhere.
   */
  compute(inputs: TokenLossInputs): { readonly loss: Tensor; readonly metrics: Readonly<Record<string, Tensor>> };
}

/** Σ weights · values, the weighted sum that most losses end in. */
export const weightedSum = (values: Tensor, weights: Tensor): Tensor => values.mul(weights).sum();

/**
 * The negative log-likelihood of the target tokens: Σ w · (-log p). With w = mask / number of trained tokens in the
 * whole step it is the mean that Hugging Face trainers report.
 */
export const negativeLogLikelihood: TokenLoss = {
  name: 'nll',
  annotations: [],
  compute: ({ logProbs, entropies, isGreedy, weights }) => ({
    loss: weightedSum(logProbs.neg(), weights),
    metrics: { entropy: weightedSum(entropies, weights), mean_token_accuracy: weightedSum(isGreedy, weights) },
  }),
};
