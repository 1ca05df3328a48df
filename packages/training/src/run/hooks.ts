import type { Adapter, CausalLM } from '@posttrain/lm';
import type { Metrics } from '../tracking/metrics.js';
import type { Trainer } from '../trainer/trainer.js';

/** What hooks and evaluations see of a run. Model and adapter are as they are now, and valid until the next update. */
export interface RunContext {
  /** Of the run. */
  readonly steps: number;
  /** With the weights as they are now: the base model itself when an adapter is trained. */
  readonly model: CausalLM;
  /** With the parameters as they are now; without an adapter, "no adapter". */
  readonly adapter: Adapter;
  /** That of the run: pass it on to what takes long. It fires when the run shall stop. */
  readonly signal: AbortSignal | undefined;
}

/** What `beforeStep` sees. */
export interface StepContext extends RunContext {
  /** Counted from 0. */
  readonly step: number;
  /** Ends the run here, with its result kept and a checkpoint where it has an output folder. */
  stop(): void;
}

/** What `afterStep` sees. */
export interface FinishedStepContext extends StepContext {
  /** Of this step, as they are logged when `loggingSteps` is 1. */
  readonly metrics: Metrics;
}

/** What `evaluate` sees. */
export interface EvaluationContext extends RunContext {
  /** Steps that have been done. */
  readonly done: number;
}

/** A hook before every step of a run. */
export type BeforeStep = (context: StepContext) => void | Promise<void>;
/** A hook after every step of a run. */
export type AfterStep = (context: FinishedStepContext) => void | Promise<void>;
/** An evaluation of the model as it is: metrics by name. */
export type Evaluate = (context: EvaluationContext) => Metrics | Promise<Metrics>;

/**
 * A view of a trainer. Its weights are an object of their own, so that what a hook generates with them leaves nothing
 * behind (packed weights, prefixes) in what the run itself generates with: a resumed run would not have it.
 */
export function contextOf<More extends object>(
  trainer: Trainer,
  more: More & Pick<RunContext, 'steps' | 'signal'>,
): RunContext & More {
  const model = () => trainer.model.withWeights({ ...trainer.model.weights });
  return Object.defineProperties({ ...more } as RunContext & More, {
    model: { get: model, enumerable: true },
    adapter: { get: () => trainer.adapter, enumerable: true },
  });
}
