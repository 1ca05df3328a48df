import {
  isOptimizer,
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
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  number,
  OptionError,
  oneOf,
  options,
  type Read,
  settingsOf,
} from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { decaysInTransformers } from '../trainer/decay.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import { Trainer } from '../trainer/trainer.js';
import { isOptimizerChoice, OPTIMIZER, type TrainerSettings, trainerShape } from '../trainer/trainer-options.js';
import { type RunOptions, runShape, warn } from './run-options.js';

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const hasAll = (value: unknown, names: readonly string[]): boolean =>
  isObject(value) && names.every((name) => value[name] !== undefined);

/** Options that every trainer has; each adds its own, and its learning rate, to them. */
export const trainingShape = {
  /** What is trained, or what its adapter is trained beside. */
  model: custom<CausalLM>()(
    'a CausalLM (await CausalLM.load(folder) reads one)',
    (value) => hasAll(value, ['network', 'weights', 'config', 'tokenizer']),
    { decisive: false },
  ),
  ...trainerShape,
  /** A Hugging Face name, a name with options, or an optimizer of your own. Default `adamw_torch`. */
  optimizer: custom<OptimizerChoice>()(OPTIMIZER, isOptimizerChoice, { default: 'adamw_torch' }),
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
  /** Of the order of the rows, and of all that is drawn. Default 42. */
  seed: integer({ default: 42, min: 0 }),
  ...runShape,
};

const trainingOptions = options('training', trainingShape);
/** Options that every trainer has. */
export type TrainingOptions = Given<typeof trainingOptions>;
/** The same with their defaults. */
export type TrainingSettings<M extends TrainableModel = CausalLM> = Omit<
  Read<typeof trainingOptions>,
  'model' | keyof RunOptions
> &
  RunOptions<M> & { readonly model: M };

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
export function createTrainer<M extends TrainableModel>(
  where: string,
  settings: TrainingSettings<M> & Partial<Pick<TrainerSettings, 'neftuneNoiseAlpha'>>,
): Promise<Trainer<M>> {
  const { model, adapter, maxGradNorm, maxTokensPerPass, gradientCheckpointing, fp16, seed, lossScaling } = settings;
  const { offloadOptimizer, neftuneNoiseAlpha } = settings;
  return Trainer.create(model, {
    ...{ maxGradNorm, maxTokensPerPass, gradientCheckpointing, fp16, seed },
    optimizer: chosenOptimizer(where, settings),
    ...(adapter && { adapter }),
    ...(lossScaling && { lossScaling }),
    ...(offloadOptimizer && { offloadOptimizer }),
    ...(neftuneNoiseAlpha && { neftuneNoiseAlpha }),
  });
}

/** The learning rate of every update of a run. Warns of a warm-up that does not end. */
export function planRates<M extends TrainableModel>(
  where: string,
  settings: TrainingSettings<M> & { readonly learningRate: number },
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
export function trainingIdentity<M extends TrainableModel>(
  where: string,
  declared: DecisiveSettings,
  settings: TrainingSettings<M>,
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
