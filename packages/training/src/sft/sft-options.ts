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
} from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { RUN_OPTIONS, type RunOptions, type StepMetrics } from '../run/run-options.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { SftRow, TokenizeOptions } from './tokenize-rows.js';

export type SftLogEntry = StepMetrics;

/** Options of `sft`. */
export interface SftOptions<A extends TrainableAdapter = TrainableAdapter> extends TokenizeOptions, RunOptions {
  readonly model: CausalLM;
  /** Left out, every weight of the model is trained. */
  readonly adapter?: A;
  readonly rows: readonly SftRow[];
  /** Rows (packed rows, when packing) per update. How they are split to fit memory changes nothing. Default 8. */
  readonly batchSize?: number;
  /** Most tokens, padding included, in one pass: memory only (and which elements dropout draws). Default 4096. */
  readonly maxTokensPerPass?: number;
  /** As `TrainerOptions` has it. Default false. */
  readonly gradientCheckpointing?: boolean;
  /** Put several sequences into one row of `maxLength` tokens; they do not see each other. Default false. */
  readonly packing?: boolean;
  /** Passes over the rows; may be a fraction. Default 3. */
  readonly epochs?: number;
  /** Updates; replaces `epochs`. */
  readonly steps?: number;
  /** The peak rate. Default 2e-5, which suits whole models; adapters want about ten times as much. */
  readonly learningRate?: number;
  /** A Hugging Face name. Default `linear`. */
  readonly schedule?: ScheduleName;
  /** What that schedule takes besides the lengths of run and warm-up; see `schedules` of core-tensor. */
  readonly scheduleSettings?: ScheduleSettings;
  /** Updates over which the rate rises from 0. Default 0. */
  readonly warmupSteps?: number;
  /** Of an optimizer that is given by name. Default: that optimizer's (0, but 0.1 for Muon). */
  readonly weightDecay?: number;
  /** A Hugging Face name, a name with options, or an optimizer of your own. Default `adamw_torch`. */
  readonly optimizer?: OptimizerChoice;
  /** As `TrainerOptions` has it. Default false. */
  readonly fp16?: boolean;
  /** As `TrainerOptions` has it. Default: `true` with `fp16`, else none. */
  readonly lossScaling?: true | LossScalerOptions;
  /** Gradients are scaled down to this norm; 0 turns it off. Default 1. */
  readonly maxGradNorm?: number;
  /** Of the order of the rows, and of dropout. Default 42. */
  readonly seed?: number;
  /** Updates between log entries, which hold the means over them. Default 1. */
  readonly loggingSteps?: number;
}

const OPTION_NAMES = [
  ...RUN_OPTIONS,
  'model',
  'adapter',
  'rows',
  'batchSize',
  'maxTokensPerPass',
  'gradientCheckpointing',
  'fp16',
  'packing',
  'epochs',
  'steps',
  'learningRate',
  'schedule',
  'scheduleSettings',
  'warmupSteps',
  'weightDecay',
  'optimizer',
  'lossScaling',
  'maxGradNorm',
  'seed',
  'loggingSteps',
  'completionOnlyLoss',
  'assistantOnlyLoss',
  'maxLength',
  'truncationMode',
] as const satisfies readonly (keyof SftOptions)[];

/** The options with their defaults. */
export type SftSettings = ReturnType<typeof completeOptions>;

/** @throws PosttrainError for an unknown option, or one that cannot be right */
export function completeOptions(options: SftOptions) {
  assertKnownOptions('sft', options, OPTION_NAMES);
  const settings = {
    batchSize: 8,
    maxTokensPerPass: 4096,
    gradientCheckpointing: false,
    fp16: false,
    packing: false,
    epochs: 3,
    learningRate: 2e-5,
    schedule: 'linear' as ScheduleName,
    warmupSteps: 0,
    maxGradNorm: 1,
    seed: 42,
    loggingSteps: 1,
    maxLength: Math.min(1024, options.model.config.maxPositionEmbeddings),
    ...options,
    optimizer: chosenOptimizer(options),
    // Of functions among them only that they are there.
    optimizerOptions:
      typeof options.optimizer === 'object' && !isOptimizer(options.optimizer)
        ? JSON.stringify(options.optimizer, (_, value) => (typeof value === 'function' ? 'function' : value))
        : '',
  };
  const wrong = (problem: string) => new PosttrainError('SFT_OPTIONS', `sft: ${problem}`);
  for (const name of ['batchSize', 'loggingSteps', 'steps', 'saveSteps', 'saveTotalLimit'] as const) {
    const value = settings[name];
    if (value !== undefined && !(Number.isInteger(value) && value > 0))
      throw wrong(`${name} ${value}: must be 1 or more`);
  }
  if (!(settings.epochs > 0)) throw wrong(`epochs ${settings.epochs}: must be above 0`);
  if (!(settings.learningRate >= 0)) throw wrong(`learningRate ${settings.learningRate}: must be 0 or more`);
  const { outputFolder, saveSteps, resume } = settings;
  if (outputFolder === undefined && saveSteps !== undefined) throw wrong('saveSteps needs an outputFolder');
  if (outputFolder === undefined && resume === true) throw wrong('resume needs an outputFolder, or the checkpoint');
  return settings;
}

function chosenOptimizer({ optimizer = 'adamw_torch', weightDecay }: SftOptions): Optimizer<object> {
  if (weightDecay === undefined) return optimizerOf(optimizer);
  if (typeof optimizer === 'string' || !(isOptimizer(optimizer) || 'weightDecay' in optimizer)) {
    return optimizerOf(optimizer, { weightDecay });
  }
  throw new PosttrainError('SFT_OPTIONS', 'sft: the optimizer has a weightDecay of its own; give it there only');
}

/** How many updates a run has, and how their learning rates go. */
export function planSteps(
  settings: SftSettings,
  rows: number,
): { stepsPerEpoch: number; totalSteps: number; schedule: Schedule } {
  const stepsPerEpoch = Math.ceil(rows / settings.batchSize);
  const totalSteps = settings.steps ?? Math.ceil(settings.epochs * stepsPerEpoch);
  const { warmupSteps, scheduleSettings } = settings;
  const schedule = scheduleByName(settings.schedule, { warmupSteps, totalSteps, ...scheduleSettings } as never);
  return { stepsPerEpoch, totalSteps, schedule };
}
