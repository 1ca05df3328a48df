import {
  boolean,
  custom,
  type Given,
  integer,
  listOf,
  number,
  type OnProgress,
  type Option,
  oneOf,
  options,
  text,
} from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { isWeightAverage, WEIGHT_AVERAGE, type WeightAverage } from '../averaging/weight-average.js';
import type { StepMetrics } from '../tracking/metrics.js';
import type { Tracker } from '../tracking/tracker.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { AfterStep, BeforeStep, Evaluate } from './hooks.js';

/** An empty path is an unset variable: read as no path, the run would be lost in silence. */
const isPath = (value: unknown): boolean => typeof value === 'string' && value !== '' && !value.includes('\0');
const isFunction = (value: unknown): boolean => typeof value === 'function';
/** Also one of another realm, or of a library. */
const isSignal = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && typeof (value as Partial<AbortSignal>).aborted === 'boolean';
const isTracker = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && isFunction((value as Partial<Tracker>).log);

/** Options of every run: where it is written to, what it says while it runs, when it is evaluated and when it ends. */
export const runShape = {
  /** Where `checkpoint-N/`, N counting updates, and `metrics.jsonl` go. Default: nothing is written. */
  outputFolder: custom<string>()('the path of a folder', isPath, { optional: true, decisive: false }),
  /** Steps between two checkpoints. Default: one at the end. */
  saveSteps: integer({ optional: true, min: 1, decisive: false }),
  /** Checkpoint rotation: keep this many, the best among them. Default: all. */
  saveTotalLimit: integer({ optional: true, min: 1, decisive: false }),
  /**
   * True: go on from the newest checkpoint in `outputFolder`, if it has one. A text: from that checkpoint folder. The run
   * then ends with the very weights it would have had without the interruption. Default false.
   */
  resume: custom<boolean | string>()(
    'true, false or the folder of a checkpoint',
    (value) => typeof value === 'boolean' || isPath(value),
    { default: false, decisive: false },
  ),
  /**
   * Settings in which a resumed run may differ from the one it continues, on purpose: `['steps']` extends a finished run.
   * Any other difference that could change the result is refused.
   */
  allowChanged: listOf(text({}), { optional: true, decisive: false }),
  /**
   * Stops the run at the next safe point, also inside a rollout or an evaluation: the run resolves with its result so far and
   * `stopped`, after a checkpoint where it has an output folder. As a generation that is aborted, it does not reject.
   */
  signal: custom<AbortSignal>()('an AbortSignal', isSignal, {
    optional: true,
    decisive: false,
  }),
  /** Called before every step, and waited for. `stop()` of its context ends the run before the step. */
  beforeStep: custom<BeforeStep>()('a function', isFunction, { optional: true, decisive: false }),
  /** Called after every step, and waited for. `stop()` of its context ends the run, with its result kept. */
  afterStep: custom<AfterStep>()('a function', isFunction, { optional: true, decisive: false }),
  /** Metrics of your own at every evaluation, such as the accuracy on tasks; `eval_` is put before their names. */
  evaluate: custom<Evaluate>()('a function that gives metrics by name', isFunction, {
    optional: true,
    decisive: false,
  }),
  /** Steps between two evaluations. Default: one at the end, which there always is. */
  evaluateEvery: integer({ optional: true, min: 1, decisive: false }),
  /** Evaluate before the first step, too. Default false. */
  evaluateOnStart: boolean({ default: false, decisive: false }),
  /**
   * Keep the weights of the best evaluation, and end with them: as a checkpoint where there is an output folder, in memory
   * otherwise. Default: no.
   */
  keepBest: boolean({ optional: true }),
  /** The metric that says which evaluation is best, with or without `eval_`. Default: the trainer's own, such as `eval_loss`. */
  bestMetric: text({ optional: true }),
  /** Whether a small or a large one is good. Default: `min` for names that end in `loss`, else `max`. */
  bestMode: oneOf(['min', 'max'], { optional: true }),
  /** Early stopping: end after so many evaluations in a row that were not better than the best. Default: never. */
  patience: integer({ optional: true, min: 1 }),
  /** By how much an evaluation must be better, for `patience`. Default: by anything. */
  minDelta: number({ optional: true, min: 0 }),
  /**
   * An average of the weights over the updates, such as `bema()` (BEMA) or `ema()`, kept in checkpoints beside what is trained, which it
   * does not change: the run gives it as `averaged`, and writes it to the folder of its name. Default: none.
   */
  weightAverage: custom<WeightAverage>()(WEIGHT_AVERAGE, isWeightAverage, {
    optional: true,
    // runSteps has it in the identity of a run.
    decisive: false,
  }),
  /** What entries of the log are sent to, such as `tensorBoard({ folder })`. One that fails is warned of, and left out from then on. */
  trackers: custom<readonly Tracker[]>()(
    'a list of trackers ({ log(step, metrics) })',
    (value) => Array.isArray(value) && value.every(isTracker),
    { optional: true, decisive: false },
  ),
  /**
   * Short lines that say where the run is: true writes them to stderr, a function gets each, false turns them off. Default:
   * to stderr if that is a terminal and there is no `onProgress`.
   */
  progress: custom<boolean | ((line: string) => void)>()(
    'true, false or a function that gets each line',
    (value) => typeof value === 'boolean' || isFunction(value),
    { optional: true, decisive: false },
  ),
  /** Steps between entries of the log, which hold the means over them. Default 1. */
  loggingSteps: integer({ default: 1, min: 1, decisive: false }),
  /** Gets every entry of the log. */
  onLog: custom<(entry: StepMetrics) => void>()('a function', isFunction, { optional: true, decisive: false }),
  /** Gets every step, with an estimate of the time that is left. */
  onProgress: custom<OnProgress>()('a function', isFunction, { optional: true, decisive: false }),
  /** Something is odd but not wrong. Default: a Node process warning. */
  onWarning: custom<(message: string) => void>()('a function', isFunction, { optional: true, decisive: false }),
};

/** What of a run's options sees its model. */
export interface HookShape<M extends TrainableModel> {
  readonly beforeStep: Option<BeforeStep<M>, 'optional'>;
  readonly afterStep: Option<AfterStep<M>, 'optional'>;
  readonly evaluate: Option<Evaluate<M>, 'optional'>;
}

/** The declared options of `runShape` that see the model, for runs of models of one kind, such as reward models. */
export function hookShape<M extends TrainableModel>(): HookShape<M> {
  const { beforeStep, afterStep, evaluate } = runShape;
  // What they are checked for is the same for every model.
  return { beforeStep, afterStep, evaluate } as unknown as HookShape<M>;
}

const runOptions = options('run', runShape);
type Hooks<M extends TrainableModel> = {
  readonly beforeStep?: BeforeStep<M> | undefined;
  readonly afterStep?: AfterStep<M> | undefined;
  readonly evaluate?: Evaluate<M> | undefined;
};
/** Options of a run without those of training. */
export type RunOptions<M extends TrainableModel = CausalLM> = Omit<Given<typeof runOptions>, keyof HookShape<M>> &
  Hooks<M>;

/** Tells the caller, or Node, about something odd. */
export function warn({ onWarning }: Pick<RunOptions, 'onWarning'>, message: string): void {
  if (onWarning) onWarning(message);
  else process.emitWarning(message, 'PosttrainWarning');
}
