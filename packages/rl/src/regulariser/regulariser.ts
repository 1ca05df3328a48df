import type { Tensor } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';

/** All float32 [b, t], 0 outside the trained tokens (entropies excepted). */
export interface RegulariserInputs {
  readonly logProbs: Tensor;
  readonly entropies: Tensor;
  readonly oldLogProbs: Tensor;
  /** Present when `needsReference`. */
  readonly referenceLogProbs: Tensor | undefined;
  /** The aggregation's weights. */
  readonly weights: Tensor;
  /** 1 / number of trained tokens of the step: Σ tokenMean · x is the mean of x. */
  readonly tokenMean: Tensor;
}

/** Something beside the reward that the policy is held to: in the reward, in the loss, or both. */
export interface Regulariser {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  readonly needsReference: boolean;
  /**
   * Subtracted from the reward of a completion, given its trained tokens' log-probabilities. It must be a sum over tokens:
   * where the advantage has rewards of tokens, it is asked about each of them alone.
   */
  rewardPenalty?(oldLogProbs: readonly number[], referenceLogProbs: readonly number[]): number;
  /** A scalar added to the loss, and scalars to log; each a sum over rows. */
  compute(inputs: RegulariserInputs): { readonly loss?: Tensor; readonly metrics: Readonly<Record<string, Tensor>> };
}
