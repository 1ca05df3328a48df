import {
  isOptimizer,
  type LossScalerOptions,
  type Optimizer,
  type OptimizerChoice,
  optimizerOf,
  type Schedule,
  type ScheduleName,
  type ScheduleSettings,
  scheduleByName,
  schedules,
} from '@posttrain/core-tensor/optim';
import {
  boolean,
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  listOf,
  number,
  type OnProgress,
  OptionError,
  oneOf,
  options,
  type Read,
  settingsOf,
  text,
} from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { decaysInTransformers } from '../trainer/decay.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import { Trainer } from '../trainer/trainer.js';

/** One entry of the log of a run. */
export interface StepMetrics {
  /** Counted from 0. An entry that is a mean over several steps has the last of them. */
  readonly step: number;
  /** Under the names Hugging Face's trainers and TRL log. */
  readonly metrics: Metrics;
}

/** Metrics of one step by name. */
export type Metrics = Readonly<Record<string, number>>;

/** An empty one is a variable that was not set: taken for no path at all, the run would be lost without a word. */
const isPath = (value: unknown): boolean => typeof value === 'string' && value !== '' && !value.includes('\0');
const isFunction = (value: unknown): boolean => typeof value === 'function';
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const hasAll = (value: unknown, names: readonly string[]): boolean =>
  isObject(value) && names.every((name) => value[name] !== undefined);

/** Options of where a run is written to, and what it says while it runs. */
const runOptions = {
  /** Where `checkpoint-N/`, N counting updates, and `metrics.jsonl` go. Default: nothing is written. */
  outputFolder: custom<string>()('the path of a folder', isPath, { optional: true, decisive: false }),
  /** Steps between two checkpoints. Default: one at the end. */
  saveSteps: integer({ optional: true, min: 1, decisive: false }),
  /** Keep this many checkpoints. Default: all. */
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
  onLog: custom<(entry: StepMetrics) => void>()('a function', isFunction, { optional: true, decisive: false }),
  onProgress: custom<OnProgress>()('a function', isFunction, { optional: true, decisive: false }),
  /** Something is odd but not wrong. Default: a Node process warning. */
  onWarning: custom<(message: string) => void>()('a function', isFunction, { optional: true, decisive: false }),
};

/** Options that every trainer has; each adds its own, and its learning rate, to them. */
export const trainingShape = {
  /** What is trained, or what its adapter is trained beside. */
  model: custom<CausalLM>()(
    'a CausalLM (await CausalLM.load(folder) reads one)',
    (value) => hasAll(value, ['network', 'weights', 'config', 'tokenizer']),
    { decisive: false },
  ),
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  adapter: custom<TrainableAdapter>()(
    'an adapter (createAdapter(model, lora) of @posttrain/peft makes one, loadAdapter(model, folder) reads one)',
    (value) => hasAll(value, ['hooks', 'trainingHooks', 'parameters', 'identity', 'save']),
    { optional: true, settings: ({ identity }) => settingsOf(identity) },
  ),
  /** A Hugging Face name, a name with options, or an optimizer of your own. Default `adamw_torch`. */
  optimizer: custom<OptimizerChoice>()(
    'the name of an optimizer, { name, ...options }, or an optimizer',
    (value) => typeof value === 'string' || hasAll(value, ['name']),
    { default: 'adamw_torch' },
  ),
  /**
   * Of an optimizer that is given by name; norms and biases do not decay, as in transformers. Default: that optimizer's (0,
   * but 0.1 for Muon).
   */
  weightDecay: number({ optional: true, min: 0 }),
  /** A Hugging Face name. Default `linear`. */
  schedule: oneOf(Object.keys(schedules) as ScheduleName[], { default: 'linear' }),
  /** What that schedule takes besides the lengths of run and warm-up; see `schedules` of core-tensor. */
  scheduleSettings: custom<ScheduleSettings>()('an object', isObject, { optional: true }),
  /** Updates over which the rate rises from 0. Default 0. */
  warmupSteps: integer({ default: 0, min: 0 }),
  /** Gradients are scaled down to this norm; 0 turns it off. Default 1. */
  maxGradNorm: number({ default: 1, min: 0 }),
  /** As `TrainerOptions` has it. Default false. */
  fp16: boolean({ default: false }),
  /** As `TrainerOptions` has it. Default: `true` with `fp16`, else none. */
  lossScaling: custom<true | LossScalerOptions>()(
    'true, or options of the loss scaler',
    (x) => x === true || isObject(x),
    {
      optional: true,
    },
  ),
  /** As `TrainerOptions` has it: memory only. Default false. */
  gradientCheckpointing: boolean({ default: false, decisive: false }),
  /** Most tokens, padding included, in one pass: memory only (and which elements dropout draws). Default 4096. */
  maxTokensPerPass: integer({ default: 4096, min: 1, decisive: false }),
  /** Of the order of the rows, and of all that is drawn. Default 42. */
  seed: integer({ default: 42, min: 0 }),
  ...runOptions,
};

