export type {
  AdaptableModel,
  AdapterPlan,
  AdapterReport,
  CreateAdapterOptions,
  PeftAdapter,
  TaskType,
} from './adapters/adapter.js';
export { createAdapter, withAdapterParameters } from './adapters/adapter.js';
export type { LoadAdapterOptions, SaveAdapterOptions } from './adapters/adapter-files.js';
export { loadAdapter, saveAdapter } from './adapters/adapter-files.js';
export { AdapterConfigError, AdapterFileError, MergeError, TargetModulesError } from './adapters/errors.js';
export type { LoraConfig } from './adapters/lora.js';
export { lora } from './adapters/lora.js';
export type { MergeOptions, MergeResult } from './adapters/merge.js';
export { mergeAdapter, unmergeAdapter } from './adapters/merge.js';
export type { AdapterTarget, MergedTarget, PeftConfig, PeftMethod } from './adapters/peft-method.js';
export { linearShape } from './adapters/peft-method.js';
export type { SkippedModule, TargetMatch, TargetOptions } from './adapters/targets.js';
export { matchTargets } from './adapters/targets.js';
export type { PackedRow } from './sft/packing.js';
export { bestFitDecreasing, packRows } from './sft/packing.js';
export type { SftResult } from './sft/sft.js';
export { sft, toTrainingRows } from './sft/sft.js';
export type { SftLogEntry, SftOptions } from './sft/sft-options.js';
export type { SftRow, TokenizedRow, TokenizedRows, TokenizeOptions } from './sft/tokenize-rows.js';
export { SftRowError, tokenizeRows } from './sft/tokenize-rows.js';
export type { CheckpointToSave, DecisiveSettings, RunState, TrainerSnapshot } from './training/checkpoint.js';
export {
  CheckpointError,
  latestCheckpoint,
  loadCheckpoint,
  refuseOtherSettings,
  refuseUsedFolder,
  saveCheckpoint,
} from './training/checkpoint.js';
export type { TrainableAdapter } from './training/gradient-accumulator.js';
export { type LoraPlusOptions, loraPlus } from './training/lora-plus.js';
export { NonFiniteError } from './training/non-finite-error.js';
export { RowOrder } from './training/row-order.js';
export type { RowBatch, TrainingRow } from './training/rows.js';
export { TrainingRowError } from './training/rows.js';
export type { RunIdentity } from './training/run-identity.js';
export { runIdentity } from './training/run-identity.js';
export type { RunOptions, StepMetrics } from './training/run-options.js';
export { RUN_OPTIONS } from './training/run-options.js';
export { saveTrained } from './training/save-trained.js';
export type { TokenLoss, TokenLossInputs } from './training/token-loss.js';
export { negativeLogLikelihood, weightedSum } from './training/token-loss.js';
export type { ForwardBackwardResult, OptimStepResult, TrainerOptions } from './training/trainer.js';
export { Trainer } from './training/trainer.js';
