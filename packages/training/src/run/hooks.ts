import type { Adapter, CausalLM } from '@posttrain/lm';
import type { Metrics } from '../tracking/metrics.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** What hooks and evaluations see of a run. Model and adapter are as they are now, and valid until the next update. */
export interface RunContext<M extends TrainableModel = CausalLM> {
  /** Of the run. */
  readonly steps: number;
  /** With the weights as they are now: the base model itself when an adapter is trained. */
  readonly model: M;
  /** With the parameters as they are now; without an adapter, "no adapter". */
  readonly adapter: Adapter;
  /** That of the run: pass it on to what takes long. It fires when the run shall stop. */
  readonly signal: AbortSignal | undefined;
}

/** What `beforeStep` sees. */
export interface StepContext<M extends TrainableModel = CausalLM> extends RunContext<M> {
  /** Counted from 0. */
  readonly step: number;
  /** Ends the run here, with its result kept and a checkpoint where it has an output folder. */
  stop(): void;
}

/** What `afterStep` sees. */
export interface FinishedStepContext<M extends TrainableModel = CausalLM> extends StepContext<M> {
  /** Of this step, as they are logged when `loggingSteps` is 1. */
  readonly metrics: Metrics;
}

/** What `evaluate` sees. */
export interface EvaluationContext<M extends TrainableModel = CausalLM> extends RunContext<M> {
  /** Steps that have been done. */
  readonly done: number;
}

/** A hook before every step of a run. */
export type BeforeStep<M extends TrainableModel = CausalLM> = (context: StepContext<M>) => void | Promise<void>;
/** A hook after every step of a run. */
export type AfterStep<M extends TrainableModel = CausalLM> = (context: FinishedStepContext<M>) => void | Promise<void>;
/** An evaluation of the model as it is: metrics by name. */
export type Evaluate<M extends TrainableModel = CausalLM> = (
  context: EvaluationContext<M>,
) => Metrics | Promise<Metrics>;

/**
 * A view of a trainer. Its weights are an object of their own, so that what a hook generates with them leaves nothing
 * behind (packed weights, prefixes) in what the run itself generates with: a resumed run would not have it.
 */
export function contextOf<M extends TrainableModel, More extends object>(
  trainer: Trainer<M>,
  more: More & Pick<RunContext, 'steps' | 'signal'>,
): RunContext<M> & More {
  const model = () => trainer.model.withWeights({ ...trainer.model.weights });
  return Object.defineProperties({ ...more } as unknown as RunContext<M> & More, {
    model: { get: model, enumerable: true },
    adapter: { get: () => trainer.adapter, enumerable: true },
  });
}