const trainingOptions = options('training', trainingShape);
/** Options that every trainer has. */
export type TrainingOptions = Given<typeof trainingOptions>;
/** The same with their defaults. */
export type TrainingSettings = Read<typeof trainingOptions>;
/** Options of a run without those of training. */
export type RunOptions = Pick<TrainingOptions, keyof typeof runOptions>;

/** The optimizer that is meant. Norms and biases decay in none that is given by name. */
export function chosenOptimizer(
  where: string,
  { optimizer = 'adamw_torch', weightDecay }: Pick<TrainingOptions, 'optimizer' | 'weightDecay'>,
): Optimizer<object> {
  const hasOwn = typeof optimizer !== 'string' && (isOptimizer(optimizer) || 'weightDecay' in optimizer);
  if (weightDecay !== undefined && hasOwn) {
    const problem = 'the optimizer has a weightDecay of its own; give it there only.';
    throw new OptionError('INVALID_OPTION', where, 'weightDecay', problem);
  }
  return optimizerOf(optimizer, { ...(weightDecay !== undefined && { weightDecay }), decays: decaysInTransformers });
}

/** The trainer that the options of a run ask for. */
export function createTrainer(where: string, settings: TrainingSettings): Promise<Trainer> {
  const { model, adapter, maxGradNorm, maxTokensPerPass, gradientCheckpointing, fp16, seed, lossScaling } = settings;
  return Trainer.create(model, {
    ...{ maxGradNorm, maxTokensPerPass, gradientCheckpointing, fp16, seed },
    optimizer: chosenOptimizer(where, settings),
    ...(adapter && { adapter }),
    ...(lossScaling && { lossScaling }),
  });
}

/** The learning rate of every update of a run. Warns of a warm-up that does not end. */
export function planRates(
  where: string,
  settings: TrainingSettings & { readonly learningRate: number },
  totalSteps: number,
): Schedule {
  if (!Number.isSafeInteger(totalSteps)) {
    const problem = `epochs makes ${totalSteps} updates, more than can be counted.`;
    throw new OptionError('INVALID_OPTION', where, 'epochs', problem);
  }
  const { learningRate, warmupSteps, scheduleSettings, schedule: name } = settings;
  if (warmupSteps >= totalSteps && warmupSteps > 0) {
    warn(
      settings,
      `${where}: warmupSteps ${warmupSteps} is not below the run's ${totalSteps} updates, so the learning rate never reaches its peak.`,
    );
  }
  const schedule = scheduleByName(name, { warmupSteps, totalSteps, ...scheduleSettings } as never);
  return (update) => learningRate * schedule(update);
}

/**
 * What decides the result of a run, as its options say it: those of the optimizer as it is, and for an adapter that draws at
 * random also how rows are split into passes.
 *
 * @param declared what `options.settings` gave
 */
export function trainingIdentity(
  where: string,
  declared: DecisiveSettings,
  settings: TrainingSettings,
): DecisiveSettings {
  const { adapter, maxTokensPerPass } = settings;
  const isOfOptimizer = (name: string) => /^(optimizer|weightDecay)(\.|$)/.test(name);
  const others = Object.entries(declared).filter(([name]) => !isOfOptimizer(name));
  const optimizer = settingsOf({ optimizer: chosenOptimizer(where, settings) }) as DecisiveSettings;
  return {
    ...Object.fromEntries(others),
    ...optimizer,
    ...(adapter?.stochastic !== undefined && { maxTokensPerPass }),
  };
}

/** Tells the caller, or Node, about something odd. */
export function warn({ onWarning }: Pick<RunOptions, 'onWarning'>, message: string): void {
  if (onWarning) onWarning(message);
  else process.emitWarning(message, 'PosttrainWarning');
}
