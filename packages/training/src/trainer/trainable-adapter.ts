import type { Tensor } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import type { Adapter, LayerHooks } from '@posttrain/lm';

/** Labels inside the context that an adapter's virtual tokens stand for. */
export interface ContextLabels {
  /** Token id of every virtual token. */
  readonly tokens: readonly number[];
  /** What each of them counts as a prediction, beside those of a row; 0: not at all, as the first, which nothing predicts. */
  readonly weights: readonly number[];
}

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
  /** The adapter as it was made, where training starts from that and not from the model without it: what a policy is compared with. */
  readonly reference?: Adapter<Named>;
  /** `hooks` for a training step: with dropout, drawn from an int32 [2] key that differs from pass to pass. */
  trainingHooks(parameters: Named, dropoutKey: Tensor): LayerHooks;
  /** A scalar that is added to the loss once a step, whatever the rows are. Left out: nothing. */
  penalty?(parameters: Named): Tensor;
  /** Labels inside its context, which `sft` learns beside those of the rows. Left out: none. */
  readonly contextLabels?: ContextLabels;
  /** The optimizer of a run that asked for `inner`. Left out: that one. */
  optimizer?(inner: Optimizer<object>): Optimizer<object>;
  /** Writes the adapter with these parameters into a folder, for others to load: all of it or nothing. */
  save(folder: string, parameters: Named): Promise<void>;
}
