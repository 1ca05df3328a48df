import type { LossScalerOptions, Named, Optimizer, OptimizerName, OptimizerSpec, Tensor } from '@posttrain/core-tensor';
import type { Adapter, LayerHooks } from '@posttrain/lm';

/** An adapter that may behave differently while it is trained. */
export interface TrainableAdapter extends Adapter<Named> {
  /** `hooks` for a training step: with dropout drawn from an int32 [2] key. Left out: `hooks`. */
  trainingHooks?(parameters: Named, dropoutKey: Tensor): LayerHooks;
}

export interface TrainerOptions<State> {
  /** A Hugging Face name, a name with options, or an optimizer of your own; see `optimizers` of core-tensor. */
  readonly optimizer: OptimizerName | OptimizerSpec | Optimizer<State>;
  /** Trained tensors beside a frozen model. Left out: every weight of the model is trained. */
  readonly adapter?: TrainableAdapter;
  /** Of the dropout, which depends on it and the number of the step only. Default 0. */
  readonly seed?: number;
  /** Gradients are scaled down to this global norm; 0 turns clipping off. Default 1. */
  readonly maxGradNorm?: number;
  /** Most tokens, padding included, in one pass: memory only, never the result. Default 4096. */
  readonly maxTokensPerPass?: number;
  /** Dynamic loss scaling, for a loss that is computed in float16; `true` for its defaults. Default: none. */
  readonly lossScaling?: true | LossScalerOptions;
  /** Keep the inputs of the blocks only, and compute the rest again for the gradient. Memory for time. Default false. */
  readonly gradientCheckpointing?: boolean;
}

export interface ForwardBackwardResult {
  readonly loss: number;
  /** The loss's own metrics, added up over the micro-batches or combined as the loss says. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Tokens in the rows, padding not counted. */
  readonly tokens: number;
}

export interface OptimStepResult {
  /** Of all gradients together, before clipping. */
  readonly gradNorm: number;
  /**
   * True when loss scaling found a gradient that is not finite: nothing was updated, no step counted, and the scale is
   * lower now. Try the same rows again.
   */
  readonly skipped: boolean;
}
