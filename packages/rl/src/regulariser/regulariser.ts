import type { Tensor } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';
import type { Annotation, Metrics, Read } from '@posttrain/training';
import type { Rollout } from '../rollout.js';
import type { Stateful } from '../stateful.js';

/** All float32 [b, t], 0 outside the trained tokens (entropies excepted). */
export interface RegulariserInputs {
  readonly logProbs: Tensor;
  readonly entropies: Tensor;
  readonly oldLogProbs: Tensor;
  /** What the objective's ratio says of every token, with its gradient. */
  readonly ratio: Tensor;
  /** Present when `needsReference`. */
  readonly referenceLogProbs: Tensor | undefined;
  /** The aggregation's weights. */
  readonly weights: Tensor;
  /** 1 / number of trained tokens of the step: Σ tokenMean · x is the mean of x. */
  readonly tokenMean: Tensor;
  /** What the logits are divided by. */
  readonly temperature: number;
  /** Those that the regulariser has declared, and the objective's own. */
  readonly annotations: Readonly<Record<string, Tensor>>;
  /** The pass itself. Present when `needsPass`. */
  readonly pass: PassOfLoss | undefined;
}

/** What of a pass is there beside its predictions. */
export interface PassOfLoss {
  /** Any readout of it: a divergence from another model, hidden states, logits of chosen tokens. */
  readonly read: Read;
  /** int32 [b, t + 1]: which sequence of its row a token is of. */
  readonly segments: Tensor;
}

/** Something beside the reward that the policy is held to: in the reward, in the loss, or both. */
export interface Regulariser extends Partial<Stateful> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  readonly needsReference: boolean;
  /** Whether it reads more of the pass than log-probabilities and entropies: `compute` then has `pass`. Default false. */
  readonly needsPass?: boolean;
  /** Further annotations of rows, which `annotate` gives the numbers of. Default: none. */
  readonly annotations?: readonly Annotation[];
  /**
   * The numbers of `annotations` for a rollout among those of its step: of its completion's tokens, whatever their mask is. It reads
   * fields of others by `rolloutField`. `advantages` are those of all, `seen` all as the advantage saw them: penalties of the reward taken off.
   */
  annotate?(
    rollout: Rollout,
    all: readonly Rollout[],
    advantages: readonly (number | ArrayLike<number>)[],
    seen: readonly Rollout[],
  ): Readonly<Record<string, ArrayLike<number>>>;
  /**
   * Subtracted from the reward of a completion, given its trained tokens' log-probabilities. It must be a sum over tokens:
   * where the advantage has rewards of tokens, it is asked about each of them alone.
   */
  rewardPenalty?(oldLogProbs: readonly number[], referenceLogProbs: readonly number[]): number;
  /**
   * Called after the step's updates with the rollouts as the objective saw them: a controller moves its weight here. What it changes
   * must be in `state`, and be read on the host (in `rewardPenalty` or `annotate`): a graph is made once. What it gives is logged.
   */
  learn?(rollouts: readonly Rollout[]): Metrics;
  /** A scalar added to the loss, and scalars to log; each a sum over rows. */
  compute(inputs: RegulariserInputs): { readonly loss?: Tensor; readonly metrics: Readonly<Record<string, Tensor>> };
}
