import type { Tensor } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import type { Adapter, LayerHooks } from '@posttrain/lm';

/** What a training run needs of an adapter beside what it computes. Adapters of `@posttrain/peft` have it. */
export interface TrainableAdapter extends Adapter<Named> {
  /** Method and configuration as JSON. A run goes on from a checkpoint only with the same. */
  readonly identity: object;
  /**
   * What `trainingHooks` draws at random, as `loraDropout is 0.1`: a training step then computes otherwise than `hooks`.
   * Undefined: nothing. Methods that compare the two (policy and preference optimisation) refuse
   * such adapters.
   */
  readonly stochastic: string | undefined;
  /** The adapter as it was made, where that and not the model without it is what training starts from: a reference policy. */
  readonly reference?: Adapter<Named>;
  /** `hooks` for a training step: with dropout, drawn from an int32 [2] key that differs from pass to pass. */
  trainingHooks(parameters: Named, dropoutKey: Tensor): LayerHooks;
  /** A scalar that is added to the loss once a step, whatever the rows are. Left out: nothing. */
  penalty?(parameters: Named): Tensor;
  /** The optimizer of a run that asked for `inner`. Left out: that one. */
  optimizer?(inner: Optimizer<object>): Optimizer<object>;
  /** Writes the adapter with these parameters into a folder, for others to load: all of it or nothing. */
  save(folder: string, parameters: Named): Promise<void>;
}
