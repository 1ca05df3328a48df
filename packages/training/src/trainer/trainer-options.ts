import type { LossScalerOptions, OptimizerChoice } from '@posttrain/core-tensor/optim';
import { boolean, custom, type Given, integer, number, options, type Read, settingsOf } from '@posttrain/interfaces';
import type { OffloadOptimizerOptions } from './offload-options.js';
import type { TrainableAdapter } from './trainable-adapter.js';

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const hasAll = (value: unknown, names: readonly string[]): boolean =>
  isObject(value) && names.every((name) => value[name] !== undefined);

/** What an optimizer may be given as, in words. */
export const OPTIMIZER = 'the name of an optimizer, { name, ...options }, or an optimizer';

export const isOptimizerChoice = (value: unknown): boolean => typeof value === 'string' || hasAll(value, ['name']);

/** Options of a `Trainer`, which every training run has too. */
export const trainerShape = {
  /** A Hugging Face name, a name with options, or an optimizer of your own; see `optimizers` of core-tensor. */
  optimizer: custom<OptimizerChoice>()(OPTIMIZER, isOptimizerChoice, {}),
  /** What is trained, beside the frozen model. Default: none, so that every weight of the model is trained. */
  adapter: custom<TrainableAdapter>()(
    'an adapter (createAdapter(model, lora) of @posttrain/peft makes one, loadAdapter(model, folder) reads one)',
    (value) => hasAll(value, ['hooks', 'trainingHooks', 'parameters', 'identity', 'save']),
    { optional: true, settings: ({ identity }) => settingsOf(identity) },
  ),
  /** Of the dropout, which depends on it and the number of the step only. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  /** Gradient clipping: gradients are scaled down to this global norm; 0 turns it off. Default 1. */
  maxGradNorm: number({ default: 1, min: 0 }),
  /** Most tokens, padding included, in one pass: memory only (and which elements dropout draws). Default 4096. */
  maxTokensPerPass: integer({ default: 4096, min: 1, decisive: false }),
  /**
   * Gradient checkpointing: keep the inputs of the blocks only, and compute the rest again for the gradient; memory for time.
   * Default false.
   */
  gradientCheckpointing: boolean({ default: false, decisive: false }),
  /**
   * Mixed precision (arXiv 1710.03740): passes compute in float16 (log-probabilities in float32) from parameters, optimizer
   * state and gradients in float32. For engines that have float16; others widen it. Default false.
   */
  fp16: boolean({ default: false }),
  /** Dynamic loss scaling; `true` for its defaults. Default: `true` with `fp16`, else none. */
  lossScaling: custom<true | LossScalerOptions>()(
    'true, or options of the loss scaler',
    (value) => value === true || isObject(value),
    { optional: true },
  ),
  /**
   * Where the states of the optimizer are between updates: in a file (`{ device: 'nvme', nvmePath }`) or in the host's memory (`{ device:
   * 'cpu' }`, where the engine has one of its own). The numbers are the same. Default: where the parameters are.
   */
  offloadOptimizer: custom<OffloadOptimizerOptions>()(
    "{ device: 'nvme', nvmePath: folder } or { device: 'cpu' }",
    isObject,
    {
      optional: true,
      decisive: false,
    },
  ),
};

/** Noise on the embeddings: of a trainer, and of the runs that do not compare what they train with what they sampled. */
export const noiseShape = {
  /**
   * α of NEFTune (arXiv 2310.05914): training passes add noise to the token embeddings, uniform in ±α / √(L · width) for a
   * sequence of L tokens; evaluation has none. transformers' `neftune_noise_alpha`. Default 0: no noise.
   */
  neftuneNoiseAlpha: number({ default: 0, min: 0 }),
};

export const trainerOptions = options('Trainer', { ...trainerShape, ...noiseShape });
/** Options of a `Trainer`. */
export type TrainerOptions = Given<typeof trainerOptions>;
/** The same with their defaults. */
export type TrainerSettings = Read<typeof trainerOptions>;
