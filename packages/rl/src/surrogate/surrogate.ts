import type { Tensor } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';

/** All float32 [b, t]. */
export interface SurrogateInputs {
  readonly logProbs: Tensor;
  readonly ratio: Tensor;
  readonly advantages: Tensor;
  /** log π_old, 0 outside the mask. */
  readonly oldLogProbs: Tensor;
  /** log p when it was sampled, 0 outside the mask. Present when `needsSampler`. */
  readonly samplerLogProbs: Tensor | undefined;
  /** 1 on trained tokens. */
  readonly mask: Tensor;
}

/** What is minimised per token, so that its gradient improves the policy. */
export interface Surrogate {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Its gradient flows through the ratio, so the ratio must not be `noRatio`. */
  readonly needsRatio: boolean;
  /** It reads `samplerLogProbs`, which rollouts must then have. Default false. */
  readonly needsSampler?: boolean;
  /** What the loss of a token depends on: itself, or its whole completion. Default `token`. */
  readonly level?: 'token' | 'sequence';
  compute(inputs: SurrogateInputs): {
    readonly loss: Tensor;
    /** Bool [b, t]: tokens whose gradient was clipped away for a ratio too low or too high. */
    readonly clipped?: { readonly low: Tensor; readonly high: Tensor };
  };
}
