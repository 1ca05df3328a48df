import type { Named } from '@posttrain/core-tensor/optim';
import type { Annotation } from '../loss/annotation.js';
import type { ForwardBackwardResult } from './pass-sum.js';
import type { Penalty } from './penalty.js';

/** Options of `Trainer.optimStep`. */
export interface OptimStepOptions {
  readonly learningRate: number;
  /** Applied in the place of what `forwardBackward` has added. */
  readonly gradients?: Named;
  /** Added to the loss once, whatever the rows. Default: none. */
  readonly penalties?: readonly Penalty[];
}

/** Gradients to which those of penalties have been added, and the penalties' values. */
export interface Penalized {
  readonly gradients: Named;
  readonly values: Readonly<Record<string, number>>;
}

/** What `Trainer.optimStep` gives. */
export interface OptimStepResult {
  /** Of all gradients together, before clipping. */
  readonly gradNorm: number;
  /**
   * True when loss scaling found a gradient that is not finite: nothing was updated, no step counted, and the scale is
   * lower now. Try the same rows again.
   */
  readonly skipped: boolean;
  /** The value of every penalty, by name. */
  readonly penalties: Readonly<Record<string, number>>;
}

/** What a loss gets in one call, beside the rows. */
export interface StepInputs {
  /** The numbers that it names by `scalars`; they may differ from call to call, and nothing is compiled anew. */
  readonly scalars?: Readonly<Record<string, number>>;
}

/** The same at parameters that need not be those that are trained. */
export interface TrialInputs extends StepInputs {
  /** Trial parameters, by name. Default: those that are trained, as they are now. */
  readonly parameters?: Named;
}

/** Options of `Trainer.reduceGradients`. */
export interface ReduceOptions<State> extends TrialInputs {
  /** What the reduction starts from: tensors in memory of their own, which it takes over. */
  readonly state: State;
  /** Leaves out what belongs to no row: the routers' loss and the adapter's penalty. Default false: a model with one is refused. */
  readonly rowsOnly?: boolean;
}

/** Options of `Trainer.evaluate`. */
export interface EvaluateOptions extends TrialInputs {
  readonly signal?: AbortSignal | undefined;
}

/** Options of `Trainer.assign`. */
export interface AssignOptions {
  /** Whether this is an update, which `step` counts. Default false. */
  readonly countsStep?: boolean;
}

/** What `Trainer.gradients` gives. */
export interface GradientsResult extends ForwardBackwardResult {
  /** By parameter, for each that is trained. */
  readonly gradients: Named;
}

/** What `Trainer.reduceGradients` gives. */
export interface ReducedGradients<State> extends ForwardBackwardResult {
  /** What the reduction has made of all gradients. */
  readonly state: State;
  /** What it said of every row, by name. */
  readonly values: Readonly<Record<string, readonly Float32Array[]>>;
  /** ‖g‖ of every row. */
  readonly norms: readonly number[];
}

/** Options of `Trainer.read`. */
export interface ReadOptions {
  /** That of the loss that the rows are for, which decides how they are split. Default 1. */
  readonly groupSize?: number | 'any';
  /** Those that the readout takes from the rows. Default: what it declares. */
  readonly annotations?: readonly Annotation[];
}
